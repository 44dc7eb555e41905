//! Tests of the exact lines of the issuance log, and of sinks that fail.

use std::sync::Arc;

use super::*;

/// A sink that clones share, and that can be made to fail.
#[derive(Clone, Default)]
pub(super) struct Paper(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    octets: Vec<u8>,
    buffered: Vec<u8>,
    room: Option<usize>,
}

impl Paper {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().octets.clone()).unwrap()
    }

    pub(super) fn room(&self, room: Option<usize>) {
        self.0.lock().room = room;
    }
}

impl Write for Paper {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut state = self.0.lock();
        let taken = state
            .room
            .map_or(octets.len(), |room| room.min(octets.len()));
        if taken == 0 {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        state.room = state.room.map(|room| room - taken);
        state.buffered.extend_from_slice(&octets[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut state = self.0.lock();
        let buffered = std::mem::take(&mut state.buffered);
        state.octets.extend(buffered);
        Ok(())
    }
}

fn log_run() -> LogRun {
    LogRun {
        origin: "prod/replica-0/00ff".to_owned(),
        id: "00ff".to_owned(),
        program: Program {
            version: "1.2.3",
            commit: "abc",
        },
    }
}

fn log(paper: &Paper) -> IssuanceLog {
    IssuanceLog::to("paper", paper.clone(), log_run())
}

pub(super) const NOW: Timestamp = Timestamp::UNIX_EPOCH;

pub(super) fn subject(groups: &[String]) -> Subject<'_> {
    Subject {
        request: LoggedRequest {
            kind: RequestKind::CertificateRequest,
            namespace: Some("shop"),
            name: "web-1",
            uid: "8f0e",
        },
        requester: Requester {
            username: "system:serviceaccount:cert-manager:cert-manager",
            groups,
        },
        issuer: LoggedIssuer {
            kind: "PKCS11ClusterIssuer",
            namespace: None,
            name: "issuing",
        },
    }
}

fn certificate() -> Certificate<'static> {
    Certificate {
        token: "issuing",
        key_id: &[0xa1, 0xb2],
        serial: "01ff",
        tbs_sha256: "1111111111111111111111111111111111111111111111111111111111111111",
        not_after: "2026-11-22T22:00:00Z".parse().unwrap(),
        csr_sha256: "2222222222222222222222222222222222222222222222222222222222222222",
        certificate: None,
        dropped_extensions: &[],
    }
}

const SUBJECT: &str = concat!(
    r#""request":{"kind":"CertificateRequest","namespace":"shop","name":"web-1","uid":"8f0e"},"#,
    r#""requester":{"username":"system:serviceaccount:cert-manager:cert-manager","groups":["system:authenticated"]},"#,
    r#""issuer":{"kind":"PKCS11ClusterIssuer","name":"issuing"}"#,
);
const CERTIFICATE: &str = concat!(
    r#""token":"issuing","keyId":"a1b2","serial":"01ff","#,
    r#""tbsSha256":"1111111111111111111111111111111111111111111111111111111111111111","#,
    r#""notAfter":"2026-11-22T22:00:00Z","#,
    r#""csrSha256":"2222222222222222222222222222222222222222222222222222222222222222""#,
);

