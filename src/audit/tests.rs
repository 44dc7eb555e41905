//! Tests of the exact lines of the issuance log, and of sinks that fail.

mod kept;

use std::{sync::Arc, time::Instant};

use futures::FutureExt as _;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::{
    tree::{Frontier, TreeHash},
    *,
};
use crate::config::FileSink;

/// A stream that clones share, and that can be made to fail or to block.
#[derive(Clone, Default)]
pub(crate) struct Paper(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    octets: Vec<u8>,
    room: Option<usize>,
    blocked: bool,
    /// Number of calls that wrote something.
    writes: usize,
}

impl Paper {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.0.0.lock().octets.clone()).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// Limits how many octets can be written.
    pub(crate) fn room(&self, room: Option<usize>) {
        self.0.0.lock().room = room;
    }

    /// Makes writes block, as a pipe does that nobody reads.
    pub(crate) fn block(&self, blocked: bool) {
        self.0.0.lock().blocked = blocked;
        self.0.1.notify_all();
    }
}

impl Write for Paper {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let (state, unblocked) = &*self.0;
        let mut state = state.lock();
        while state.blocked {
            unblocked.wait(&mut state);
        }
        let room = state.room.unwrap_or(usize::MAX);
        let taken = room.min(octets.len());
        if taken == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        state.room = state.room.map(|room| room - taken);
        state.octets.extend_from_slice(&octets[..taken]);
        state.writes += 1;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) const PROGRAM: Program = Program {
    version: "1.2.3",
    commit: "abc",
};

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn clock() -> Timestamp {
    NOW
}

/// How long callers of a log under test wait for its sinks.
const PATIENCE: Duration = Duration::from_millis(300);

fn run() -> LogRun {
    LogRun {
        origin: "prod/replica-0/00ff".to_owned(),
        id: "00ff".to_owned(),
        program: PROGRAM,
    }
}

/// Returns a log on a paper.
pub(super) fn log_on(paper: &Paper) -> IssuanceLog {
    IssuanceLog::to("paper", paper.clone(), run(), clock).unwrap()
}

/// Returns a log on papers, whose callers lose patience soon.
fn impatient(papers: &[&Paper], on_failure: OnFailure) -> IssuanceLog {
    let sinks = papers.iter().map(|paper| {
        let sink: Box<dyn Sink> = Box::new(Stream::new((*paper).clone()));
        ("paper".to_owned(), sink)
    });
    let settings = Manner {
        on_failure,
        patience: PATIENCE,
    };
    IssuanceLog::of(sinks.collect(), None, Vec::new(), run(), settings, clock).unwrap()
}

/// Waits until every sink has ended.
pub(crate) fn closed(log: &IssuanceLog) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(log.close(Duration::from_secs(60)))
        .unwrap();
}

pub(crate) fn subject(groups: &[String]) -> Subject<'_> {
    Subject {
        request: LoggedRequest {
            kind: RequestKind::CertificateRequest,
            namespace: Some("shop"),
            name: "web-1",
            uid: "8f0e",
            certificate: Some("web"),
        },
        requester: Requester {
            username: "system:serviceaccount:cert-manager:cert-manager",
            uid: Some("77aa"),
            groups,
        },
        approval: Some(LoggedApproval {
            reason: Some("cert-manager.io"),
            message: Some("approved"),
        }),
        issuer: LoggedIssuer {
            kind: "PKCS11ClusterIssuer",
            namespace: None,
            name: "issuing",
            uid: Some("1234"),
            generation: Some(3),
            profile_sha256: Some("55"),
            grant_sha256: Some("66"),
        },
    }
}

pub(super) fn entry(groups: &[String], names: &[String]) -> CertificateEntry {
    CertificateEntry::new(
        &subject(groups),
        &Certificate {
            csr_sha256: "22",
            token: LoggedToken {
                name: "issuing",
                label: "Token",
                serial: "0001",
            },
            key_id: &[0xa1, 0xb2],
            issuer_certificate_sha256: "33",
            serial: "01ff",
            subject: "CN=web",
            names,
            usages: &["server auth".to_owned()],
            ca: false,
            not_before: NOW,
            not_after: "2026-11-22T22:00:00Z".parse().unwrap(),
            tbs_sha256: "11",
        },
    )
}

