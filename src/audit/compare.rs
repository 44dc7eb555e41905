//! Compares what the log says of certificates with those that are stored in a cluster. Pure.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::read::LogEntry;

/// SHA-256 of a certificate's DER.
type Fingerprint = [u8; 32];

/// What the log says of certificates.
#[derive(Debug, Default)]
pub struct LoggedCertificates {
    signed: HashMap<Fingerprint, SignedOnce>,
    /// Number of *published* lines by run, serial number and request.
    published: BTreeMap<(String, String, String), PublishedLine>,
    discarded: BTreeSet<(String, String, String)>,
    stopped: BTreeSet<String>,
    /// Serial numbers of certificates whose DER is in none of the files.
    unreadable: BTreeSet<String>,
    findings: Vec<CompareFinding>,
}

#[derive(Debug)]
struct SignedOnce {
    run: String,
    serial: String,
    uid: String,
}

#[derive(Debug)]
struct PublishedLine {
    request: String,
    count: u64,
    stored: bool,
}

/// A certificate in the status of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCertificate {
    /// Kind and name of the request.
    pub request: String,
    /// UID of the request.
    pub uid: String,
    /// The certificate.
    pub der: Vec<u8>,
}

/// Something that the log and the cluster do not agree on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CompareFinding {
    /// A certificate in the cluster that the log does not have.
    NotInLog {
        /// Kind and name of the request.
        request: String,
        /// SHA-256 of the certificate, hexadecimal.
        sha256: String,
    },
    /// The same certificate was *signed* twice.
    SignedTwice {
        /// Its serial number.
        serial: String,
    },
    /// A certificate was *published* more than once.
    PublishedTwice {
        /// Its serial number.
        serial: String,
        /// The request.
        request: String,
    },
    /// A certificate is in the cluster, and its run wrote *stopped* but no *published* line for it.
    NotPublished {
        /// Its serial number.
        serial: String,
        /// Kind and name of the request.
        request: String,
    },
    /// A certificate is in the cluster, although the log says that it was discarded.
    Discarded {
        /// Its serial number.
        serial: String,
        /// Kind and name of the request.
        request: String,
    },
    /// A certificate is in the status of another request than the one it was signed for.
    OtherRequest {
        /// Its serial number.
        serial: String,
        /// Kind and name of the request.
        request: String,
    },
}

/// What a comparison found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Number of certificates in the cluster.
    pub stored: u64,
    /// Number of certificates that the log says were signed.
    pub signed: u64,
    /// Disagreements that must not occur.
    pub findings: Vec<CompareFinding>,
    /// Certificates in the cluster without *published*, from runs without *stopped*: request and serial number.
    pub interrupted: Vec<(String, String)>,
    /// Published certificates that are not in the cluster, usually because of deleted requests: request and serial number.
    pub gone: Vec<(String, String)>,
    /// Serial numbers of *signed* lines without a certificate that could be read.
    pub unreadable: Vec<String>,
}

impl LoggedCertificates {
    /// Takes the next entry of the log.
    pub fn take(&mut self, entry: &LogEntry) {
        if entry.event == "stopped" {
            self.stopped.insert(entry.run.clone());
        }
        let (Some(serial), Some(request)) = (&entry.serial, &entry.request) else {
            return;
        };
        let key = (entry.run.clone(), serial.clone(), request.uid.clone());
        match entry.event.as_str() {
            "signed" => {
                let der = entry
                    .certificate
                    .as_deref()
                    .map(|text| STANDARD.decode(text));
                let Some(Ok(der)) = der else {
                    self.unreadable.insert(serial.clone());
                    return;
                };
                let signed = SignedOnce {
                    run: entry.run.clone(),
                    serial: serial.clone(),
                    uid: request.uid.clone(),
                };
                if self.signed.insert(fingerprint(&der), signed).is_some() {
                    let serial = serial.clone();
                    self.findings.push(CompareFinding::SignedTwice { serial });
                }
            }
            "published" => {
                let line = self.published.entry(key).or_insert_with(|| PublishedLine {
                    request: format!("{} {}", request.kind, request.path()),
                    count: 0,
                    stored: false,
                });
                line.count += 1;
            }
            "discarded" => drop(self.discarded.insert(key)),
            _ => (),
        }
    }