#[test]
fn every_step_of_a_certificate_is_one_line() {
    let paper = Paper::default();
    let log = log(&paper);
    let groups = ["system:authenticated".to_owned()];
    let (subject, certificate) = (subject(&groups), certificate());
    log.signing(NOW, &subject, &certificate).unwrap();
    let signed = Certificate {
        certificate: Some(&[0x30, 0]),
        ..certificate
    };
    log.signed(NOW, &subject, &signed).unwrap();
    log.published(NOW, &subject, &certificate).unwrap();
    log.discarded(NOW, &subject, &certificate, "already-issued")
        .unwrap();
    log.refused(NOW, &subject, "key-too-small").unwrap();
    log.stopped(NOW).unwrap();
    let line = |seq: u64, event: &str, rest: &str| {
        format!(
            r#"{{"time":"1970-01-01T00:00:00Z","run":"00ff","seq":{seq},"event":"{event}"{rest}}}"#
        )
    };
    let expected = [
        line(
            0,
            "started",
            r#","origin":"prod/replica-0/00ff","version":"1.2.3","commit":"abc""#,
        ),
        line(1, "signing", &format!(",{SUBJECT},{CERTIFICATE}")),
        line(
            2,
            "signed",
            &format!(r#",{SUBJECT},{CERTIFICATE},"certificate":"MAA=""#),
        ),
        line(3, "published", &format!(",{SUBJECT},{CERTIFICATE}")),
        line(
            4,
            "discarded",
            &format!(r#",{SUBJECT},{CERTIFICATE},"reason":"already-issued""#),
        ),
        line(
            5,
            "refused",
            &format!(r#",{SUBJECT},"reason":"key-too-small""#),
        ),
        line(6, "stopped", ""),
    ];
    let text = paper.text();
    let lines: Vec<_> = text.lines().collect();
    let (checkpoint, leaves) = lines.split_last().unwrap();
    assert_eq!(leaves, expected);
    let mut frontier = Frontier::default();
    leaves
        .iter()
        .for_each(|leaf| frontier.push(TreeHash::of_leaf(leaf.as_bytes())));
    let [four, two, one] = frontier.subtrees() else {
        panic!("seven leaves have three subtrees");
    };
    let root = frontier.root();
    assert_eq!(
        *checkpoint,
        format!(
            r#"{{"time":"1970-01-01T00:00:00Z","run":"00ff","event":"checkpoint","checkpoint":"prod/replica-0/00ff\n7\n{root}\n","frontier":["{four}","{two}","{one}"]}}"#
        )
    );
}

#[test]
fn the_line_lists_the_dropped_extensions() {
    let paper = Paper::default();
    let dropped = ["2.5.29.14".to_owned(), "1.3.6.1.4.1.32473.9".to_owned()];
    let certificate = Certificate {
        dropped_extensions: &dropped,
        ..certificate()
    };
    log(&paper)
        .signing(NOW, &subject(&[]), &certificate)
        .unwrap();
    let ending =
        format!(r#"{CERTIFICATE},"droppedExtensions":["2.5.29.14","1.3.6.1.4.1.32473.9"]}}"#);
    assert!(
        paper.text().trim_end().ends_with(&ending),
        "{}",
        paper.text()
    );
}

#[test]
fn a_line_break_in_a_name_does_not_break_the_line() {
    let paper = Paper::default();
    let mut subject = subject(&[]);
    subject.requester.username = "mallory\n{\"event\":\"published\"}";
    log(&paper).refused(NOW, &subject, "denied").unwrap();
    assert_eq!(paper.text().lines().count(), 2);
}

#[test]
fn a_line_is_on_the_sink_when_the_call_returns() {
    let paper = Paper::default();
    let log = IssuanceLog::to("paper", io::BufWriter::new(paper.clone()), log_run());
    log.signing(NOW, &subject(&[]), &certificate()).unwrap();
    assert!(paper.text().ends_with("}\n"));
}

#[test]
fn a_full_sink_is_an_error_for_the_caller() {
    let paper = Paper::default();
    let log = log(&paper);
    paper.room(Some(10));
    let error = log.signing(NOW, &subject(&[]), &certificate()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to write \"signing\" to the issuance log"),
        "{error}"
    );
}

#[test]
fn a_line_cut_short_is_ended_before_the_next_begins() {
    let paper = Paper::default();
    let log = log(&paper);
    paper.room(Some(10));
    log.signing(NOW, &subject(&[]), &certificate()).unwrap_err();
    paper.room(None);
    log.refused(NOW, &subject(&[]), "denied").unwrap();
    let text = paper.text();
    let last = text.lines().last().unwrap();
    assert!(
        serde_json::from_str::<serde_json::Value>(last).is_ok(),
        "{text}"
    );
}