pub(super) const SUBJECT: &str = concat!(
    r#""request":{"kind":"CertificateRequest","namespace":"shop","name":"web-1","uid":"8f0e","certificate":"web"},"#,
    r#""requester":{"username":"system:serviceaccount:cert-manager:cert-manager","uid":"77aa","groups":["system:authenticated"]},"#,
    r#""approval":{"reason":"cert-manager.io","message":"approved"},"#,
    r#""issuer":{"kind":"PKCS11ClusterIssuer","name":"issuing","uid":"1234","generation":3,"profileSha256":"55","grantSha256":"66"},"#,
    r#""csrSha256":"22""#,
);
const CERTIFICATE: &str = concat!(
    r#""token":{"name":"issuing","label":"Token","serial":"0001"},"keyId":"a1b2","issuerCertificateSha256":"33","#,
    r#""serial":"01ff","subject":"CN=web","names":["DNS:web.example"],"usages":["server auth"],"ca":false,"#,
    r#""notBefore":"1970-01-01T00:00:00Z","notAfter":"2026-11-22T22:00:00Z","tbsSha256":"11""#,
);

/// Returns a head of another run, whose signature nobody verifies here.
fn head() -> SignedHead {
    let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
    let note = format!("prod/b/00ff00ff00ff00ff\n1\n{root}\n\n\u{2014} prod AAAAAAA=\n");
    SignedHead::parse(&note, Some(1)).unwrap()
}

/// Writes one line of every event.
pub(super) fn every_event(log: &IssuanceLog) {
    let groups = ["system:authenticated".to_owned()];
    let entry = entry(&groups, &["DNS:web.example".to_owned()]);
    log.started();
    log.configuration(&Configuration {
        sha256: "77".to_owned(),
        tokens: 1,
        grants: 2,
    });
    log.login("issuing", None);
    log.login("issuing", Some("CKR_PIN_INCORRECT"));
    log.issuer(&subject(&groups).issuer, true, "Verified");
    log.issuer(&subject(&groups).issuer, false, "KeyNotFound");
    log.ca_changed(&subject(&groups).issuer, "switched-to-next", "88", "99");
    log.signing(&entry, &["2.5.29.14".to_owned()]).unwrap();
    log.signed(&entry, &[0x30, 0]);
    log.published(&entry);
    log.discarded(&entry, "superseded");
    log.refused(&subject(&groups), Some("22"), "key-too-small");
    let revocation = revocation();
    log.revoked(&revocation, "keyCompromise");
    log.released(&revocation);
    log.revocation_refused(&revocation, "ProofWrong");
    let crl = ShowingCrl {
        shard: 3,
        number: 1_796_000_000_000,
        this_update: Timestamp::UNIX_EPOCH,
    };
    log.revocation_published(&revocation, &crl);
    log.heads(&[head()]);
    log.stopped();
}

fn revocation() -> LoggedRevocation<'static> {
    LoggedRevocation {
        object: RevocationObject {
            namespace: "shop",
            name: "web-leaked",
            uid: "9a0e",
            by: Some("request"),
            ca: Some("88"),
            invalidity_date: Some(Timestamp::UNIX_EPOCH),
        },
        issuer: LoggedIssuer {
            kind: "PKCS11ClusterIssuer",
            namespace: None,
            name: "issuing",
            uid: None,
            generation: None,
            profile_sha256: None,
            grant_sha256: None,
        },
        request: Some(LoggedRequest {
            kind: RequestKind::CertificateRequest,
            namespace: Some("shop"),
            name: "web-1",
            uid: "8f0e",
            certificate: Some("web"),
        }),
        serial: Some("01ff"),
        not_after: Some(Timestamp::UNIX_EPOCH),
    }
}

