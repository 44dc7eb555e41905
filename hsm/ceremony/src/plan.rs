//! The plan of a ceremony: YAML that is read strictly, because people approve the hash of its octets.

mod check;
mod given;
mod raw;
mod steps;

use std::sync::Arc;

use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    Issuer, PublicKey, Serial,
    crl::{CrlNumber, Revoked},
    name::Name,
};

use check::PlanError;

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
    /// Nothing: it names a CA that exists, whose key is on the token.
    Ca(CaStep),
    Certificate(CertificateStep),
    Request {
        key: String,
        subject: Name,
    },
    Import {
        certificate: String,
        label: String,
    },
    Crl(CrlStep),
}

/// A key pair on the token.
#[derive(Clone, Debug)]
pub(crate) struct KeyStep {
    pub(crate) algorithm: Algorithm,
    pub(crate) label: String,
    /// Whether it signs the transcript's checkpoints.
    pub(crate) audit: bool,
    /// Whether the vendor's attestation of the key is stored with the transcript.
    pub(crate) attestation: bool,
}

/// A CA that exists.
#[derive(Debug)]
pub(crate) struct CaStep {
    /// Its certificate, from the file that the plan names.
    pub(crate) issuer: Arc<Issuer>,
    /// CKA_ID of its private key.
    pub(crate) key_id: Vec<u8>,
}

/// The key that a certificate certifies.
#[derive(Debug)]
pub(crate) enum SubjectKey {
    /// The key of this step: one that the plan makes, or that of a CA that exists.
    Step(String),
    /// A key elsewhere.
    Given(PublicKey),
}

/// A CRL.
#[derive(Debug)]
pub(crate) struct CrlStep {
    /// The step of the CA that signs.
    pub(crate) issuer: String,
    pub(crate) number: CrlNumber,
    pub(crate) this_update: Timestamp,
    pub(crate) next_update: Timestamp,
    pub(crate) revoked: Vec<Revoked>,
}

/// A CA certificate.
#[derive(Debug)]
pub(crate) struct CertificateStep {
    pub(crate) key: SubjectKey,
    /// The step of the CA above; `None`: self-signed.
    pub(crate) issuer: Option<String>,
    pub(crate) subject: Name,
    pub(crate) serial: Serial,
    pub(crate) not_before: Timestamp,
    pub(crate) not_after: Timestamp,
    pub(crate) path_length: Option<u8>,
    /// The subject key identifier of the CA's other certificates; `None`: computed from the key.
    pub(crate) subject_key_id: Option<Vec<u8>>,
    /// The CA whose certificate this one succeeds. It may differ from that in serial number, dates and signature only.
    pub(crate) predecessor: Option<Arc<Issuer>>,
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
    /// Returns the CKA_ID of a step's key: that of a CA that exists, or one that is the same for the same plan, and another for
    /// any other plan.
    pub(crate) fn key_id(&self, step: &str) -> Vec<u8> {
        if let Some((_, ca)) = self.cas().find(|(name, _)| *name == step) {
            return ca.key_id.clone();
        }
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
            What::Ca(_)
            | What::Certificate(_)
            | What::Request { .. }
            | What::Import { .. }
            | What::Crl(_) => None,
        })
    }

    /// Returns the steps that name a CA that exists.
    pub(crate) fn cas(&self) -> impl Iterator<Item = (&str, &CaStep)> {
        self.steps.iter().filter_map(|step| match &step.what {
            What::Ca(ca) => Some((step.name.as_str(), ca)),
            What::Key(_)
            | What::Certificate(_)
            | What::Request { .. }
            | What::Import { .. }
            | What::Crl(_) => None,
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
            What::Key(_)
            | What::Ca(_)
            | What::Certificate(_)
            | What::Request { .. }
            | What::Import { .. }
            | What::Crl(_) => None,
        })
    }

    /// Returns the name (DER) of a CA.
    pub(crate) fn subject(&self, ca: &str) -> Option<&[u8]> {
        match self.certificate(ca) {
            Some(certificate) => Some(certificate.subject.der()),
            None => {
                let (_, ca) = self.cas().find(|(name, _)| *name == ca)?;
                Some(ca.issuer.chain().issuing().subject_der())
            }
        }
    }

    /// Returns the step of the key with which a CA signs.
    pub(crate) fn signing_key<'a>(&'a self, ca: &'a str) -> Option<&'a str> {
        match self.certificate(ca) {
            Some(certificate) => match &certificate.key {
                SubjectKey::Step(key) => Some(key),
                SubjectKey::Given(_) => None,
            },
            None => self.cas().map(|(name, _)| name).find(|name| *name == ca),
        }
    }
}

#[cfg(test)]
mod tests;
