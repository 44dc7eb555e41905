//! Reasons why an issuer cannot sign, as its condition reports them.

use std::sync::Arc;

use hsm::HsmError;

use super::key::KeySpecError;
use crate::{
    api::{bounds::OutOfBounds, issuer::Reason},
    issuance::{
        ChainError, IssuerError, ProbeError, ProfileError, crl::CrlRulesError,
        pod::PodIdentityError,
    },
    message::{first_of, shown},
    signers::protection::Unprotected,
    telemetry::ErrorChain,
};

/// The most keys that a message lists. It gives only the number of the others.
const KEYS_NAMED: usize = 8;

/// Reason why an issuer whose certificates could be read cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    /// The operator grants no key of the token to issuers of this scope.
    #[error(
        "the operator's configuration has no grant for {scope} on token {token:?}; ask the operator for one, or name another token"
    )]
    NotGranted {
        /// The token.
        token: String,
        /// The scope: cluster issuers, or the issuers of a namespace.
        scope: String,
    },
    /// A part of the specification is larger than its schema allows.
    #[error("the issuer's specification is too large")]
    OutOfBounds(#[source] OutOfBounds),
    /// The certificate cannot issue.
    #[error("the issuing certificate cannot be used")]
    Certificate(#[source] Arc<ChainError>),
    /// The profile contradicts itself or its grant.
    #[error("spec.profile is not valid")]
    Profile(#[source] ProfileError),
    /// The rules for CRLs contradict themselves, the profile or the CA certificate.
    #[error("spec.crl cannot be used")]
    Crl(#[source] CrlRulesError),
    /// The key does not support the signature algorithm.
    #[error("no usable signature algorithm")]
    Algorithm(#[source] IssuerError),
    /// `ca: Root` or `appendRootToKubernetesCSR` is set, and there is no root certificate.
    #[error(
        "{0} and no root certificate is given; add it under rootKey or to the chain, or choose another value"
    )]
    RootMissing(&'static str),
    /// The specification of the key cannot be used.
    #[error("spec.key cannot be used")]
    KeySpec(#[source] KeySpecError),
    /// The template for the names of pods cannot be used.
    #[error("spec.podCertificates cannot be used")]
    Pods(#[source] PodIdentityError),
    /// Kubernetes accepts no pod certificate that is valid for less than an hour.
    #[error("spec.podCertificates needs a spec.profile.validity.max of an hour or more")]
    PodsTooShort,
    /// The token failed, or the key was not found on it or is not usable.
    #[error("token {token:?}, {place}")]
    Token {
        /// The token.
        token: String,
        /// Description of the key.
        place: String,
        /// The token's error.
        source: HsmError,
    },
    /// The operator grants the key only with other issuing certificates.
    #[error(
        "token {token:?}: the grant of key {key} does not list the issuing certificate {subject:?}, sha256:{sha256}; use a certificate that it lists, or ask the operator to add this one to the grant's certificates"
    )]
    CertificateNotGranted {
        /// The token.
        token: String,
        /// The key.
        key: String,
        /// Subject of the issuing certificate.
        subject: String,
        /// SHA-256 of its DER, hexadecimal.
        sha256: String,
    },
    /// The key signs the checkpoints of the issuance log.
    #[error(
        "token {token:?}: key {key} signs the checkpoints of the issuance log (audit.checkpoints in the operator's configuration), so nothing else may be signed with it; use another key"
    )]
    Reserved {
        /// The token.
        token: String,
        /// The key.
        key: String,
    },
    /// The key is not protected as the operator requires.
    #[error("token {token:?}")]
    Unprotected {
        /// The token.
        token: String,
        /// The key and the rules that it breaks.
        source: Unprotected,
    },
    /// The probe failed.
    #[error("the probe signature failed")]
    Probe(#[source] ProbeError),
    /// The operating system returned no random octets.
    #[error("no random octets for a probe signature")]
    Random,
}

impl NotProven {
    /// Returns the reason of the `Ready` condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotGranted { .. } => Reason::NotGranted,
            Self::OutOfBounds(_) => Reason::SpecInvalid,
            Self::Certificate(why) => certificate_reason(why),
            Self::CertificateNotGranted { .. } => Reason::CertificateNotGranted,
            Self::Algorithm(_) => Reason::AlgorithmUnsupported,
            Self::Profile(_) => Reason::ProfileInvalid,
            Self::Crl(CrlRulesError::NoCrlSign(_)) => Reason::CrlSignMissing,
            Self::Crl(_) => Reason::CrlInvalid,
            Self::RootMissing(_) => Reason::RootMissing,
            Self::Pods(_) | Self::PodsTooShort => Reason::PodCertificatesInvalid,
            Self::KeySpec(_) => Reason::KeyInvalid,
            Self::Token { source, .. } => token_reason(source),
            Self::Unprotected { .. } => Reason::KeyUnprotected,
            Self::Reserved { .. } => Reason::KeyForCheckpoints,
            Self::Probe(ProbeError::KeyMismatch(_)) => Reason::KeyMismatch,
            Self::Probe(ProbeError::Sign(_)) => Reason::ProbeFailed,
            Self::Random => Reason::Internal,
        }
    }

    /// Returns the message of the `Ready` condition: every cause, and what to do.
    #[must_use]
    pub fn message(&self) -> String {
        let listed = if let Self::Token { source, .. } = self {
            listed(source)
        } else {
            String::new()
        };
        shown(format_args!("{}{listed}", ErrorChain(self)))
    }
}

fn certificate_reason(error: &ChainError) -> Reason {
    if let ChainError::Expired { .. } = error {
        Reason::CertificateExpired
    } else if let ChainError::NotYetValid { .. } = error {
        Reason::CertificateNotYetValid
    } else {
        Reason::CertificateInvalid
    }
}

fn token_reason(error: &HsmError) -> Reason {
    match error {
        HsmError::Overloaded
        | HsmError::TimedOut
        | HsmError::WorkerLost { .. }
        | HsmError::Unavailable { .. }
        | HsmError::TokenFailed(_) => Reason::TokenUnavailable,
        HsmError::LoginRefused { .. } | HsmError::NotLoggedIn => Reason::LoginRefused,
        HsmError::Misconfigured { .. } => Reason::TokenMisconfigured,
        HsmError::KeyNotFound { differing } if differing.is_empty() => Reason::KeyNotFound,
        HsmError::KeysHidden { .. } => Reason::KeyNotFound,
        HsmError::KeyNotFound { .. } => Reason::KeyMismatch,
        HsmError::SeveralKeys { .. } | HsmError::TooManyKeys { .. } => Reason::KeyAmbiguous,
        HsmError::AlwaysAuthenticate(_) | HsmError::KeyType(_) | HsmError::KeyTypeUnknown(_) => {
            Reason::KeyUnusable
        }
        HsmError::MechanismRefused { .. } | HsmError::TokenRefused(_) => Reason::TokenRefused,
        HsmError::BadRequest { .. } | HsmError::WrongAnswer => Reason::Internal,
    }
}

/// Lists the keys that an error is about. The caller has left out keys that no grant covers.
fn listed(error: &HsmError) -> String {
    let (what, keys) = if let HsmError::KeyNotFound { differing } = error {
        ("; these have another public key: ", differing)
    } else if let HsmError::SeveralKeys { matching } = error {
        ("; name one of them by label and idHex: ", matching)
    } else if let HsmError::KeysHidden { hidden } = error {
        ("; these show no public key: ", hidden)
    } else {
        return String::new();
    };
    if keys.is_empty() {
        return String::new();
    }
    format!("{what}{}", first_of(KEYS_NAMED, keys))
}