#[test]
fn every_step_of_a_certificate_is_one_line() {
    let paper = Paper::default();
    let log = log_on(&paper);
    every_event(&log);
    closed(&log);
    let line = |seq: u64, event: &str, rest: &str| {
        format!(
            r#"{{"time":"1970-01-01T00:00:00Z","run":"00ff","seq":{seq},"event":"{event}"{rest}}}"#
        )
    };
    let issuer = r#""issuer":{"kind":"PKCS11ClusterIssuer","name":"issuing","uid":"1234","generation":3,"profileSha256":"55","grantSha256":"66"}"#;
    let whole = format!(",{SUBJECT},{CERTIFICATE}");
    let revoked = r#","revocation":{"namespace":"shop","name":"web-leaked","uid":"9a0e","by":"request","ca":"88","invalidityDate":"1970-01-01T00:00:00Z"},"request":{"kind":"CertificateRequest","namespace":"shop","name":"web-1","uid":"8f0e","certificate":"web"},"issuer":{"kind":"PKCS11ClusterIssuer","name":"issuing"},"serial":"01ff","notAfter":"1970-01-01T00:00:00Z""#;
    let revoked = revoked.to_owned();
    let expected: Vec<_> = [
        (
            "started",
            r#","origin":"prod/replica-0/00ff","version":"1.2.3","commit":"abc""#.to_owned(),
        ),
        (
            "configuration",
            r#","sha256":"77","tokens":1,"grants":2"#.to_owned(),
        ),
        (
            "login",
            r#","token":"issuing","outcome":"accepted""#.to_owned(),
        ),
        (
            "login",
            r#","token":"issuing","outcome":"rejected","code":"CKR_PIN_INCORRECT""#.to_owned(),
        ),
        ("issuer-ready", format!(r#",{issuer},"reason":"Verified""#)),
        (
            "issuer-not-ready",
            format!(r#",{issuer},"reason":"KeyNotFound""#),
        ),
        (
            "ca-changed",
            format!(
                r#",{issuer},"change":"switched-to-next","ca":"88","issuerCertificateSha256":"99""#
            ),
        ),
        (
            "dropped-extension",
            format!(r#"{whole},"extensions":["2.5.29.14"]"#),
        ),
        ("signing", whole.clone()),
        ("signed", format!(r#"{whole},"certificate":"MAA=""#)),
        ("published", whole.clone()),
        ("discarded", format!(r#"{whole},"reason":"superseded""#)),
        ("refused", format!(r#",{SUBJECT},"reason":"key-too-small""#)),
        ("revoked", format!(r#"{revoked},"reason":"keyCompromise""#)),
        ("released", revoked.clone()),
        (
            "revocation-refused",
            format!(r#"{revoked},"reason":"ProofWrong""#),
        ),
        (
            "revocation-published",
            format!(
                r#"{revoked},"crl":{{"shard":3,"number":1796000000000,"thisUpdate":"1970-01-01T00:00:00Z"}}"#
            ),
        ),
        (
            "heads",
            format!(
                r#","heads":[{}]"#,
                serde_json::to_string(head().note()).unwrap()
            ),
        ),
        ("stopped", String::new()),
    ]
    .into_iter()
    .zip(0..)
    .map(|((event, rest), seq)| line(seq, event, &rest))
    .collect();
    let lines = paper.lines();
    let (checkpoint, leaves) = lines.split_last().unwrap();
    assert_eq!(leaves, expected);
    let mut frontier = Frontier::default();
    leaves
        .iter()
        .for_each(|leaf| frontier.push(TreeHash::of_leaf(leaf.as_bytes())));
    let subtrees = frontier.subtrees().iter();
    let subtrees: Vec<_> = subtrees.map(|tree| format!(r#""{tree}""#)).collect();
    let (size, subtrees, root) = (leaves.len(), subtrees.join(","), frontier.root());
    assert_eq!(
        *checkpoint,
        format!(
            r#"{{"time":"1970-01-01T00:00:00Z","run":"00ff","event":"checkpoint","checkpoint":"prod/replica-0/00ff\n{size}\n{root}\n","frontier":[{subtrees}]}}"#
        )
    );
}

#[test]
fn the_page_has_a_row_for_every_field_and_event_of_a_real_line_and_no_other() {
    const PAGE: &str = include_str!("../../docs/reference/audit.md");
    let paper = Paper::default();
    let log = log_on(&paper);
    log.crl_signing(&crl()).unwrap();
    log.crl_signed(&crl(), "88");
    log.crl_discarded(&crl(), "abandoned");
    let long: Vec<_> = (0..9000)
        .map(|number| format!("DNS:{number}.example"))
        .collect();
    log.published(&entry(&[], &long));
    let namespaced = LoggedIssuer {
        namespace: Some("shop"),
        ..subject(&[]).issuer
    };
    log.issuer(&namespaced, true, "Verified");
    every_event(&log);
    closed(&log);
    // These are in `torn` and `dropped-lines`, which other tests make.
    let mut fields =
        std::collections::BTreeSet::from(["lost", "octets", "lines"].map(str::to_owned));
    let mut events = std::collections::BTreeSet::from(["torn", "dropped-lines"].map(str::to_owned));
    for line in paper.lines() {
        let line: Value = serde_json::from_str(&line).unwrap();
        collect(&line, "", &mut fields);
        events.insert(line["event"].as_str().unwrap().to_owned());
    }
    let rows = |from: &str| -> std::collections::BTreeSet<String> {
        let (_, table) = PAGE.split_once(from).unwrap();
        let rows = table
            .lines()
            .skip(1)
            .skip_while(|row| !row.starts_with('|'));
        let rows = rows.take_while(|row| row.starts_with('|'));
        let first = rows.filter_map(|row| row.split('|').nth(1).map(str::to_owned));
        let names = first.flat_map(|cell| {
            let quoted = cell.split('`').skip(1).step_by(2).map(str::to_owned);
            quoted.collect::<Vec<_>>()
        });
        names.collect()
    };
    assert_eq!(rows("### Events"), events);
    assert_eq!(rows("### Fields"), fields);
}

#[test]
fn every_line_is_read_with_all_of_its_fields() {
    let paper = Paper::default();
    let log = log_on(&paper);
    every_event(&log);
    closed(&log);
    for line in paper.lines() {
        let entry: Result<read::LogEntry, _> = serde_json::from_str(&line);
        assert!(entry.is_ok_and(|entry| !entry.event.is_empty()), "{line}");
    }
}

fn crl() -> LoggedCrl<'static> {
    LoggedCrl {
        crl: CrlFacts {
            ca: "00112233445566778899aabbccddeeff",
            shard: 0,
            number: 1,
            this_update: Timestamp::UNIX_EPOCH,
            next_update: Timestamp::MAX,
            entries: 0,
        },
        token: LoggedToken {
            name: "issuing",
            label: "issuing",
            serial: "1",
        },
        key_id: &[1],
        issuer_certificate_sha256: "44",
        tbs_sha256: "55",
    }
}

#[test]
fn a_signing_line_of_a_crl_is_complete_and_refused_while_the_log_is_not_written() {
    let paper = Paper::default();
    let log = log_on(&paper);
    log.crl_signing(&crl()).unwrap();
    closed(&log);
    let lines = paper.lines();
    let line: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    let expected = json!({
        "time": "1970-01-01T00:00:00Z", "run": "00ff", "seq": 1, "event": "crl-signing",
        "crl": {
            "ca": "00112233445566778899aabbccddeeff", "shard": 0, "number": 1,
            "thisUpdate": "1970-01-01T00:00:00Z", "nextUpdate": Timestamp::MAX.to_string(),
            "entries": 0,
        },
        "token": {"name": "issuing", "label": "issuing", "serial": "1"},
        "keyId": "01", "issuerCertificateSha256": "44", "tbsSha256": "55",
    });
    assert_eq!(line, expected);
    let full = Paper::default();
    full.room(Some(0));
    let log = impatient(&[&full], OnFailure::Wait);
    log.started();
    while log.check().is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(log.crl_signing(&crl()), Err(log.check().unwrap_err()));
    full.room(None);
    closed(&log);
    assert_eq!(full.lines().len(), 1);
}

/// Collects the names of the fields of an object, with those of the objects in it.
fn collect(value: &Value, before: &str, fields: &mut std::collections::BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        let name = format!("{before}{name}");
        match value {
            // A long field is replaced by an object of its own, which the text describes.
            Value::Object(object) if object.contains_key("octets") => {}
            Value::Object(_) => {
                collect(value, &format!("{name}."), fields);
                continue;
            }
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => {}
        }
        fields.insert(name);
    }
}

#[test]
fn a_line_break_in_a_name_does_not_break_the_line() {
    let paper = Paper::default();
    let log = log_on(&paper);
    let mut subject = subject(&[]);
    subject.requester.username = "mallory\n{\"event\":\"published\"}";
    log.refused(&subject, None, "denied");
    closed(&log);
    assert_eq!(paper.text().lines().count(), 2);
}

#[tokio::test]
async fn a_line_is_on_the_sink_when_the_wait_for_it_ends() {
    let paper = Paper::default();
    let stream = io::BufWriter::new(paper.clone());
    let log = IssuanceLog::to("paper", stream, run(), clock).unwrap();
    let logged = log.signing(&entry(&[], &[]), &[]).unwrap();
    log.accepted(logged).await.unwrap();
    let lines = paper.lines();
    assert!(lines.last().unwrap().contains(r#""event":"signing""#));
}

#[tokio::test]
async fn lines_of_callers_that_are_ready_together_are_written_together() {
    const CALLERS: usize = 200;
    let paper = Paper::default();
    let log = log_on(&paper);
    let entry = entry(&[], &[]);
    let callers = (0..CALLERS).map(async |_| {
        let logged = log.signing(&entry, &[]).unwrap();
        log.accepted(logged).await.unwrap();
        log.published(&entry);
    });
    futures::future::join_all(callers).await;
    log.close(Duration::from_secs(60)).await.unwrap();
    assert_eq!(paper.lines().len(), 1 + 2 * CALLERS);
    // A few if all is well, and one more each time that this thread does not run for 5 ms.
    let writes = paper.0.0.lock().writes;
    assert!(writes < CALLERS / 2, "{writes}");
}

#[tokio::test]
async fn a_sink_that_fails_or_blocks_stops_signatures_and_loses_nothing() {
    let paper = Paper::default();
    let log = impatient(&[&paper], OnFailure::Wait);
    log.started();
    paper.room(Some(10));
    let entry = entry(&[], &[]);
    let logged = log.signing(&entry, &[]).unwrap();
    let error = log.accepted(logged).await.unwrap_err().to_string();
    assert!(
        error.starts_with("paper accepts no lines of the issuance log: no storage space"),
        "{error}"
    );
    assert_eq!(log.check().unwrap_err().to_string(), error);
    assert!(log.signing(&entry, &[]).is_err());
    assert!(log.counts().failing);
    log.discarded(&entry, "not-logged");
    paper.room(None);
    let signed = log.signed(&entry, &[]);
    while log.accepted(signed).await.is_err() {}
    assert_eq!(log.check(), Ok(()));
    paper.block(true);
    let behind = log.signed(&entry, &[]);
    assert!(log.accepted(behind).await.is_err());
    paper.block(false);
    log.stopped();
    log.close(Duration::from_secs(60)).await.unwrap();
    let events: Vec<_> = paper
        .lines()
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(
        json!(events),
        json!([
            "started",
            "signing",
            "discarded",
            "signed",
            "signed",
            "stopped",
            "checkpoint"
        ])
    );
}

#[test]
fn no_call_waits_for_a_sink_that_nobody_reads_and_memory_is_bounded() {
    let paper = Paper::default();
    paper.block(true);
    let log = impatient(&[&paper], OnFailure::Wait);
    let begun = Instant::now();
    let mut refused = 0;
    while log.has_room() {
        log.refused(&subject(&[]), None, "denied");
        refused += 1;
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
    log.login("issuing", None);
    log.login("issuing", None);
    assert_eq!(log.counts().waiting, refused + 1);
    assert!(log.trouble().is_some());
    assert!(log.check().is_err());
    paper.block(false);
    while !log.has_room() {
        std::thread::yield_now();
    }
    log.refused(&subject(&[]), None, "denied");
    log.stopped();
    closed(&log);
    let lines = paper.lines();
    let dropped = lines.iter().find(|line| line.contains("dropped-lines"));
    assert!(dropped.unwrap().ends_with(r#""lines":2}"#), "{dropped:?}");
    assert_eq!(u64::try_from(lines.len()).unwrap(), refused + 5);
}

#[tokio::test]
async fn an_operator_can_choose_to_sign_without_a_log() {
    let paper = Paper::default();
    paper.block(true);
    let log = impatient(&[&paper], OnFailure::Sign);
    let entry = entry(&[], &[]);
    let mut lines = 0;
    while log.0.backlog.has_room() {
        let logged = log.signing(&entry, &[]).unwrap();
        log.accepted(logged).now_or_never().unwrap().unwrap();
        lines += 1;
    }
    for _ in 0..3 {
        assert_eq!(log.signing(&entry, &[]).unwrap(), LogPosition(None));
    }
    assert_eq!(log.check(), Ok(()));
    assert!(log.counts().failing);
    paper.block(false);
    log.close(Duration::from_secs(60)).await.unwrap();
    assert_eq!(paper.lines().len(), lines + 1);
}

#[test]
fn both_sinks_must_accept_a_line() {
    let (fast, slow) = (Paper::default(), Paper::default());
    let log = impatient(&[&fast, &slow], OnFailure::Wait);
    slow.block(true);
    log.started();
    while fast.lines().is_empty() {
        std::thread::yield_now();
    }
    assert_eq!(log.counts().lines, 0);
    slow.block(false);
    log.stopped();
    closed(&log);
    assert_eq!(log.counts().lines, 3);
    assert_eq!(fast.text(), slow.text());
}

#[test]
fn a_sink_that_takes_nothing_is_told_of_while_another_takes_every_line() {
    let (fast, stuck) = (Paper::default(), Paper::default());
    let log = impatient(&[&fast, &stuck], OnFailure::Wait);
    stuck.block(true);
    let begun = Instant::now();
    while log.trouble().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is told");
        log.refused(&subject(&[]), None, "denied");
        std::thread::sleep(PATIENCE / 10);
    }
    assert!(log.counts().failing);
    assert!(!fast.lines().is_empty());
    stuck.block(false);
    closed(&log);
    assert_eq!(fast.text(), stuck.text());
}

/// Returns the first octet of the last line with this text, and the octet after its line break.
fn line_of(log: &[u8], text: &str) -> (usize, usize) {
    let log = std::str::from_utf8(log).unwrap();
    let at = log.rfind(text).unwrap();
    let begin = log[..at].rfind('\n').map_or(0, |before| before + 1);
    (begin, at + log[at..].find('\n').unwrap() + 1)
}

#[test]
fn the_first_line_of_a_file_follows_a_torn_one_and_names_it_at_whichever_octet_it_was_torn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("issuance.log");
    let settings = LogSettings {
        stdout: false,
        file: Some(FileSink {
            path: path.clone(),
            rotate_size: None,
            rotate_age: None,
            fsync: crate::config::Fsync::Never,
        }),
        on_failure: OnFailure::Wait,
    };
    let first = IssuanceLog::start(&settings, run(), clock).unwrap();
    every_event(&first);
    closed(&first);
    let whole = std::fs::read(&path).unwrap();
    for text in [
        r#""event":"signed""#,
        r#""event":"stopped""#,
        r#""event":"checkpoint""#,
    ] {
        let (begin, end) = line_of(&whole, text);
        for length in begin..=end {
            std::fs::write(&path, &whole[..length]).unwrap();
            goes_on_after(&settings, &path, &whole[..length], begin, end);
        }
    }
}

/// Has another run write the file that was cut within the line from `begin` to `end`, and checks what it says of the cut.
fn goes_on_after(
    settings: &LogSettings,
    path: &std::path::Path,
    cut: &[u8],
    begin: usize,
    end: usize,
) {
    let run = LogRun::new("prod", "replica-0", PROGRAM).unwrap();
    let again = IssuanceLog::start(settings, run, clock).unwrap();
    again.started();
    again.stopped();
    closed(&again);
    let text = std::fs::read(path).unwrap();
    assert_eq!(&text[..cut.len()], cut);
    let is_torn = (begin + 1..end).contains(&cut.len());
    let new = std::str::from_utf8(&text[cut.len() + usize::from(is_torn)..]).unwrap();
    let new: Vec<Value> = new
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = new
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    if is_torn {
        assert_eq!(text[cut.len()], b'\n');
        assert_eq!(events, ["started", "torn", "stopped", "checkpoint"]);
        let lost = TreeHash::of_leaf(&cut[begin..]).to_string();
        assert_eq!(new[1]["lost"], lost);
        assert_eq!(new[1]["octets"], cut.len() - begin);
    } else {
        assert_eq!(events, ["started", "stopped", "checkpoint"]);
    }
    let mut verifier = verify::Verifier::trusting(Vec::new());
    verifier.read("issuance.log", text.as_slice()).unwrap();
    let report = verifier.finish();
    assert_eq!(report.faults.len(), 0, "{} octets: {report:?}", cut.len());
    // Without its line break, the last line can be read.
    let is_cut = is_torn && cut.len() + 1 < end;
    let torn: Vec<_> = report.torn.iter().map(|line| line.octets).collect();
    let octets = u64::try_from(cut.len() - begin).unwrap();
    assert_eq!(torn, if is_cut { vec![octets] } else { vec![] });
    let named =
        |line: &verify::TornLine| line.named_by == new[0]["run"].as_str().map(str::to_owned);
    assert!(report.torn.iter().all(named), "{report:?}");
    assert_eq!((report.lost.len(), report.foreign), (0, 0), "{report:?}");
}
