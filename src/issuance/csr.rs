//! Certification requests (RFC 2986): from untrusted text to a CSR with proof of possession.

use std::iter;

use aws_lc_rs::digest;
use const_oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS,
    ID_CE_SUBJECT_ALT_NAME,
};
use der::{Decode as _, flagset::FlagSet};
use x509_cert::ext::pkix::{KeyUsage, KeyUsages};

use super::{
    constraints::NameConstraints,
    key::PublicKey,
    name::Name,
    oid::Oid,
    pem::{self, PemError},
    raw::{BasicConstraints, Extension, RequestInfo, SignedFrame},
    refusal::{Refusal, RefusalReason},
    san::SubjectAltNames,
    scheme::{SchemeError, SignatureScheme},
};

mod attributes;

/// Most octets of PEM text that we read. A CSR with a hundred long names has about a tenth of this.
const MAX_PEM: usize = 64 * 1024;

/// The PEM labels of a CSR: that of RFC 7468, section 7, and that of older generators.
const LABELS: [&[u8]; 2] = [b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"];

/// A CSR whose own signature proves that the requester holds the key.
///
/// # Guarantees
///
/// * The CSR is strict DER without trailing octets. It asks for each extension at most once.
/// * The key passed the key policy, and the signature verifies over the original bytes of
///   certificationRequestInfo.
///
/// # Caveats
///
/// This type does not check what the CSR asks for; [`Profile::admit`](super::Profile::admit) does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCsr {
    sha256: String,
    subject: Name,
    public_key: PublicKey,
    asked: RequestedExtensions,
}

/// The extensions that a CSR asks for. [`ExtensionRules::judge`](super::profile::ExtensionRules) decides about those in
/// `others`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestedExtensions {
    pub(super) subject_alt_names: Option<SubjectAltNames>,
    pub(super) key_usage: Option<FlagSet<KeyUsages>>,
    pub(super) extended_key_usage: Option<Vec<Oid>>,
    pub(super) is_ca: Option<bool>,
    pub(super) path_length: Option<usize>,
    pub(super) name_constraints: Option<NameConstraints>,
    /// Every other extension, unchanged.
    pub(super) others: Vec<Extension>,
}

impl VerifiedCsr {
    /// Reads exactly one PEM block with a CSR, applies the key policy, then verifies the signature.
    ///
    /// # Errors
    ///
    /// Returns a refusal that names the first broken rule. Never panics on any input.
    pub fn parse(pem: &[u8]) -> Result<Self, Refusal> {
        if pem.len() > MAX_PEM {
            return Err(Refusal::new(
                RefusalReason::TooLarge,
                format!(
                    "the CSR has {} octets; at most {MAX_PEM} are allowed; ask for fewer names",
                    pem.len()
                ),
            ));
        }
        Self::from_der(&request_block(pem)?)
    }

    /// Reads and checks the DER of a CSR as [`parse`](Self::parse) does, but keeps only the key. The result has the
    /// given names, an empty subject and no other extensions, whatever the CSR asks for.
    ///
    /// # Errors
    ///
    /// Fails in the same cases as [`parse`](Self::parse), except those that concern the PEM text.
    pub fn with_names(der: &[u8], names: SubjectAltNames) -> Result<Self, Refusal> {
        let Self {
            public_key, sha256, ..
        } = Self::from_der(der)?;
        Ok(Self {
            sha256,
            subject: Name::of(&[], None).map_err(not_der)?,
            public_key,
            asked: RequestedExtensions {
                subject_alt_names: Some(names),
                ..RequestedExtensions::default()
            },
        })
    }

    fn from_der(der: &[u8]) -> Result<Self, Refusal> {
        let signed = SignedFrame::parse(der).map_err(not_der)?;
        let info = RequestInfo::parse(signed.to_be_signed).map_err(not_der)?;
        if info.version != [0] {
            return Err(Refusal::new(
                RefusalReason::BadCsrVersion,
                "the CSR's version must be 0 (v1); make it with a current tool",
            ));
        }
        let extensions = attributes::requested_extensions(&info)?;
        let public_key = PublicKey::parse(info.spki).map_err(|error| {
            Refusal::new(
                error.reason(),
                format!("the CSR's key is refused: {}", chain(&error)),
            )
        })?;
        prove_possession(&public_key, &signed)?;
        Ok(Self {
            sha256: sha256_of_der(der),
            subject: Name::parse(info.subject).map_err(not_der)?,
            public_key,
            asked: RequestedExtensions::parse(&extensions)?,
        })
    }

    /// The SHA-256 hash of the CSR's DER, lower-case hexadecimal, for the issuance log.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns the subject. The certificate carries the same bytes, unless the profile replaces or re-encodes them.
    #[must_use]
    pub const fn subject(&self) -> &Name {
        &self.subject
    }

