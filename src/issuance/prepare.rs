//! Turns admitted parameters into the bytes to be signed, and these bytes and their signature into a certificate.

use std::sync::Arc;

use aws_lc_rs::digest;
use jiff::{SignedDuration, Timestamp};

use super::{
    Fault,
    chain::{CaField, ChainError},
    claim::Role,
    crl::SerialNumber,
    extensions,
    issuer::Issuer,
    key::BadSignature,
    lint::{self, LintError},
    oid::Oid,
    pem,
    profile::{BeyondCa, CertificateParams},
    refusal::{Refusal, RefusalReason},
    reread::{self, RereadError},
    san::SubjectAltNames,
    serial::Serial,
    signature::{SignError, Signature, Signer, SigningInput},
    tbs::{self, Parts},
};

/// Largest PEM of one certificate that cert-manager reads, in octets. Without this check, cert-manager would reject a
/// larger one only after the token has signed it.
const MAX_PEM: usize = 36_500;

/// Reason why no certificate was prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The issuer refuses the request.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The issuer's chain is not valid at this time.
    #[error("the issuer's certificates cannot be used")]
    Issuer(#[source] ChainError),
    /// Our own lint failed: a bug.
    #[error("the prepared certificate fails our own lint")]
    Lint(#[source] LintError),
    /// The admitted contents could not be encoded: a bug.
    #[error("failed to encode the certificate")]
    Encode(#[source] der::Error),
}

impl PrepareError {
    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            Self::Issuer(error) => error.fault(),
            Self::Lint(_) | Self::Encode(_) => Fault::Bug,
        }
    }
}

/// Reason why a prepared certificate or CRL was not issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// The signer returned no signature.
    #[error("failed to get a signature")]
    Sign(#[source] SignError),
    /// The signature is wrong: another key, a faulty token, or a bug.
    #[error("the signature is wrong; what it signs was discarded")]
    Unverified(#[source] BadSignature),
    /// Another parser reads it differently: a bug.
    #[error("what was signed is ambiguous; it was discarded")]
    Ambiguous(#[source] RereadError),
    /// It could not be encoded: a bug.
    #[error("failed to encode what was signed")]
    Encode(#[source] der::Error),
}

impl IssueError {
    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Sign(error) => error.fault(),
            Self::Unverified(_) | Self::Ambiguous(_) | Self::Encode(_) => Fault::Bug,
        }
    }
}

/// A certificate that lacks only its signature: the bytes exist and every lint passed.
///
/// # Guarantees
///
/// Issuing consumes the prepared certificate. It asks for one signature and gives at most one certificate.
///
/// ```compile_fail,E0382
/// # use pkcs11_issuer::issuance::{PreparedCertificate, Signer};
/// async fn twice(prepared: PreparedCertificate, signer: &dyn Signer) {
///     prepared.issue(signer).await.ok();
///     prepared.issue(signer).await.ok(); // already spent
/// }
/// ```
#[derive(Debug)]
pub struct PreparedCertificate {
    tbs: Vec<u8>,
    algorithm: Vec<u8>,
    issuer: Arc<Issuer>,
    serial: Serial,
    not_before: Timestamp,
    not_after: Timestamp,
    dropped_extensions: Vec<Oid>,
}

impl PreparedCertificate {
    /// Makes the bytes to be signed and runs every lint over them. The same arguments give the same bytes.
    ///
    /// # Errors
    ///
    /// The request is refused, the issuer's chain is not valid at `now`, or this program has a bug.
    pub fn prepare(
        params: &CertificateParams<'_>,
        issuer: &Arc<Issuer>,
        now: Timestamp,
        serial: Serial,
    ) -> Result<Self, PrepareError> {
        issuer.chain().check_at(now).map_err(PrepareError::Issuer)?;
        check_strangers(params, issuer)?;
        let csr = params.csr();
        let names = csr
            .subject_alt_names()
            .map_or(&[][..], SubjectAltNames::names);
        let role = Role::of(params.authority().is_some());
        issuer.chain().check_names(params.subject(), names, role)?;
        issuer.chain().check_purposes(params.extended_key_usage())?;
        if let Some(authority) = params.authority() {
            issuer.chain().check_authority(authority.path_length())?;
        }
        let (not_before, not_after) = validity(params, issuer, now)?;
        let algorithm = issuer
            .algorithm()
            .scheme()
            .to_der()
            .map_err(PrepareError::Encode)?;
        let issuing = issuer.chain().issuing();
        let crl = issuer.crl_url(&SerialNumber::from(&serial));
        let tbs = Parts {
            serial: serial.octets(),
            algorithm: &algorithm,
            issuer: issuing.subject_der(),
            not_before,
            not_after,
            subject: params.subject().der(),
            spki: params.csr().public_key().spki_der(),
            extensions: extensions::write(params, issuing, crl.as_ref())
                .map_err(PrepareError::Encode)?,
        }
        .to_der()
        .map_err(PrepareError::Encode)?;
        let prepared = Self {
            tbs,
            algorithm,
            issuer: Arc::clone(issuer),
            serial,
            not_before,
            not_after,
            dropped_extensions: params.dropped_extensions().to_vec(),
        };
        prepared.check_size()?;
        lint::run(&prepared.tbs, issuer).map_err(PrepareError::Lint)?;
        Ok(prepared)
    }

    /// The SHA-256 hash of the TBSCertificate, lower-case hexadecimal, for the issuance log.
    #[must_use]
    pub fn tbs_sha256(&self) -> String {
        hex::encode(digest::digest(&digest::SHA256, &self.tbs))
    }

    /// The serial number, lower-case hexadecimal.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        self.serial.hex()
    }

    /// First second of validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The extensions that the CSR asks for and the certificate does not carry.
    #[must_use]
    pub fn dropped_extensions(&self) -> &[Oid] {
        &self.dropped_extensions
    }

    /// Asks the signer exactly once, and seals the certificate.
    ///
    /// # Errors
    ///
    /// The signer returns no signature, or one that does not verify under the issuing certificate's public key, or this
    /// program has a bug.
    pub async fn issue(self, signer: &dyn Signer) -> Result<IssuedCertificate, IssueError> {
        let input = SigningInput::new(self.issuer.algorithm(), &self.tbs);
        let signature = signer.sign(input).await.map_err(IssueError::Sign)?;
        self.seal(&signature)
    }

    fn seal(self, signature: &Signature) -> Result<IssuedCertificate, IssueError> {
        let signature = signature.as_octets();
        let der = sealed(&self.tbs, &self.algorithm, signature, &self.issuer)?;
        Ok(IssuedCertificate {
            der,
            issuer: self.issuer,
            serial: self.serial,
            not_before: self.not_before,
            not_after: self.not_after,
        })
    }

    fn check_size(&self) -> Result<(), PrepareError> {
        let signature = vec![
            0;
            self.issuer
                .chain()
                .issuing()
                .public_key()
                .algorithm()
                .signature_length()
        ];
        let der =
            tbs::signed(&self.tbs, &self.algorithm, &signature).map_err(PrepareError::Encode)?;
        let length = pem::encode("CERTIFICATE", &der).len();
        if length > MAX_PEM {
            return Err(PrepareError::Refused(Refusal::new(
                RefusalReason::TooLarge,
                format!(
                    "the certificate would have {length} octets of PEM, but cert-manager reads at most {MAX_PEM}; ask for fewer names"
                ),
            )));
        }
        Ok(())
    }
}

