//! Errors of requests to a token, and who has to act on each.

use thiserror::Error;

use crate::protocol::{Failure, KeyName, TokenCode};

/// Who has to act on an [`HsmError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Nobody: a later retry may succeed.
    Passing,
    /// A person: the issuer, its key, the PIN, the token or the configuration must be corrected first.
    Mend,
    /// The developers: controller and worker broke their own protocol.
    Bug,
}

/// Why a request to a token failed.
#[derive(Clone, Debug, Error)]
pub enum HsmError {
    /// No place in the worker's queue became free before the deadline.
    #[error("the token is busy: no place in its queue before the deadline")]
    Overloaded,
    /// The deadline passed while the request was queued or the token worked on it.
    #[error("the token did not answer before the deadline")]
    TimedOut,
    /// The worker ended before it answered. It may have made a signature, which nobody has seen.
    #[error("the HSM worker ended during the request: {why}")]
    WorkerLost {
        /// Why the worker ended, as far as is known.
        why: String,
    },
    /// There is no worker with a logged-in token now.
    #[error("the token is not available: {why}")]
    Unavailable {
        /// The state of the token.
        why: String,
    },
    /// The token requires a login, at least for this request, and none has been accepted.
    #[error("the token requires a login for this request, and none has been accepted")]
    NotLoggedIn,
    /// A PKCS#11 function failed in a way that may pass.
    #[error("the token failed: {0}")]
    TokenFailed(TokenCode),
    /// No login is tried until the PIN or the token changes.
    #[error("no login to the token: {why}")]
    LoginRefused {
        /// The reason of the gate or of the token.
        why: String,
    },
    /// The module or the token selection must be corrected.
    #[error("the token's configuration is wrong: {why}")]
    Misconfigured {
        /// What does not work.
        why: String,
    },
    /// No key matches. `differing` are keys with the wanted label and id and a different public key.
    #[error("no private key on the token matches")]
    KeyNotFound {
        /// Keys that match all but the public key.
        differing: Vec<KeyName>,
    },
    /// More than one key matches.
    #[error("{} private keys on the token match", .matching.len())]
    SeveralKeys {
        /// At most 32 of them.
        matching: Vec<KeyName>,
    },
    /// More keys match than one look-up reads.
    #[error(
        "more than {most} private keys on the token match; name the key by label and id, so that fewer do"
    )]
    TooManyKeys {
        /// The most keys that one look-up reads.
        most: u16,
    },
    /// The key requires its PIN for every signature.
    #[error(
        "key {0} wants its PIN for every signature (CKA_ALWAYS_AUTHENTICATE); use a key without it"
    )]
    AlwaysAuthenticate(KeyName),
    /// The key's type cannot sign certificates here.
    #[error(
        "key {0} has an unsupported type; use RSA, ECDSA on P-256, P-384 or P-521, Ed25519 or ML-DSA"
    )]
    KeyType(KeyName),
    /// The token tells neither the type and size nor the public key of this key.
    #[error(
        "the token tells neither the type and size nor the public key of key {0}; store its public key on the token, under the same CKA_ID"
    )]
    KeyTypeUnknown(KeyName),
    /// No key shows the wanted public key, and these keys show none.
    #[error(
        "no private key on the token shows the certificate's public key, and {} show no public key at all; name the key by label or id", .hidden.len()
    )]
    KeysHidden {
        /// At most 32 of them.
        hidden: Vec<KeyName>,
    },
    /// The key or the token cannot sign with this mechanism.
    #[error("the key cannot sign with this mechanism: {why}")]
    MechanismRefused {
        /// What does not fit.
        why: String,
    },
    /// The token refuses until someone changes it or the configuration.
    #[error("the token refuses: {0}")]
    TokenRefused(TokenCode),
    /// The worker says that we broke the protocol.
    #[error("the HSM worker refused a malformed request: {why}")]
    BadRequest {
        /// The rule that the request breaks.
        why: String,
    },
    /// The worker's answer does not match the request.
    #[error("the HSM worker's answer does not match the request")]
    WrongAnswer,
}

impl HsmError {
    /// Returns who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Overloaded
            | Self::TimedOut
            | Self::WorkerLost { .. }
            | Self::Unavailable { .. }
            | Self::NotLoggedIn
            | Self::TokenFailed(_) => Fault::Passing,
            Self::LoginRefused { .. }
            | Self::Misconfigured { .. }
            | Self::KeyNotFound { .. }
            | Self::SeveralKeys { .. }
            | Self::TooManyKeys { .. }
            | Self::AlwaysAuthenticate(_)
            | Self::KeyType(_)
            | Self::KeyTypeUnknown(_)
            | Self::KeysHidden { .. }
            | Self::MechanismRefused { .. }
            | Self::TokenRefused(_) => Fault::Mend,
            Self::BadRequest { .. } | Self::WrongAnswer => Fault::Bug,
        }
    }
}

impl From<Failure> for HsmError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Expired => Self::TimedOut,
            Failure::NotLoggedIn => Self::NotLoggedIn,
            Failure::KeyNotFound { differing } => Self::KeyNotFound { differing },
            Failure::TooManyKeys { most } => Self::TooManyKeys { most },
            Failure::SeveralKeys(matching) => Self::SeveralKeys { matching },
            Failure::AlwaysAuthenticate(key) => Self::AlwaysAuthenticate(key),
            Failure::KeyType(key) => Self::KeyType(key),
            Failure::KeyTypeUnknown(key) => Self::KeyTypeUnknown(key),
            Failure::KeysHidden(hidden) => Self::KeysHidden { hidden },
            Failure::MechanismRefused { why } => Self::MechanismRefused { why },
            Failure::TokenFailed(code) => Self::TokenFailed(code),
            Failure::TokenRefused(code) => Self::TokenRefused(code),
            Failure::BadRequest { why } => Self::BadRequest { why },
        }
    }
}
