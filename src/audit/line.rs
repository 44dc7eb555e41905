//! The content of the lines of the issuance log.

use base64ct::{Base64, Encoding as _};
use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::{Program, tree::TreeHash};

/// The request, its author and its issuer: the part that every line about a request has.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Subject<'a> {
    /// The request.
    pub request: LoggedRequest<'a>,
    /// Author of the request, according to the API server.
    pub requester: Requester<'a>,
    /// Issuer that the request names.
    pub issuer: LoggedIssuer<'a>,
}

/// A request for a certificate.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoggedRequest<'a> {
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
pub struct LoggedIssuer<'a> {
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
    /// SHA-256 of the DER of the CSR, hexadecimal.
    pub csr_sha256: &'a str,
    /// The certificate in DER, written as base64; only in *signed*.
    #[serde(serialize_with = "base64", skip_serializing_if = "Option::is_none")]
    pub certificate: Option<&'a [u8]>,
    /// OIDs of the extensions that the CSR asks for and the certificate does not carry; omitted if there are none.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub dropped_extensions: &'a [String],
}

/// A line that is a leaf of the log's tree.
#[derive(Serialize)]
pub(super) struct LogLine<'a> {
    pub(super) time: Timestamp,
    pub(super) run: &'a str,
    pub(super) seq: u64,
    #[serde(flatten)]
    pub(super) event: Event<'a>,
}

/// Event that a line records.
#[derive(Clone, Copy, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    /// The first line of a run.
    Started {
        origin: &'a str,
        #[serde(flatten)]
        program: Program,
    },
    /// The last line of a run that was not killed.
    Stopped,
    /// The sink refused the last line or a part of it. `lost` is the hash of that line, in case all of it is on the sink.
    Torn { lost: TreeHash },
    #[serde(untagged)]
    Request(RequestEvent<'a>),
}

/// Event of a request.
#[derive(Clone, Copy, Serialize)]
pub(super) struct RequestEvent<'a> {
    pub(super) event: &'static str,
    #[serde(flatten)]
    pub(super) subject: &'a Subject<'a>,
    #[serde(flatten)]
    pub(super) certificate: Option<&'a Certificate<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
}

fn hexadecimal<S: Serializer>(octets: &impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(octets))
}

fn base64<S: Serializer>(octets: &Option<&[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&Base64::encode_string(octets.unwrap_or_default()))
}
