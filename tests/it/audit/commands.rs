//! The commands on the log of a certificate that a real token signed.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use pkcs11_issuer::issuance::pem;
use serde_json::{Value, json};

use super::key::{AuditKey, Told, audit};
use crate::sign::case::Case;

/// The log of one certificate, and the certificate.
struct Logged {
    case: Case,
    pem: String,
    log: String,
    serial: String,
}

impl Logged {
    fn new() -> Result<Self> {
        let case = Case::new()?;
        let said = case.sign(&["--namespace", "shop", "--name", "web"])?;
        let chain = said.chain()?;
        let end = "-----END CERTIFICATE-----\n";
        let (first, _) = chain.split_once(end).context("no certificate")?;
        let serial = said.issuance_log()?[0]["serial"]
            .as_str()
            .context("no serial")?
            .to_owned();
        Ok(Self {
            pem: format!("{first}{end}"),
            log: said.stderr.clone(),
            serial,
            case,
        })
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> Result<String> {
        Ok(self.case.write(name, text)?.display().to_string())
    }
}

fn told(args: &[&str]) -> Result<String> {
    let told = audit(args)?;
    ensure!(told.code == Some(0), "{told:?}");
    Ok(told.stdout)
}

#[test]
fn the_story_of_a_certificate_has_its_lines_and_the_certificate_itself() -> Result<()> {
    let logged = Logged::new()?;
    let log = logged.file("a.log", &logged.log)?;
    for serial in [logged.serial.clone(), logged.serial.to_uppercase()] {
        let story = told(&["certificate", &serial, &log])?;
        let events = ["signing", "signed", "published"];
        let mut lines = story.lines().filter(|line| line.contains("(run "));
        for event in events {
            let line = lines.next().context("a line is missing")?;
            assert!(line.contains(&format!("Z {event} ")), "{line}");
            assert!(line.contains(&logged.serial), "{line}");
            assert!(line.contains("a.log:"), "{line}");
        }
        assert_eq!(lines.next(), None);
        assert!(story.ends_with(&logged.pem), "{story}");
        for text in ["DNS:web.example", "shop/web", "PKCS11ClusterIssuer issuing"] {
            assert!(story.contains(text), "{text}: {story}");
        }
        every_fact_is_told(&story, &logged.log)?;
        let uid = parsed(&logged.log, "signed")?["request"]["uid"].clone();
        let by_uid = told(&["certificate", uid.as_str().context("no UID")?, &log])?;
        assert_eq!(by_uid, story);
    }
    let unknown = audit(&["certificate", "dead", &log])?;
    assert_eq!(
        (unknown.code, &*unknown.stdout),
        (Some(1), ""),
        "{unknown:?}"
    );
    Ok(())
}

/// Returns the first line of a log with this event.
fn parsed(log: &str, event: &str) -> Result<Value> {
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut lines = lines.filter(|line: &Value| line["event"] == event);
    lines.next().with_context(|| format!("no {event} line"))
}

/// Fails unless the story has whatever the lines *started* and *signed* say of who, what and by what.
fn every_fact_is_told(story: &str, log: &str) -> Result<()> {
    let (started, signed) = (parsed(log, "started")?, parsed(log, "signed")?);
    for (line, place) in [
        (&started, "/version"),
        (&started, "/commit"),
        (&started, "/run"),
        (&signed, "/request/uid"),
        (&signed, "/requester/username"),
        (&signed, "/issuer/profileSha256"),
        (&signed, "/csrSha256"),
        (&signed, "/token/name"),
        (&signed, "/token/label"),
        (&signed, "/token/serial"),
        (&signed, "/keyId"),
        (&signed, "/issuerCertificateSha256"),
        (&signed, "/tbsSha256"),
    ] {
        let value = line.pointer(place).and_then(Value::as_str);
        let value = value.with_context(|| format!("no {place}: {line}"))?;
        assert!(story.contains(value), "{place} {value}: {story}");
    }
    Ok(())
}

#[test]
fn lines_are_shown_as_a_table_as_they_are_and_as_csv() -> Result<()> {
    let logged = Logged::new()?;
    let log = logged.file("a.log", &logged.log)?;
    let show = |more: &[&str]| told(&[&["show"], more, &[&*log]].concat());
    let table = show(&[
        "--name",
        "web.example",
        "--event",
        "signing,signed,published",
    ])?;
    assert!(table.starts_with("TIME "), "{table}");
    let json = show(&["--output", "json"])?;
    let own: Vec<&str> = logged
        .log
        .lines()
        .filter(|line| line.starts_with('{'))
        .collect();
    let (_, own) = own.split_last().context("no line")?;
    assert_eq!(
        json.lines().collect::<Vec<_>>(),
        own,
        "all but the checkpoint"
    );
    let csv = show(&["--output", "csv", "--serial", &logged.serial])?;
    let rows: Vec<_> = csv.split_terminator("\r\n").collect();
    assert_eq!(rows.len(), 4, "{csv}");
    let columns = rows[0].split(',').count();
    assert_eq!(columns, 22);
    for row in &rows[1..] {
        assert!(row.contains(&logged.serial), "{row}");
    }
    assert_eq!(
        show(&["--output", "csv", "--serial", "dead"])?
            .lines()
            .count(),
        1
    );
    Ok(())
}

#[test]
fn a_proof_convinces_whoever_has_the_audit_key_and_nobody_else() -> Result<()> {
    let logged = Logged::new()?;
    let (key, other) = (AuditKey::p256()?, AuditKey::ed25519()?);
    let log = logged.file("a.log", key.seal(&logged.log)?)?;
    let vkey = logged.file("audit.vkey", format!("{}\n", key.vkey()))?;
    let pem = logged.file("own.pem", &logged.pem)?;
    let text = told(&["prove", &logged.serial, &log])?;
    let proof = logged.file("web.tlog-proof", &text)?;
    let check = |more: &[&str]| audit(&[&["check-proof", &*proof], more].concat());
    let by_file = check(&["--key-file", &vkey, "--certificate", &pem])?;
    assert_eq!(by_file.code, Some(0), "{by_file:?}");
    assert!(by_file.stdout.contains(&logged.serial), "{by_file:?}");
    assert!(
        by_file.stdout.contains("is proven by the key prod"),
        "{by_file:?}"
    );
    assert_eq!(check(&["--key", &key.vkey()])?.stdout, by_file.stdout);

    let refused = |told: &Told, why: &str| {
        assert_eq!(told.code, Some(3), "{told:?}");
        assert!(
            told.stdout.starts_with("the proof does not hold: "),
            "{told:?}"
        );
        assert!(told.stdout.contains(why), "{told:?}");
    };
    refused(
        &check(&["--key", &other.vkey()])?,
        "not signed by the audit key",
    );
    let root = logged.file("root.pem", logged.case.authority.root().pem())?;
    let wrong = check(&["--key", &key.vkey(), "--certificate", &root])?;
    refused(&wrong, "not about this certificate");
    let extra = text.lines().nth(1).context("no line")?;
    let changed = extra.replacen("eyJ0", "eyJ1", 1);
    assert_ne!(changed, extra);
    logged.file("web.tlog-proof", text.replace(extra, &changed))?;
    assert_eq!(check(&["--key", &key.vkey()])?.code, Some(3));

    let unsigned = logged.file("b.log", &logged.log)?;
    let by_another = ["prove", "--key", &other.vkey(), &logged.serial, &log];
    for unsigned in [
        audit(&["prove", &logged.serial, &unsigned])?,
        audit(&by_another)?,
    ] {
        assert_eq!(unsigned.code, Some(1), "{unsigned:?}");
        assert!(unsigned.stderr.contains("are not signed"), "{unsigned:?}");
    }
    Ok(())
}

#[test]
fn a_last_checkpoint_without_a_signature_hides_no_proof() -> Result<()> {
    let logged = Logged::new()?;
    let key = AuditKey::ed25519()?;
    let (own, end) = ended_unsigned(&key.seal(&logged.log)?)?;
    let log = logged.file("a.log", own + &end)?;
    for keys in [vec![], vec!["--key".to_owned(), key.vkey()]] {
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        let proof = told(&[&["prove"], &*keys, &[&*logged.serial, &*log]].concat())?;
        let proof = logged.file("proof", proof)?;
        told(&["check-proof", "--key", &key.vkey(), &proof])?;
        let folder = logged.file("name", "")? + &format!("-{}", keys.len());
        let export = [&["export", "--tiles", &*folder], &*keys, &[&*log]].concat();
        assert!(told(&export)?.contains("1 behind the last signed checkpoint"));
        let checkpoint = fs::read_dir(&folder)?.next().context("no run")??.path();
        let checkpoint = fs::read_to_string(checkpoint.join("checkpoint"))?;
        assert!(checkpoint.contains("\u{2014} prod "), "{checkpoint}");
    }
    Ok(())
}

/// Returns a log, and one more line with a checkpoint over it that is not signed, as anybody can append them.
fn ended_unsigned(log: &str) -> Result<(String, String)> {
    let signed = parsed(log, "checkpoint")?;
    let note = signed["checkpoint"].as_str().context("no note")?;
    let origin = note.lines().next().context("no origin")?;
    let size: u64 = note.lines().nth(1).context("no size")?.parse()?;
    let leaf =
        json!({"time": signed["time"], "run": signed["run"], "seq": size, "event": "stopped"});
    let leaf = leaf.to_string();
    let hash = |parts: &[&[u8]]| digest(&SHA256, &parts.concat()).as_ref().to_vec();
    let frontier = signed["frontier"].as_array().context("no frontier")?;
    let mut subtrees = Vec::new();
    for subtree in frontier {
        subtrees.push(STANDARD.decode(subtree.as_str().context("no hash")?)?);
    }
    // Appends a leaf to a tree by RFC 9162: as many subtrees join it as the size ends in ones.
    let mut last = hash(&[&[0], leaf.as_bytes()]);
    for _ in 0..size.trailing_ones() {
        let left = subtrees.pop().context("too few subtrees")?;
        last = hash(&[&[1], &left, &last]);
    }
    subtrees.push(last);
    let joined = subtrees.iter().rev().cloned();
    let root = joined.reduce(|right, left| hash(&[&[1], &left, &right]));
    let root = STANDARD.encode(root.context("no root")?);
    let checkpoint = json!({
        "time": signed["time"], "run": signed["run"], "event": "checkpoint",
        "checkpoint": format!("{origin}\n{}\n{root}\n", size + 1),
        "frontier": subtrees.iter().map(|subtree| STANDARD.encode(subtree)).collect::<Vec<_>>(),
    });
    Ok((log.to_owned(), format!("{leaf}\n{checkpoint}\n")))
}

#[test]
fn a_line_without_an_end_is_named_with_its_place() -> Result<()> {
    let logged = Logged::new()?;
    let lines: Vec<_> = logged
        .log
        .lines()
        .filter(|line| line.starts_with('{'))
        .collect();
    let run = parsed(&logged.log, "started")?["run"].clone();
    let run = run.as_str().context("no run")?;
    let torn = &lines[2][..lines[2].len() - 5];
    let log = logged.file("a.log", format!("{}\n{}\n{torn}", lines[0], lines[1]))?;
    let verified = told(&["verify", "--whole", &log])?;
    let expected = format!(
        "run {run}: the line at {log}:3 has no end after {} octets; no other line names it\n",
        torn.len()
    );
    assert!(verified.contains(&expected), "{verified}");
    Ok(())
}

#[test]
fn a_log_is_verified_from_stdin_and_compressed() -> Result<()> {
    let logged = Logged::new()?;
    let log = logged.file("a.log", &logged.log)?;
    let gzip = Command::new("gzip").args(["--stdout", &log]).output()?;
    ensure!(gzip.status.success(), "gzip");
    let packed = logged.file("a.log.gz", &gzip.stdout)?;
    let plain = told(&["verify", &log])?;
    assert_eq!(told(&["verify", &packed])?, plain);
    assert_eq!(told(&["verify", "--whole", &packed])?, plain);
    let stdin = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .args(["audit", "verify", "-"])
        .stdin(Stdio::from(fs::File::open(&packed)?))
        .output()?;
    assert_eq!(String::from_utf8(stdin.stdout)?, plain);
    // A file that the kubelet has not finished compressing.
    let cut = logged.file("cut.gz", &gzip.stdout[..gzip.stdout.len() - 9])?;
    let cut = audit(&["verify", &cut])?;
    assert_eq!(cut.code, Some(1), "{cut:?}");
    assert!(cut.stderr.contains("cut.gz"), "{cut:?}");
    Ok(())
}

#[test]
fn lines_that_are_in_none_of_the_files_are_told_and_are_a_fault_if_the_whole_log_is_asked_for()
-> Result<()> {
    let logged = Logged::new()?;
    let lines: Vec<&str> = logged
        .log
        .lines()
        .filter(|line| line.starts_with('{'))
        .collect();
    let parsed: Value = serde_json::from_str(lines[0])?;
    assert_eq!(parsed["event"], "started");
    let first = logged.file("a.log", format!("{}\n", lines[0]))?;
    let last = logged.file("b.log", lines[2..].join("\n"))?;
    let without_whole = audit(&["verify", &last, &first])?;
    assert_eq!(without_whole.code, Some(0), "{without_whole:?}");
    assert!(
        without_whole.stdout.contains("GAP run "),
        "{without_whole:?}"
    );
    assert!(
        without_whole
            .stdout
            .contains("lines 1 to 1 of the log are in none of the files")
    );
    let whole = audit(&["verify", "--whole", &last, &first])?;
    assert_eq!((whole.code, whole.stdout), (Some(3), without_whole.stdout));
    Ok(())
}

#[test]
fn the_audit_key_is_made_from_the_public_key_of_the_token_and_verifies_the_log() -> Result<()> {
    let logged = Logged::new()?;
    for key in [AuditKey::p256()?, AuditKey::ed25519()?] {
        let der = logged.file("audit.der", key.spki())?;
        let pem = logged.file("audit.pem", pem::encode("PUBLIC KEY", &key.spki()))?;
        let vkey = told(&["key", "--name", "prod", &der])?;
        assert_eq!(vkey, format!("{}\n", key.vkey()), "{}", key.name);
        assert_eq!(told(&["key", "--name", "prod", &pem])?, vkey);
        let vkey = logged.file("audit.vkey", vkey)?;
        let log = logged.file("a.log", key.seal(&logged.log)?)?;
        let proof = logged.file("proof", told(&["prove", &logged.serial, &log])?)?;
        let proven = told(&["check-proof", "--key-file", &vkey, &proof])?;
        assert!(proven.contains("is proven by the key prod"), "{proven}");
        let unnamed = audit(&["key", "--name", "prod east", &der])?;
        assert_eq!(unnamed.code, Some(1), "{unnamed:?}");
    }
    let certificate = logged.file("own.pem", &logged.pem)?;
    for (file, why) in [
        (certificate, "is not the PEM of a public key"),
        (
            logged.file("short.der", [0x30, 0x2a])?,
            "is not the public key of an audit key",
        ),
    ] {
        let told = audit(&["key", "--name", "prod", &file])?;
        assert_eq!(told.code, Some(1), "{told:?}");
        assert!(told.stderr.contains(why), "{told:?}");
    }
    Ok(())
}

#[test]
fn every_command_of_audit_shows_an_example() -> Result<()> {
    for command in [
        "verify",
        "show",
        "certificate",
        "prove",
        "check-proof",
        "key",
        "export",
        "compare",
    ] {
        let help = told(&[command, "--help"])?;
        assert!(
            help.contains(&format!("pkcs11-issuer audit {command} ")),
            "{help}"
        );
    }
    Ok(())
}
