//! The plan of a ceremony: YAML that is read strictly, because people approve the hash of its octets.

mod check;
mod raw;

use jiff::Timestamp;
use pkcs11_issuer::issuance::{Serial, name::Name};

use crate::hash::Hash;

/// A plan whose steps fit together.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Name of the ceremony, which names its transcript and the key that signs it.
    pub(crate) ceremony: String,
    pub(crate) token: TokenName,
    pub(crate) steps: Vec<Step>,
    /// SHA-256 of the file's octets: plan A.
    pub(crate) hash: Hash,
    pub(crate) text: String,
}

/// The token, by both names, so that a copy with the same label is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenName {
    pub(crate) label: String,
    pub(crate) serial: String,
}

/// One step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) what: What,
}

/// What a step makes.
#[derive(Debug)]
pub(crate) enum What {
    Key(KeyStep),
    Certificate(CertificateStep),
    Request { key: String, subject: Name },
    Import { certificate: String, label: String },
}

/// A key pair on the token.
#[derive(Clone, Debug)]
pub(crate) struct KeyStep {
    pub(crate) algorithm: Algorithm,
    pub(crate) label: String,
    /// Whether it signs the transcript's checkpoints.
    pub(crate) audit: bool,
}

/// A CA certificate.
#[derive(Debug)]
pub(crate) struct CertificateStep {
    pub(crate) key: String,
    /// The step of the CA above; `None`: self-signed.
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Name,
    pub(crate) serial: Serial,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) path_length: Option<u8>,
}

/// The kinds of keys that a ceremony makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "RSA-4096")]
    Rsa4096,
    #[serde(rename = "P-256")]
    P256,
    #[serde(rename = "P-384")]
    P384,
    Ed25519,
    #[serde(rename = "ML-DSA-65")]
    MlDsa65,
    #[serde(rename = "ML-DSA-87")]
    MlDsa87,
}

impl Plan {
    /// Returns the CKA_ID of a step's key: the same for the same plan, and another for any other plan.
    pub(crate) fn key_id(&self, step: &str) -> Vec<u8> {
        let input = [
            b"pkcs11-ceremony CKA_ID\n",
            self.hash.octets().as_slice(),
            step.as_bytes(),
        ];
        let hash = Hash::of(&input.concat());
        hash.octets().iter().copied().take(16).collect()
    }

    /// Returns the steps that make keys.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (&str, &KeyStep)> {
        self.steps.iter().filter_map(|step| match &step.what {
            What::Key(key) => Some((step.name.as_str(), key)),
            What::Certificate(_) | What::Request { .. } | What::Import { .. } => None,
        })
    }

    /// Returns the step that makes the key for the transcript.
    pub(crate) fn audit_key(&self) -> Option<(&str, &KeyStep)> {
        self.keys().find(|(_, key)| key.audit)
    }

    /// Returns the step that makes a certificate, by its name.
    pub(crate) fn certificate(&self, name: &str) -> Option<&CertificateStep> {
        self.steps.iter().find_map(|step| match &step.what {
            What::Certificate(certificate) if step.name == name => Some(certificate),
            What::Key(_) | What::Certificate(_) | What::Request { .. } | What::Import { .. } => {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests;
