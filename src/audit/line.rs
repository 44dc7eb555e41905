//! The content of the lines of the issuance log. `docs/reference/audit.md` has a row for each field.

use jiff::Timestamp;
use serde::Serialize;

use super::fields::Fields;

/// The request, who asked, who approved, and the issuer: the part that every line about a request has.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The request.
    pub request: LoggedRequest<'a>,
    /// Author of the request, according to the API server.
    pub requester: Requester<'a>,
    /// The approval, if the request has one.
    pub approval: Option<LoggedApproval<'a>>,
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
    /// Name of the Certificate that the request was made for, from its owner references.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<&'a str>,
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
    /// The kinds that the controller answers.
    pub const WATCHED: [Self; 3] = [
        Self::CertificateRequest,
        Self::CertificateSigningRequest,
        Self::PodCertificateRequest,
    ];

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
    /// UID of the user, if the API server knows one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<&'a str>,
    /// Groups of the user.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    pub groups: &'a [String],
}

/// The condition `Approved` of a request.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoggedApproval<'a> {
    /// Its reason, which names the approver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<&'a str>,
}

/// An issuer object.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoggedIssuer<'a> {
    /// `PKCS11Issuer` or `PKCS11ClusterIssuer`.
    pub kind: &'a str,
    /// Namespace of the issuer, if the kind has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<&'a str>,
    /// Name of the issuer.
    pub name: &'a str,
    /// UID of the issuer, if the object exists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<&'a str>,
    /// Generation of the specification that was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// SHA-256 of the JSON of the profile with every default, hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile_sha256: Option<&'a str>,
    /// SHA-256 of the JSON of the grant, hexadecimal; none if the token's configuration has no list of grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_sha256: Option<&'a str>,
}

/// The token that signs.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoggedToken<'a> {
    /// Name of the token in the operator's configuration.
    pub name: &'a str,
    /// CK_TOKEN_INFO.label, without the padding.
    pub label: &'a str,
    /// CK_TOKEN_INFO.serialNumber, without the padding.
    pub serial: &'a str,
}

/// A certificate that was signed or is about to be signed.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'a> {
    /// SHA-256 of the DER of the CSR, hexadecimal.
    pub csr_sha256: &'a str,
    /// The token that signs.
    pub token: LoggedToken<'a>,
    /// CKA_ID of the key.
    pub key_id: &'a [u8],
    /// SHA-256 of the DER of the issuing certificate, hexadecimal.
    pub issuer_certificate_sha256: &'a str,
    /// Content octets of the serial number, hexadecimal.
    pub serial: &'a str,
    /// The subject, as RFC 4514 writes it.
    pub subject: &'a str,
    /// The subject alternative names: `DNS:`, `IP:`, `URI:`, `email:` or `other:`, then the name.
    pub names: &'a [String],
    /// The usages in cert-manager's words, or OIDs.
    pub usages: &'a [String],
    /// Whether it is the certificate of a CA.
    pub ca: bool,
    /// First second of validity.
    pub not_before: Timestamp,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// SHA-256 of the DER of the TBSCertificate, hexadecimal.
    pub tbs_sha256: &'a str,
}

/// What every line about a certificate says, from *signing* to *published*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateEntry(pub(super) Fields);

impl CertificateEntry {
    /// Collects what the lines will say.
    #[must_use]
    pub fn new(subject: &Subject<'_>, certificate: &Certificate<'_>) -> Self {
        let Certificate {
            csr_sha256,
            token,
            key_id,
            issuer_certificate_sha256,
            serial,
            subject: name,
            names,
            usages,
            ca,
            not_before,
            not_after,
            tbs_sha256,
        } = certificate;
        Self(
            of_subject(subject, Some(csr_sha256))
                .with("token", token)
                .with_plain("keyId", &hex::encode(key_id))
                .with_plain("issuerCertificateSha256", issuer_certificate_sha256)
                .with_plain("serial", serial)
                .with("subject", name)
                .with("names", names)
                .with("usages", usages)
                .with("ca", ca)
                .with("notBefore", not_before)
                .with("notAfter", not_after)
                .with_plain("tbsSha256", tbs_sha256),
        )
    }
}

/// Returns what every line about a request says.
pub(super) fn of_subject(subject: &Subject<'_>, csr_sha256: Option<&str>) -> Fields {
    let Subject {
        request,
        requester,
        approval,
        issuer,
    } = subject;
    Fields::default()
        .with("request", request)
        .with("requester", requester)
        .with_some("approval", *approval)
        .with("issuer", issuer)
        .with_some("csrSha256", csr_sha256)
}

/// Returns the certificate itself.
pub(super) fn of_certificate(der: &[u8]) -> Fields {
    Fields::default().with_base64("certificate", der)
}