    /// Returns the subject's key. The certificate will carry the same bytes.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// Returns the subject alternative names. The certificate will carry the same bytes.
    #[must_use]
    pub const fn subject_alt_names(&self) -> Option<&SubjectAltNames> {
        self.asked.subject_alt_names.as_ref()
    }

    pub(super) const fn asked(&self) -> &RequestedExtensions {
        &self.asked
    }
}

/// Returns the SHA-256 hash of the DER of the CSR in a PEM text, lower-case hexadecimal; `None` if the text is not a CSR's.
/// Checks nothing else, because it is for requests that are refused.
#[must_use]
pub fn sha256_of_pem(text: &[u8]) -> Option<String> {
    let text = (text.len() <= MAX_PEM).then_some(text)?;
    request_block(text).ok().map(|der| sha256_of_der(&der))
}

/// Returns the SHA-256 hash of the DER of a CSR, lower-case hexadecimal.
#[must_use]
pub fn sha256_of_der(der: &[u8]) -> String {
    hex::encode(digest::digest(&digest::SHA256, der))
}

fn request_block(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    let bad_pem = |error: PemError| {
        Refusal::new(
            RefusalReason::BadPem,
            format!("the CSR is not PEM: {error}"),
        )
    };
    let read = pem::scan(text).map_err(bad_pem)?;
    let [block] = <[_; 1]>::try_from(read.blocks).map_err(|blocks| {
        Refusal::new(
            RefusalReason::MultiplePemBlocks,
            format!("the CSR has {} PEM blocks; send exactly one", blocks.len()),
        )
    })?;
    if read.trailing_text {
        return Err(bad_pem(PemError::TrailingText));
    }
    if !LABELS.contains(&block.label) {
        return Err(Refusal::new(
            RefusalReason::BadPem,
            format!(
                "the PEM block is labelled {:?}; it must be CERTIFICATE REQUEST",
                String::from_utf8_lossy(block.label)
            ),
        ));
    }
    Ok(block.der)
}

fn prove_possession(key: &PublicKey, signed: &SignedFrame<'_>) -> Result<(), Refusal> {
    let scheme = SignatureScheme::parse(signed.algorithm).map_err(|error| {
        let reason = match error {
            SchemeError::Encoding => RefusalReason::BadDer,
            SchemeError::Weak(_) => RefusalReason::WeakSignatureAlgorithm,
            SchemeError::Unsupported(_) => RefusalReason::UnsupportedSignatureAlgorithm,
        };
        Refusal::new(reason, format!("the CSR's signature is refused: {error}"))
    })?;
    key.verify(scheme, signed.to_be_signed, signed.signature)
        .map_err(|error| {
            Refusal::new(
                RefusalReason::BadSignature,
                format!("the CSR is not signed by its own key: {error}; make a new CSR"),
            )
        })
}

impl RequestedExtensions {
    fn parse(extensions: &[Extension]) -> Result<Self, Refusal> {
        let mut asked = Self::default();
        for extension in extensions {
            let value = extension.extn_value.as_bytes();
            match extension.extn_id.small() {
                Some(ID_CE_SUBJECT_ALT_NAME) => {
                    let names = SubjectAltNames::parse(value)
                        .map_err(|error| Refusal::new(RefusalReason::BadSan, chain(&error)))?;
                    asked.subject_alt_names = Some(names);
                }
                Some(ID_CE_KEY_USAGE) => {
                    asked.key_usage = Some(payload("keyUsage", value, KeyUsage::from_der)?.0);
                }
                Some(ID_CE_EXT_KEY_USAGE) => {
                    asked.extended_key_usage = Some(payload("extKeyUsage", value, Vec::from_der)?);
                }
                Some(ID_CE_BASIC_CONSTRAINTS) => {
                    let constraints = payload("basicConstraints", value, BasicConstraints::parse)?;
                    asked.is_ca = Some(constraints.ca);
                    asked.path_length = constraints.path_length;
                }
                Some(ID_CE_NAME_CONSTRAINTS) => {
                    let constraints = NameConstraints::parse(value).map_err(|error| {
                        Refusal::new(
                            RefusalReason::BadDer,
                            format!("the CSR's nameConstraints extension: {}", chain(&error)),
                        )
                    })?;
                    asked.name_constraints = Some(constraints);
                }
                _ => asked.others.push(extension.clone()),
            }
        }
        Ok(asked)
    }
}

fn payload<'a, T>(
    name: &str,
    value: &'a [u8],
    read: impl FnOnce(&'a [u8]) -> der::Result<T>,
) -> Result<T, Refusal> {
    read(value).map_err(|error| {
        Refusal::new(
            RefusalReason::BadDer,
            format!("the CSR's {name} extension is not well encoded: {error}"),
        )
    })
}

fn not_der(error: der::Error) -> Refusal {
    Refusal::new(
        RefusalReason::BadDer,
        format!("the PEM block is not the DER encoding of a PKCS#10 CSR: {error}"),
    )
}

/// Returns the text of an error and its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests;