    /// Compares with the certificates of a cluster.
    #[must_use]
    pub fn compare(mut self, stored: &[StoredCertificate]) -> Comparison {
        let mut interrupted = Vec::new();
        for certificate in stored {
            self.look_up(certificate, &mut interrupted);
        }
        let mut gone = Vec::new();
        for ((_, serial, _), line) in self.published {
            if line.count > 1 {
                self.findings.push(CompareFinding::PublishedTwice {
                    serial: serial.clone(),
                    request: line.request.clone(),
                });
            }
            if !line.stored {
                gone.push((line.request, serial));
            }
        }
        self.findings.sort();
        Comparison {
            stored: count(stored.len()),
            signed: count(self.signed.len() + self.unreadable.len()),
            findings: self.findings,
            interrupted,
            gone,
            unreadable: self.unreadable.into_iter().collect(),
        }
    }

    fn look_up(
        &mut self,
        certificate: &StoredCertificate,
        interrupted: &mut Vec<(String, String)>,
    ) {
        let StoredCertificate { request, uid, der } = certificate;
        let request = request.clone();
        let sha256 = fingerprint(der);
        let Some(SignedOnce {
            run,
            serial,
            uid: signed_for,
        }) = self.signed.get(&sha256)
        else {
            self.findings.push(CompareFinding::NotInLog {
                request,
                sha256: hex::encode(sha256),
            });
            return;
        };
        let serial = serial.clone();
        if signed_for != uid {
            self.findings
                .push(CompareFinding::OtherRequest { serial, request });
            return;
        }
        let key = (run.clone(), serial, uid.clone());
        if let Some(line) = self.published.get_mut(&key) {
            line.stored = true;
            return;
        }
        let serial = key.1.clone();
        if self.discarded.contains(&key) {
            self.findings
                .push(CompareFinding::Discarded { serial, request });
        } else if self.stopped.contains(run) {
            self.findings
                .push(CompareFinding::NotPublished { serial, request });
        } else {
            interrupted.push((request, serial));
        }
    }
}

impl fmt::Display for CompareFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInLog { request, sha256 } => write!(
                f,
                "{request}: its certificate (SHA-256 {sha256}) is not in the log"
            ),
            Self::SignedTwice { serial } => write!(f, "certificate {serial} was signed twice"),
            Self::PublishedTwice { serial, request } => {
                write!(
                    f,
                    "{request}: certificate {serial} was published more than once"
                )
            }
            Self::NotPublished { serial, request } => write!(
                f,
                "{request}: the log has no published line for certificate {serial}, although its run stopped in order"
            ),
            Self::Discarded { serial, request } => write!(
                f,
                "{request}: certificate {serial} is in the cluster, and the log says that it was discarded"
            ),
            Self::OtherRequest { serial, request } => write!(
                f,
                "{request}: certificate {serial} was signed for another request"
            ),
        }
    }
}

fn fingerprint(der: &[u8]) -> Fingerprint {
    let mut fingerprint = [0; 32];
    for (to, from) in fingerprint.iter_mut().zip(digest(&SHA256, der).as_ref()) {
        *to = *from;
    }
    fingerprint
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(event: &str, run: &str, serial: &str, uid: &str) -> LogEntry {
        let mut line = json!({
            "time": "2026-11-29T22:00:00Z", "run": run, "seq": 1, "event": event, "serial": serial,
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
        logged.compare(stored)
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
            }
        );
    }

    #[test]
    fn each_disagreement_is_found() {
        let signed = line("signed", "a", "01", "x");
        let published = line("published", "a", "01", "x");
        let stopped = LogEntry {
            run: "a".to_owned(),
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
}
