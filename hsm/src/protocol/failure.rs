//! Reasons why there is no answer, as types that the other side can act on.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};

use super::{KeyName, Slot};

/// Return code, other than `CKR_OK`, of a PKCS#11 function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCode {
    /// The function, `C_Sign` for example.
    pub function: String,
    /// The code's name; a vendor's code in hexadecimal.
    pub code: String,
}

impl fmt::Display for TokenCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} returned {}", self.function, self.code)
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// The deadline passed: the token was not called, its answer came too late and was dropped, or the search for a key
    /// had not ended.
    Expired,
    /// The token requires a login, at least for this request, and none has been accepted on this connection yet.
    NotLoggedIn,
    /// No key matches. `differing` are keys with the given label and id and a different public key.
    KeyNotFound {
        /// Keys that match all but the public key.
        differing: Vec<KeyName>,
    },
    /// More than one key matches; the list is cut at 32.
    SeveralKeys(Vec<KeyName>),
    /// More keys match than one look-up reads.
    TooManyKeys {
        /// The most keys that one look-up reads.
        most: u16,
    },
    /// The key requires its PIN for every signature (`CKA_ALWAYS_AUTHENTICATE`), which an issuer cannot give.
    AlwaysAuthenticate(KeyName),
    /// Keys of this type cannot sign certificates here.
    KeyType(KeyName),
    /// The token tells neither the type and size nor the public half of the key, and neither does the request.
    KeyTypeUnknown(KeyName),
    /// No key shows the wanted public half, and these keys show none. Names at most 32.
    KeysHidden(Vec<KeyName>),
    /// The key or the token cannot sign with this mechanism.
    MechanismRefused {
        /// What does not fit.
        why: String,
    },
    /// The token failed in a way that may pass.
    TokenFailed(TokenCode),
    /// The token refuses until someone changes it or the configuration.
    TokenRefused(TokenCode),
    /// The request breaks the protocol: an unknown key number, a digest of the wrong length.
    BadRequest {
        /// The rule that it breaks.
        why: String,
    },
}

/// Outcome of `C_Login`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginAnswer {
    /// The user is logged in.
    Accepted,
    /// The token evaluated the PIN and refused it.
    Rejected {
        /// The PIN is locked now.
        locked: bool,
        /// The token's return code.
        code: TokenCode,
    },
    /// No try was spent: `C_Login` was not called because of the token's flags, or the token did not evaluate the PIN.
    NotTried {
        /// Why not.
        why: String,
    },
    /// The token failed before it was given the PIN.
    Failed(TokenCode),
    /// The token was given the PIN, and its answer does not tell whether the PIN counted as wrong.
    Unclear(TokenCode),
}

/// Why the worker has no token to serve.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoToken {
    /// The library cannot be loaded or does not speak PKCS#11.
    Module {
        /// The loader's error.
        why: String,
    },
    /// `C_Initialize` or the slot list failed: the store or device behind the module is not available.
    Initialize(TokenCode),
    /// The module shows other tokens, or no token.
    Absent {
        /// Labels of the tokens that the module shows, and slots that failed.
        seen: Vec<String>,
    },
    /// Several tokens match; use the serial number, or the slot if the serial numbers are equal.
    Several {
        /// Their serial numbers.
        serials: Vec<String>,
        /// Their slots, in the same order.
        slots: Vec<Slot>,
    },
    /// The token was found, but no session can be opened on it.
    Sessions(TokenCode),
    /// The worker or the listener refuses to serve the peer, for example one that speaks another version.
    Refused {
        /// Why not.
        why: String,
    },
}

impl fmt::Display for NoToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module { why } => write!(f, "failed to load the PKCS#11 module: {why}"),
            Self::Initialize(code) | Self::Sessions(code) => code.fmt(f),
            Self::Absent { seen } if seen.is_empty() => {
                f.write_str("no such token; the module shows none")
            }
            Self::Absent { seen } => {
                write!(f, "no such token; the module shows {}", seen.join(", "))
            }
            Self::Several { serials, .. }
                if serials.iter().collect::<BTreeSet<_>>().len() == serials.len() =>
            {
                write!(
                    f,
                    "several such tokens; select one by its serial number: {}",
                    serials.join(", ")
                )
            }
            Self::Several { slots, .. } => {
                let slots: Vec<_> = slots.iter().map(Slot::to_string).collect();
                write!(
                    f,
                    "several such tokens with equal serial numbers; select one by slotDescription or slotId: {}",
                    slots.join(", ")
                )
            }
            Self::Refused { why } => write!(f, "the HSM worker refused to serve: {why}"),
        }
    }
}

/// Why a worker ended itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitReason {
    /// A PKCS#11 call lasted longer than the hang limit.
    Hung,
    /// The token was lost, and only a fresh process finds it again.
    TokenLost(TokenCode),
    /// The token no longer shows a key that was used before: the library has lost the token or the login.
    KeyVanished,
    /// The client broke the protocol.
    Protocol {
        /// The rule that the client broke.
        why: String,
    },
}

impl ExitReason {
    /// Returns the exit code of the process.
    #[must_use]
    pub const fn exit_code(&self) -> i32 {
        match self {
            Self::Hung => 70,
            Self::TokenLost(_) => 71,
            Self::KeyVanished => 72,
            Self::Protocol { .. } => 73,
        }
    }
}

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hung => f.write_str("a PKCS#11 call hung"),
            Self::TokenLost(code) => write!(f, "the token was lost: {code}"),
            Self::KeyVanished => {
                f.write_str("a key that was in use is no longer shown by the token")
            }
            Self::Protocol { why } => write!(f, "the client broke the protocol: {why}"),
        }
    }
}
