//! Why an issuer cannot sign, in the words of its condition.

use std::sync::Arc;

use hsm::HsmError;

use super::key::KeySpecError;
use crate::{
    api::{bounds::OutOfBounds, issuer::Reason},
    issuance::{ChainError, IssuerError, ProbeError, ProfileError, pod::PodIdentityError},
    message::{first_of, shown},
    signers::protection::Unprotected,
    telemetry::Chain,
};

/// A message names so many keys, and counts the others.
const KEYS_NAMED: usize = 8;

/// Why an issuer cannot sign, its certificates being at hand.
#[derive(Debug, thiserror::Error)]
pub enum NotProven {
    /// The operator lets no issuer of that scope use any key of the token.
    #[error(
        "the operator's configuration has no grant for {scope} on token {token:?}; ask the operator for one, or name another token"
    )]
    NotGranted {
        /// The token.
        token: String,
        /// Whose issuers they are.
        scope: String,
    },
    /// A part of the specification is larger than its schema allows.
    #[error("the issuer's specification is too large")]
    OutOfBounds(#[source] OutOfBounds),
    /// A certificate that cannot issue.
    #[error("the issuing certificate is not fit")]
    Certificate(#[source] Arc<ChainError>),
    /// A profile that contradicts itself or its grant.
    #[error("spec.profile is not sound")]
    Profile(#[source] ProfileError),
    /// A signature algorithm that the key cannot do.
    #[error("no signature algorithm")]
    Algorithm(#[source] IssuerError),
    /// `ca: Root` or `appendRootToKubernetesCSR`, and no root.
    #[error(
        "{0} and no root certificate is given; add it under rootKey, to the chain, or choose another value"
    )]
    RootMissing(&'static str),
    /// A key that cannot be looked for.
    #[error("spec.key cannot be used")]
    KeySpec(#[source] KeySpecError),
    /// No pod can be named so.
    #[error("spec.podCertificates cannot be used")]
    Pods(#[source] PodIdentityError),
    /// Kubernetes takes no pod certificate of less than an hour.
    #[error("spec.podCertificates needs a spec.profile.validity.max of an hour or more")]
    PodsTooShort,
    /// The token or the key on it.
    #[error("token {token:?}, {place}")]
    Token {
        /// The token.
        token: String,
        /// What was looked for.
        place: String,
        /// What went wrong.
        source: HsmError,
    },
    /// A key that may sign under other certificates only.
    #[error(
        "token {token:?}: the operator grants key {key} with other issuing certificates than {subject:?}, sha256:{sha256}; name one of those, or have the operator add it to the grant's certificates"
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
    /// The key is not kept as the operator requires.
    #[error("token {token:?}")]
    Unprotected {
        /// The token.
        token: String,
        /// The key and the rules that it breaks.
        source: Unprotected,
    },
    /// The key did not prove itself.
    #[error("the probe signature failed")]
    Probe(#[source] ProbeError),
    /// The operating system gave no random octets.
    #[error("no random octets for a probe signature")]
    Random,
}

impl NotProven {
    /// The reason of the `Ready` condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotGranted { .. } => Reason::NotGranted,
            Self::OutOfBounds(_) => Reason::SpecInvalid,
            Self::Certificate(why) => certificate_reason(why),
            Self::CertificateNotGranted { .. } => Reason::CertificateNotGranted,
            Self::Algorithm(_) => Reason::AlgorithmUnsupported,
            Self::Profile(_) => Reason::ProfileInvalid,
            Self::RootMissing(_) => Reason::RootMissing,
            Self::Pods(_) | Self::PodsTooShort => Reason::PodCertificatesInvalid,
            Self::KeySpec(_) => Reason::KeyInvalid,
            Self::Token { source, .. } => token_reason(source),
            Self::Unprotected { .. } => Reason::KeyUnprotected,
            Self::Probe(ProbeError::KeyMismatch(_)) => Reason::KeyMismatch,
            Self::Probe(ProbeError::Sign(_)) => Reason::ProbeFailed,
            Self::Random => Reason::Internal,
        }
    }

    /// What to do, with every cause.
    #[must_use]
    pub fn message(&self) -> String {
        let listed = if let Self::Token { source, .. } = self {
            listed(source)
        } else {
            String::new()
        };
        shown(format_args!("{}{listed}", Chain(self)))
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
        HsmError::LoginRefused { .. } => Reason::LoginRefused,
        HsmError::Misconfigured { .. } => Reason::TokenMisconfigured,
        HsmError::KeyNotFound { differing } if differing.is_empty() => Reason::KeyNotFound,
        HsmError::KeyNotFound { .. } => Reason::KeyMismatch,
        HsmError::SeveralKeys { .. } | HsmError::TooManyKeys { .. } => Reason::KeyAmbiguous,
        HsmError::AlwaysAuthenticate(_) | HsmError::KeyType(_) => Reason::KeyUnusable,
        HsmError::MechanismRefused { .. } | HsmError::TokenRefused(_) => Reason::TokenRefused,
        HsmError::BadRequest { .. } | HsmError::WrongAnswer => Reason::Internal,
    }
}

/// The keys that an error is about; the caller has left out those that no grant covers.
fn listed(error: &HsmError) -> String {
    let (what, keys) = if let HsmError::KeyNotFound { differing } = error {
        ("; these have another public key: ", differing)
    } else if let HsmError::SeveralKeys { matching } = error {
        ("; name one of them by label and idHex: ", matching)
    } else {
        return String::new();
    };
    if keys.is_empty() {
        return String::new();
    }
    format!("{what}{}", first_of(KEYS_NAMED, keys))
}
