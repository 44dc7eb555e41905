//! Which certificate a revocation names, and whether its author may revoke it. Pure.
//!
//! A tenant may revoke only what it demonstrably holds. A copy of somebody else's certificate proves nothing, because anybody
//! gets one from a handshake.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::Timestamp;

use crate::{
    api::{
        IssuerName, certificate_request::CertificateRequest, revocation::AcceptedReason,
        revocation::RevocationSpec,
    },
    issuance::{
        IssuerCertificate, PossessionError, PresentedCertificate, VerifiedCsr,
        crl::{CaId, SerialNumber},
    },
    reconcile::request::Request as _,
    telemetry::ErrorChain,
};

/// Which certificates the revocations of a namespace may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// Those that the namespace demonstrably holds.
    Held,
    /// Every certificate of the issuer's CA: in the controller's namespace, and in the namespace of an issuer whose grant
    /// says so.
    Any,
}

/// How a revocation names its certificate.
#[derive(Clone, Copy, Debug)]
pub(super) enum NamedCertificate<'a> {
    /// By a CertificateRequest of its namespace.
    Request {
        /// Name of the request.
        name: &'a str,
        /// The request, if it exists.
        found: Option<&'a CertificateRequest>,
    },
    /// By the certificate itself.
    Certificate {
        /// The certificate.
        pem: &'a str,
        /// Base64 of the proof that its key is held.
        proof: Option<&'a str>,
    },
    /// By its serial number.
    Serial(&'a str),
}

/// How it is known that the author may revoke a certificate. The word is in the issuance log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A CertificateRequest of the namespace has it.
    Request,
    /// Its key made a proof.
    Proof,
    /// Any certificate may be revoked here, and it was given.
    Certificate,
    /// Any certificate may be revoked here, and the serial number was given.
    Serial,
}

/// A certificate that the author may revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClaimedCertificate {
    /// The CA that issued it.
    pub(super) ca: CaId,
    /// Its serial number.
    pub(super) serial: SerialNumber,
    /// Its end. Of a certificate that is only known by its serial number, the end of the CA's certificate.
    pub(super) not_after: Timestamp,
    /// How it is known that the author may revoke it.
    pub(super) way: Way,
}

/// Reason why the author may not revoke the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Objection {
    /// The word in the condition.
    pub(super) reason: AcceptedReason,
    /// What is wrong, and what to do.
    pub(super) message: String,
}

impl Objection {
    fn new(reason: AcceptedReason, message: impl fmt::Display) -> Self {
        Self {
            reason,
            message: message.to_string(),
        }
    }

    /// Returns the objection to a revocation that names no certificate, which only an older schema admits.
    pub(super) fn unnamed() -> Self {
        Self::new(
            AcceptedReason::CertificateInvalid,
            "give exactly one of certificateRequestRef, certificate and serialNumber",
        )
    }
}

impl Way {
    /// Returns the word in the issuance log.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Proof => "proof",
            Self::Certificate => "certificate",
            Self::Serial => "serial",
        }
    }
}

impl<'a> NamedCertificate<'a> {
    /// Returns how a specification names its certificate. `found` is the request that it names, if that exists. `None` if it
    /// names none, which the schema forbids.
    pub(super) fn by(
        spec: &'a RevocationSpec,
        found: Option<&'a CertificateRequest>,
    ) -> Option<Self> {
        let RevocationSpec {
            certificate_request_ref,
            certificate,
            proof,
            serial_number,
            ..
        } = spec;
        match (certificate_request_ref, certificate, serial_number) {
            (Some(request), None, None) => Some(Self::Request {
                name: &request.name,
                found,
            }),
            (None, Some(pem), None) => Some(Self::Certificate {
                pem,
                proof: proof.as_deref(),
            }),
            (None, None, Some(serial)) => Some(Self::Serial(serial)),
            (_, _, _) => None,
        }
    }
}

/// Judges whether the author may revoke the certificate. `issuer` is the issuer that the revocation names, and `authorities`
/// are the certificates of the CAs that it issues with, the present one first.
///
/// # Errors
/// The author may not, or the certificate is not of these CAs.
pub(super) fn claimed(
    named: NamedCertificate<'_>,
    issuer: &IssuerName,
    reach: Reach,
    authorities: &[&IssuerCertificate],
) -> Result<ClaimedCertificate, Objection> {
    match named {
        NamedCertificate::Request { name, found } => by_request(name, found, issuer, authorities),
        NamedCertificate::Certificate { pem, proof } => {
            by_certificate(pem, proof, issuer, reach, authorities)
        }
        NamedCertificate::Serial(text) => by_serial(text, issuer, reach, authorities),
    }
}

/// Accepts the certificate of a request that the issuer answered. Whoever forges the status of a request has the certificate
/// of another key, or no signature of the CA.
fn by_request(
    name: &str,
    found: Option<&CertificateRequest>,
    issuer: &IssuerName,
    authorities: &[&IssuerCertificate],
) -> Result<ClaimedCertificate, Objection> {
    let Some(request) = found else {
        return Err(Objection::new(
            AcceptedReason::RequestNotFound,
            format_args!(
                "CertificateRequest {name} does not exist in this namespace; give certificate and proof instead"
            ),
        ));
    };
    if request.issuer().as_ref() != Some(issuer) {
        return Err(Objection::new(
            AcceptedReason::RequestOfOtherIssuer,
            format_args!("CertificateRequest {name} does not name {issuer}; correct issuerRef"),
        ));
    }
    let certificate = certificate_of(request)?;
    of_ca(&certificate, issuer, authorities, Way::Request)
}

