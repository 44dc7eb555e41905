//! The issuance record: one JSON line for each step that a certificate takes, written before anything can depend on it.
//!
//! The API server's audit log is another thing and always called by its full name.

use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tracing::error;

use crate::telemetry::Chain;

/// The one sink of the issuance record.
///
/// *Guarantees:* a line is written whole and flushed before the call returns; lines of concurrent callers do not mix; a
/// line torn by a failed write is ended before the next one begins.
/// *Caveat:* a call blocks the thread while the sink does.
pub struct IssuanceRecord {
    name: &'static str,
    sink: Mutex<Sink>,
}

struct Sink {
    writer: Box<dyn Write + Send>,
    torn: bool,
}

/// What a line is about, whatever became of it.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Subject<'a> {
    /// The request.
    pub request: Request<'a>,
    /// Who created the request, as the API server said.
    pub requester: Requester<'a>,
    /// The issuer that the request names.
    pub issuer: Issuer<'a>,
}

/// A request for a certificate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Request<'a> {
    /// Its kind.
    pub kind: RequestKind,
    /// Its namespace, where the kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// Its name, which may be used again.
    pub name: &'a str,
    /// Its UID, which is never used again.
    pub uid: &'a str,
}

/// The kinds of request there are.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum RequestKind {
    /// cert-manager.io/v1.
    CertificateRequest,
    /// certificates.k8s.io/v1.
    CertificateSigningRequest,
    /// certificates.k8s.io: a pod's.
    PodCertificateRequest,
    /// A CSR in a file, which the command line signs; its UID is drawn for the one run.
    File,
}

impl RequestKind {
    /// The name of the kind.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CertificateRequest => "CertificateRequest",
            Self::CertificateSigningRequest => "CertificateSigningRequest",
            Self::PodCertificateRequest => "PodCertificateRequest",
            Self::File => "File",
        }
    }
}

/// The author of a request.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Requester<'a> {
    /// The user's name; cert-manager's own service account for requests made from a Certificate.
    pub username: &'a str,
    /// The user's groups.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub groups: &'a [String],
}

/// An issuer object.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Issuer<'a> {
    /// `PKCS11Issuer` or `PKCS11ClusterIssuer`.
    pub kind: &'a str,
    /// Its namespace, where the kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// Its name.
    pub name: &'a str,
}

/// The certificate that is about to be or has been signed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate<'a> {
    /// The token, by the name that the operator's configuration gives it.
    pub token: &'a str,
    /// CKA_ID of the key.
    #[serde(serialize_with = "hexadecimal")]
    pub key_id: &'a [u8],
    /// The content octets of the serial number, hexadecimal.
    pub serial: &'a str,
    /// SHA-256 of the DER of the TBSCertificate, hexadecimal.
    pub tbs_sha256: &'a str,
    /// When the certificate expires.
    pub not_after: Timestamp,
    /// The extensions that the CSR asks for and the certificate does not carry, by their OIDs; left out where there are
    /// none.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub dropped_extensions: &'a [String],
}

/// The sink refused a line.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to write {event:?} to the issuance record: nothing is signed until {sink} accepts lines again"
)]
pub struct RecordError {
    event: &'static str,
    sink: &'static str,
    source: io::Error,
}

#[derive(Serialize)]
struct Line<'a> {
    time: Timestamp,
    event: &'static str,
    #[serde(flatten)]
    subject: &'a Subject<'a>,
    #[serde(flatten)]
    certificate: Option<&'a Certificate<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl IssuanceRecord {
    /// The record on stdout: the controller's.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to("stdout", io::stdout())
    }

    /// The record on stderr: the command line's, whose stdout is the certificate's.
    #[must_use]
    pub fn stderr() -> Self {
        Self::to("stderr", io::stderr())
    }

    /// The record on any other sink, which errors call by this name.
    #[must_use]
    pub fn to(name: &'static str, writer: impl Write + Send + 'static) -> Self {
        Self {
            name,
            sink: Mutex::new(Sink {
                writer: Box::new(writer),
                torn: false,
            }),
        }
    }

    /// The TBSCertificate is about to go to the token.
    ///
    /// # Errors
    /// When the line is not on the sink: then no signature may be asked for.
    pub fn signing(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), RecordError> {
        self.write(Line {
            time: now,
            event: "signing",
            subject,
            certificate: Some(certificate),
            reason: None,
        })
    }

    /// The token signed, and the signature verifies.
    ///
    /// # Errors
    /// When the line is not on the sink; the certificate exists all the same.
    pub fn signed(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), RecordError> {
        self.write(Line {
            time: now,
            event: "signed",
            subject,
            certificate: Some(certificate),
            reason: None,
        })
    }

    /// The certificate is in the request's status.
    ///
    /// # Errors
    /// When the line is not on the sink; the certificate is published all the same.
    pub fn published(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), RecordError> {
        self.write(Line {
            time: now,
            event: "published",
            subject,
            certificate: Some(certificate),
            reason: None,
        })
    }

    /// What *signing* announced will never be published, for the reason that the slug names.
    ///
    /// # Errors
    /// When the line is not on the sink; nothing is published all the same.
    pub fn discarded(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
        reason: &'static str,
    ) -> Result<(), RecordError> {
        self.write(Line {
            time: now,
            event: "discarded",
            subject,
            certificate: Some(certificate),
            reason: Some(reason),
        })
    }

    /// The request got no certificate and never will, for the reason that the slug names.
    ///
    /// # Errors
    /// When the line is not on the sink; the request is refused all the same.
    pub fn refused(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        reason: &'static str,
    ) -> Result<(), RecordError> {
        self.write(Line {
            time: now,
            event: "refused",
            subject,
            certificate: None,
            reason: Some(reason),
        })
    }

    fn write(&self, line: Line<'_>) -> Result<(), RecordError> {
        let event = line.event;
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        sink.write(&line).map_err(|source| RecordError {
            event,
            sink: self.name,
            source,
        })
    }
}

impl Sink {
    fn write(&mut self, line: &Line<'_>) -> io::Result<()> {
        let mut octets = Vec::with_capacity(512);
        if self.torn {
            octets.push(b'\n');
        }
        serde_json::to_writer(&mut octets, line)?;
        octets.push(b'\n');
        self.torn = true;
        self.writer.write_all(&octets)?;
        self.writer.flush()?;
        self.torn = false;
        Ok(())
    }
}

fn hexadecimal<S: Serializer>(octets: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(octets))
}

impl fmt::Debug for IssuanceRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuanceRecord").finish_non_exhaustive()
    }
}

/// The certificate exists or not whatever the record says: a line that is missing is told to whoever watches us.
pub fn note(written: Result<(), RecordError>) {
    if let Err(error) = written {
        error!(error = %Chain(&error), "the issuance record lacks a line");
    }
}

#[cfg(test)]
mod tests;