/// Verifies the signature and assembles the certificate (DER). Verification catches a wrong key handle, a fault in an RSA-CRT
/// computation and a broken token before anything is released. `algorithm` is the DER of the issuer's algorithm.
///
/// # Errors
///
/// The signature does not verify under the issuing certificate's public key, or two parsers read the certificate differently.
pub(super) fn sealed(
    tbs: &[u8],
    algorithm: &[u8],
    signature: &[u8],
    issuer: &Issuer,
) -> Result<Vec<u8>, IssueError> {
    let key = issuer.chain().issuing().public_key().key();
    key.verify(issuer.algorithm().scheme(), tbs, signature)
        .map_err(IssueError::Unverified)?;
    let der = tbs::signed(tbs, algorithm, signature).map_err(IssueError::Encode)?;
    reread::compare(&der, issuer.profile().copied_extensions()).map_err(IssueError::Ambiguous)?;
    Ok(der)
}

/// Refuses the key of any CA of the chain, and a subject that `check_subject` of the chain refuses.
fn check_strangers(params: &CertificateParams<'_>, issuer: &Issuer) -> Result<(), Refusal> {
    let csr = params.csr();
    for certificate in issuer.chain().certificates() {
        if certificate.spki_der() == csr.public_key().spki_der() {
            return Err(Refusal::new(
                RefusalReason::IssuerKeyReuse,
                format!(
                    "the CSR's key is the key of the CA certificate {:?}; generate a separate key",
                    certificate.subject_text()
                ),
            ));
        }
    }
    let is_ca = params.authority().is_some();
    issuer.chain().check_subject(params.subject(), is_ca)
}

/// Returns the first and the last second of the validity window.
///
/// Backdating moves the window and keeps its length. The window lies within that of every certificate of the chain, the
/// root included.
fn validity(
    params: &CertificateParams<'_>,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), Refusal> {
    let chain = issuer.chain();
    let whole = SignedDuration::from_nanos(i64::from(now.subsec_nanosecond()));
    let not_before = now
        .checked_sub(whole)
        .and_then(|second| second.checked_sub(params.backdate()))
        .unwrap_or(Timestamp::UNIX_EPOCH)
        .max(chain.last_to_begin().not_before());
    let first_to_end = chain.first_to_end();
    let last = first_to_end.not_after();
    let not_after = not_before.checked_add(params.duration()).ok();
    match (not_after.filter(|&end| end <= last), params.beyond_ca()) {
        (Some(not_after), _) => Ok((not_before, not_after)),
        (None, BeyondCa::Clamp { min_remaining }) if now.duration_until(last) >= min_remaining => {
            Ok((not_before, last))
        }
        (None, beyond) => Err(Refusal::new(
            RefusalReason::ExceedsCaValidity,
            match beyond {
                BeyondCa::Reject => format!(
                    "a duration of {:#} goes beyond {last}, the last second of the CA certificate {:?}; ask for less, or have that certificate renewed",
                    params.duration(),
                    first_to_end.subject_text(),
                ),
                BeyondCa::Clamp { min_remaining } => format!(
                    "the CA certificate {:?} ends at {last}, and this issuer gives no certificate with less than {min_remaining:#} left; have that certificate renewed",
                    first_to_end.subject_text(),
                ),
            },
        )),
    }
}

/// A signed certificate whose signature was verified under the issuing certificate's public key.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    der: Vec<u8>,
    issuer: Arc<Issuer>,
    serial: Serial,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl IssuedCertificate {
    /// The certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns the value of `status.certificate`: this certificate, then the issuing one and those above it without the
    /// root.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der) + &self.issuer.chain().intermediates_pem()
    }

    /// Returns the value of `status.ca`.
    #[must_use]
    pub fn ca_pem(&self, which: CaField) -> Option<String> {
        self.issuer.chain().ca_pem(which)
    }

    /// The serial number, lower-case hexadecimal.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        self.serial.hex()
    }

    /// First second of validity.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

#[cfg(test)]
mod tests;
