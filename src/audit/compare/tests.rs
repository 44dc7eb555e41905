//! Tests of what is found in logs and clusters that disagree.

use serde_json::json;

use super::*;

fn line(event: &str, run: &str, serial: &str, uid: &str) -> LogEntry {
    let seq = if event == "signed" { 1 } else { 2 };
    let mut line = json!({
        "time": "2026-11-29T22:00:00Z", "run": run, "seq": seq, "event": event, "serial": serial,
        "request": {"kind": "CertificateRequest", "namespace": "shop", "name": uid, "uid": uid},
    });
    if event == "signed" {
        line["certificate"] = STANDARD.encode(serial.as_bytes()).into();
    }
    serde_json::from_value(line).unwrap()
}

fn stored(serial: &str, uid: &str) -> StoredCertificate {
    StoredCertificate {
        request: format!("CertificateRequest shop/{uid}"),
        uid: uid.to_owned(),
        der: serial.as_bytes().to_vec(),
    }
}

fn compare(lines: &[LogEntry], stored: &[StoredCertificate]) -> Comparison {
    let mut logged = LoggedCertificates::default();
    lines.iter().for_each(|line| logged.take(line));
    logged.compare(stored, |run, _| run == "a")
}

fn request(uid: &str) -> String {
    format!("CertificateRequest shop/{uid}")
}

#[test]
fn a_cluster_agrees_with_the_log_of_its_certificates() {
    let lines = [
        line("signed", "a", "01", "x"),
        line("published", "a", "01", "x"),
        line("signed", "a", "02", "y"),
        line("published", "a", "02", "y"),
        line("signed", "b", "03", "z"),
    ];
    assert_eq!(
        compare(&lines, &[stored("01", "x"), stored("03", "z")]),
        Comparison {
            stored: 2,
            signed: 3,
            findings: Vec::new(),
            interrupted: vec![(request("z"), "03".to_owned())],
            gone: vec![(request("y"), "02".to_owned())],
            unreadable: Vec::new(),
            unproven: vec![(request("z"), "03".to_owned())],
        }
    );
}

#[test]
fn each_disagreement_is_found() {
    let signed = line("signed", "a", "01", "x");
    let published = line("published", "a", "01", "x");
    let stopped = LogEntry {
        run: "a".to_owned(),
        seq: Some(9),
        event: "stopped".to_owned(),
        ..LogEntry::default()
    };
    let (serial, x) = ("01".to_owned(), request("x"));
    for (lines, stored, expected) in [
        (
            vec![],
            stored("01", "x"),
            CompareFinding::NotInLog {
                request: x.clone(),
                sha256: hex::encode(digest(&SHA256, b"01")),
            },
        ),
        (
            vec![signed.clone(), signed.clone(), published.clone()],
            stored("01", "x"),
            CompareFinding::SignedTwice {
                serial: serial.clone(),
            },
        ),
        (
            vec![signed.clone(), published.clone(), published.clone()],
            stored("01", "x"),
            CompareFinding::PublishedTwice {
                serial: serial.clone(),
                request: x.clone(),
            },
        ),
        (
            vec![signed.clone(), stopped],
            stored("01", "x"),
            CompareFinding::NotPublished {
                serial: serial.clone(),
                request: x.clone(),
            },
        ),
        (
            vec![signed.clone(), line("discarded", "a", "01", "x")],
            stored("01", "x"),
            CompareFinding::Discarded {
                serial: serial.clone(),
                request: x,
            },
        ),
        (
            vec![signed, published],
            stored("01", "y"),
            CompareFinding::OtherRequest {
                serial,
                request: request("y"),
            },
        ),
    ] {
        let found = compare(&lines, &[stored]);
        assert_eq!(found.findings, [expected]);
    }
}

#[test]
fn a_certificate_is_signed_before_it_is_published_and_only_once_each_whatever_the_run() {
    let at = |seq, entry: LogEntry| LogEntry {
        seq: Some(seq),
        ..entry
    };
    let signed = |run, seq| at(seq, line("signed", run, "01", "x"));
    let published = |run, seq| at(seq, line("published", run, "01", "x"));
    let mut again = signed("a", 5);
    again.certificate = Some(STANDARD.encode("another signature"));
    for lines in [
        vec![published("a", 1), signed("a", 2)],
        vec![signed("a", 1), published("b", 2)],
        vec![published("a", 2)],
        vec![signed("a", 1), published("a", 2), published("b", 3)],
        vec![signed("a", 1), published("a", 2), again],
    ] {
        let events: Vec<_> = lines.iter().map(|line| (&line.run, &line.event)).collect();
        let found = compare(&lines, &[]);
        assert_ne!(found.findings, [], "{events:?}");
    }
    // The files may come in any order.
    let found = compare(&[published("a", 2), signed("a", 1)], &[]);
    assert_eq!(found.findings, []);
}