/// Returns the certificate in the status of a request, which has the key of the request's CSR.
///
/// # Errors
/// The status has no certificate, or one for another key.
pub(super) fn certificate_of(
    request: &CertificateRequest,
) -> Result<PresentedCertificate, Objection> {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    let Some(pem) = request.certificate() else {
        return Err(Objection::new(
            AcceptedReason::NotIssued,
            format_args!(
                "CertificateRequest {name} has no certificate, so there is nothing to revoke"
            ),
        ));
    };
    let certificate = read(pem)?;
    let csr = VerifiedCsr::parse(&request.spec.request.0).map_err(|refusal| {
        Objection::new(
            AcceptedReason::KeyMismatch,
            format_args!(
                "the CSR of CertificateRequest {name} proves no key: {refusal}; give certificate and proof instead"
            ),
        )
    })?;
    if !certificate.has_key(csr.public_key()) {
        return Err(Objection::new(
            AcceptedReason::KeyMismatch,
            format_args!(
                "the certificate in the status of CertificateRequest {name} is not for the key of its CSR"
            ),
        ));
    }
    Ok(certificate)
}

fn by_certificate(
    pem: &str,
    proof: Option<&str>,
    issuer: &IssuerName,
    reach: Reach,
    authorities: &[&IssuerCertificate],
) -> Result<ClaimedCertificate, Objection> {
    let certificate = read(pem.as_bytes())?;
    let way = match (proof, reach) {
        (Some(proof), Reach::Held | Reach::Any) => {
            verify_proof(&certificate, proof)?;
            Way::Proof
        }
        (None, Reach::Any) => Way::Certificate,
        (None, Reach::Held) => {
            return Err(Objection::new(
                AcceptedReason::ProofMissing,
                "in this namespace a certificate needs a proof that its key is held: make it with `pkcs11-issuer revoke-proof`, or name the CertificateRequest",
            ));
        }
    };
    of_ca(&certificate, issuer, authorities, way)
}

fn verify_proof(certificate: &PresentedCertificate, proof: &str) -> Result<(), Objection> {
    let wrong = |why: &dyn fmt::Display| {
        Objection::new(
            AcceptedReason::ProofWrong,
            format_args!(
                "{why}; make it with `pkcs11-issuer revoke-proof` from the same certificate and its key"
            ),
        )
    };
    let signature = STANDARD
        .decode(proof)
        .map_err(|_| wrong(&"the proof is not base64"))?;
    let proven = certificate.prove_possession(&signature);
    proven.map_err(|error: PossessionError| wrong(&ErrorChain(&error)))
}

fn by_serial(
    text: &str,
    issuer: &IssuerName,
    reach: Reach,
    authorities: &[&IssuerCertificate],
) -> Result<ClaimedCertificate, Objection> {
    if reach == Reach::Held {
        return Err(Objection::new(
            AcceptedReason::SerialNotAllowed,
            "a serial number is enough only in the controller's namespace, and in that of a PKCS11Issuer whose grant says revokeAny; name the CertificateRequest, or give certificate and proof",
        ));
    }
    let serial = text.parse::<SerialNumber>();
    let serial = serial.map_err(|error| Objection::new(AcceptedReason::SerialInvalid, error))?;
    // The controller has no list of what it issued, so only the present CA can be meant.
    let present = authorities.first().ok_or_else(|| not_ours(issuer))?;
    Ok(ClaimedCertificate {
        ca: CaId::of(present),
        serial,
        not_after: present.not_after(),
        way: Way::Serial,
    })
}

fn read(pem: &[u8]) -> Result<PresentedCertificate, Objection> {
    PresentedCertificate::parse_pem(pem).map_err(|error| {
        Objection::new(
            AcceptedReason::CertificateInvalid,
            format_args!("the certificate cannot be read: {}", ErrorChain(&error)),
        )
    })
}

/// Returns the certificate as one of the CA that issued it.
fn of_ca(
    certificate: &PresentedCertificate,
    issuer: &IssuerName,
    authorities: &[&IssuerCertificate],
    way: Way,
) -> Result<ClaimedCertificate, Objection> {
    let mut issued = authorities.iter().filter(|ca| certificate.is_issued_by(ca));
    let ca = issued.next().ok_or_else(|| not_ours(issuer))?;
    Ok(ClaimedCertificate {
        ca: CaId::of(ca),
        serial: *certificate.serial(),
        not_after: certificate.not_after(),
        way,
    })
}

fn not_ours(issuer: &IssuerName) -> Objection {
    Objection::new(
        AcceptedReason::NotOurs,
        format_args!("the CA of {issuer} did not issue the certificate; name the issuer that did"),
    )
}

#[cfg(test)]
mod tests;
