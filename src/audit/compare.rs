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

/// Serial number of a certificate, and UID of the request that it was signed for.
type Key = (String, String);

/// What the log says of certificates.
#[derive(Debug, Default)]
pub struct LoggedCertificates {
    signed: HashMap<Fingerprint, Key>,
    steps: BTreeMap<Key, Steps>,
    stopped: BTreeSet<String>,
    /// Serial numbers of certificates whose DER is in none of the files.
    unreadable: BTreeSet<String>,
    findings: Vec<CompareFinding>,
}

/// The lines about one certificate.
#[derive(Debug, Default)]
struct Steps {
    /// Kind and name of the request.
    request: String,
    signed: Vec<Leaf>,
    published: Vec<Leaf>,
    discarded: bool,
    stored: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Leaf {
    run: String,
    seq: u64,
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
    /// The same certificate was *signed* twice, or two with the same serial number for one request.
    SignedTwice {
        /// Its serial number.
        serial: String,
    },
    /// A certificate was *published*, and no earlier line of that run says that it was *signed*.
    NotSignedBefore {
        /// Its serial number.
        serial: String,
        /// Kind and name of the request.
        request: String,
    },
    /// A certificate was *published* more than once, by one run or by several.
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
    /// Certificates in the cluster whose *signed* line is not proven: request and serial number.
    pub unproven: Vec<(String, String)>,
}

impl LoggedCertificates {
    /// Takes the next entry of the log. Only leaves count.
    pub fn take(&mut self, entry: &LogEntry) {
        let Some(seq) = entry.seq else {
            return;
        };
        if entry.event == "stopped" {
            self.stopped.insert(entry.run.clone());
        }
        let (Some(serial), Some(request)) = (&entry.serial, &entry.request) else {
            return;
        };
        let event = entry.event.as_str();
        if !matches!(event, "signed" | "published" | "discarded") {
            return;
        }
        let key = (serial.clone(), request.uid.clone());
        let steps = self.steps.entry(key.clone()).or_insert_with(|| Steps {
            request: format!("{} {}", request.kind, request.path()),
            ..Steps::default()
        });
        let leaf = Leaf {
            run: entry.run.clone(),
            seq,
        };
        match event {
            "signed" => {
                steps.signed.push(leaf);
                let der = entry
                    .certificate
                    .as_deref()
                    .map(|text| STANDARD.decode(text));
                let Some(Ok(der)) = der else {
                    self.unreadable.insert(serial.clone());
                    return;
                };
                if self.signed.insert(fingerprint(&der), key).is_some() {
                    let serial = serial.clone();
                    self.findings.push(CompareFinding::SignedTwice { serial });
                }
            }
            "published" => steps.published.push(leaf),
            _ => steps.discarded = true,
        }
    }

    /// Compares with the certificates of a cluster. `is_proven` says whether the line of a run with this number is proven.
    #[must_use]
    pub fn compare(
        mut self,
        stored: &[StoredCertificate],
        is_proven: impl Fn(&str, u64) -> bool,
    ) -> Comparison {
        let (mut interrupted, mut unproven) = (Vec::new(), Vec::new());
        for certificate in stored {
            let Some((serial, steps)) = self.look_up(certificate, &mut interrupted) else {
                continue;
            };
            let mut signed = steps.signed.iter();
            if !signed.any(|Leaf { run, seq }| is_proven(run, *seq)) {
                unproven.push((certificate.request.clone(), serial));
            }
        }
        let mut gone = Vec::new();
        for ((serial, _), steps) in self.steps {
            self.findings.extend(steps.disagreements(&serial));
            if !steps.published.is_empty() && !steps.stored {
                gone.push((steps.request, serial));
            }
        }
        self.findings.sort();
        self.findings.dedup();
        Comparison {
            stored: count(stored.len()),
            signed: count(self.signed.len() + self.unreadable.len()),
            findings: self.findings,
            interrupted,
            gone,
            unreadable: self.unreadable.into_iter().collect(),
            unproven,
        }
    }

    /// Compares with one certificate. Returns its serial number and the lines about it, if it is in the log.
    fn look_up(
        &mut self,
        certificate: &StoredCertificate,
        interrupted: &mut Vec<(String, String)>,
    ) -> Option<(String, &Steps)> {
        let StoredCertificate { request, uid, der } = certificate;
        let request = request.clone();
        let sha256 = fingerprint(der);
        let known = self.signed.get(&sha256);
        let Some((key, steps)) = known.and_then(|key| Some((key, self.steps.get_mut(key)?))) else {
            self.findings.push(CompareFinding::NotInLog {
                request,
                sha256: hex::encode(sha256),
            });
            return None;
        };
        let (serial, signed_for) = key.clone();
        let stopped = &self.stopped;
        let has_stopped = || steps.signed.iter().any(|leaf| stopped.contains(&leaf.run));
        let told = serial.clone();
        if signed_for != *uid {
            self.findings.push(CompareFinding::OtherRequest {
                serial: told,
                request,
            });
        } else if !steps.published.is_empty() {
            steps.stored = true;
        } else if steps.discarded {
            self.findings.push(CompareFinding::Discarded {
                serial: told,
                request,
            });
        } else if has_stopped() {
            self.findings.push(CompareFinding::NotPublished {
                serial: told,
                request,
            });
        } else {
            interrupted.push((request, told));
        }
        Some((serial, steps))
    }
}

impl Steps {
    /// Returns what the lines disagree on among themselves.
    fn disagreements(&self, serial: &str) -> Vec<CompareFinding> {
        let (serial, request) = (serial.to_owned(), self.request.clone());
        let mut found = Vec::new();
        if self.signed.len() > 1 {
            let serial = serial.clone();
            found.push(CompareFinding::SignedTwice { serial });
        }
        let is_signed_before = |published: &Leaf| {
            let mut signed = self.signed.iter();
            signed.any(|signed| signed.run == published.run && signed.seq < published.seq)
        };
        if !self.published.iter().all(is_signed_before) {
            found.push(CompareFinding::NotSignedBefore {
                serial: serial.clone(),
                request: request.clone(),
            });
        }
        if self.published.len() > 1 {
            found.push(CompareFinding::PublishedTwice { serial, request });
        }
        found
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
            Self::NotSignedBefore { serial, request } => write!(
                f,
                "{request}: certificate {serial} was published, and no line before that says that it was signed"
            ),
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
mod tests;
