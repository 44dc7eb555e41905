//! The issuance record: one JSON line for each step of a certificate, written before anything can depend on the step.
//!
//! It is not the audit log of the API server, which the code always calls by its full name.

use std::{
    fmt,
    io::{self, Write},
};

use parking_lot::Mutex;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use tracing::error;

use crate::telemetry::ErrorChain;

/// Writer of the issuance record.
///
/// *Guarantees:* a complete line is written and flushed before the call returns. Lines of concurrent callers do not mix. A
/// line that a failed write cut short is ended before the next line begins.
/// *Caveat:* a call blocks the thread while the sink blocks.
pub struct IssuanceRecord {
    name: &'static str,
    sink: Mutex<Sink>,
}

struct Sink {
    writer: Box<dyn Write + Send>,
    torn: bool,
}

/// The request, its author and its issuer: the part that every line has.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Subject<'a> {
    /// The request.
    pub request: RecordedRequest<'a>,
    /// Author of the request, according to the API server.
    pub requester: Requester<'a>,
    /// Issuer that the request names.
    pub issuer: RecordedIssuer<'a>,
}

/// A request for a certificate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RecordedRequest<'a> {
    /// Kind of the request.
    pub kind: RequestKind,
    /// Namespace of the request, if the kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// Name of the request. A later request may have the same name.
    pub name: &'a str,
    /// UID of the request. No other request ever has the same UID.
    pub uid: &'a str,
}

/// Kind of a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, Serialize)]
pub enum RequestKind {
    /// cert-manager.io/v1.
    CertificateRequest,
    /// certificates.k8s.io/v1.
    CertificateSigningRequest,
    /// certificates.k8s.io, for a pod.
    PodCertificateRequest,
    /// A CSR in a file, which `pkcs11-issuer sign` signs; it gets a random UID for the run.
    File,
}

impl RequestKind {
    /// Returns the name of the kind.
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
    /// Name of the user; for requests made from a Certificate, cert-manager's own service account.
    pub username: &'a str,
    /// Groups of the user.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub groups: &'a [String],
}

/// An issuer object.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RecordedIssuer<'a> {
    /// `PKCS11Issuer` or `PKCS11ClusterIssuer`.
    pub kind: &'a str,
    /// Namespace of the issuer, if the kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// Name of the issuer.
    pub name: &'a str,
}

/// A certificate that was signed or is about to be signed.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Certificate<'a> {
    /// Name of the token in the operator's configuration.
    pub token: &'a str,
    /// CKA_ID of the key.
    #[serde(serialize_with = "hexadecimal")]
    pub key_id: &'a [u8],
    /// Content octets of the serial number, hexadecimal.
    pub serial: &'a str,
    /// SHA-256 of the DER of the TBSCertificate, hexadecimal.
    pub tbs_sha256: &'a str,
    /// When the certificate expires.
    pub not_after: Timestamp,
    /// OIDs of the extensions that the CSR asks for and the certificate does not carry; omitted if there are none.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub dropped_extensions: &'a [String],
}

/// Error of a line that the sink did not accept.
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
    /// Returns the record on stdout, which the controller uses.
    #[must_use]
    pub fn stdout() -> Self {
        Self::to("stdout", io::stdout())
    }

    /// Returns the record on stderr, which `sign` uses because its stdout carries the certificate.
    #[must_use]
    pub fn stderr() -> Self {
        Self::to("stderr", io::stderr())
    }

    /// Returns the record on any other sink. Errors call the sink by this name.
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

    /// Records that the TBSCertificate is about to go to the token.
    ///
    /// # Errors
    /// The line is not on the sink: the caller must then not ask the token for a signature.
    pub fn signing(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), RecordError> {
        self.write("signing", now, subject, Some(certificate), None)
    }

    /// Records that the token signed and that the signature verifies.
    ///
    /// # Errors
    /// The line is not on the sink; the certificate exists nevertheless.
    pub fn signed(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), RecordError> {
        self.write("signed", now, subject, Some(certificate), None)
    }

    /// Records that the certificate is in the request's status.
    ///
    /// # Errors
    /// The line is not on the sink; the certificate is published nevertheless.
    pub fn published(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
    ) -> Result<(), RecordError> {
        self.write("published", now, subject, Some(certificate), None)
    }

    /// Records that a certificate with a *signing* line will never be published, for the reason that the slug names.
    ///
    /// # Errors
    /// The line is not on the sink; the certificate is not published in this case either.
    pub fn discarded(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        certificate: &Certificate<'_>,
        reason: &'static str,
    ) -> Result<(), RecordError> {
        self.write("discarded", now, subject, Some(certificate), Some(reason))
    }

    /// Records that the request is refused for good, for the reason that the slug names.
    ///
    /// # Errors
    /// The line is not on the sink; the request is refused nevertheless.
    pub fn refused(
        &self,
        now: Timestamp,
        subject: &Subject<'_>,
        reason: &'static str,
    ) -> Result<(), RecordError> {
        self.write("refused", now, subject, None, Some(reason))
    }

    fn write(
        &self,
        event: &'static str,
        time: Timestamp,
        subject: &Subject<'_>,
        certificate: Option<&Certificate<'_>>,
        reason: Option<&'static str>,
    ) -> Result<(), RecordError> {
        let line = Line {
            time,
            event,
            subject,
            certificate,
            reason,
        };
        let mut sink = self.sink.lock();
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

/// Logs an error if a line was not written. For lines that no later step depends on.
pub fn note(written: Result<(), RecordError>) {
    if let Err(error) = written {
        error!(error = %ErrorChain(&error), "the issuance record lacks a line");
    }
}

#[cfg(test)]
mod tests;
