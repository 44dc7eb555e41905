//! Why there is no answer, in words that the other side can act on.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::KeyName;

/// A PKCS#11 function that did not return `CKR_OK`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenCode {
    /// The function, `C_Sign` for example.
    pub function: String,
    /// The code by name; vendors' codes in hexadecimal.
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
    /// The deadline passed first: the token was not asked, its answer came too late and was dropped, or a key was not
    /// found until then.
    Expired,
    /// No login was accepted on this connection yet.
    NotLoggedIn,
    /// No key matches. `differing` are keys of the given label and id whose public key is another.
    KeyNotFound {
        /// Keys that match all but the public key.
        differing: Vec<KeyName>,
    },
    /// More than one key matches; the list is cut at 32.
    SeveralKeys(Vec<KeyName>),
    /// More keys match than one look-up reads.
    TooManyKeys {
        /// As many as it reads.
        most: u16,
    },
    /// The key wants its PIN for every signature (`CKA_ALWAYS_AUTHENTICATE`), which an issuer cannot give.
    AlwaysAuthenticate(KeyName),
    /// The key's type is none that can sign certificates here.
    KeyType(KeyName),
    /// The key or the token cannot sign so.
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
        /// Which rule.
        why: String,
    },
}

/// How `C_Login` went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginAnswer {
    /// The user is logged in.
    Accepted,
    /// The token evaluated the PIN and refused it.
    Rejected {
        /// The PIN is locked now.
        locked: bool,
        /// What the token said.
        code: TokenCode,
    },
    /// The token was not asked, for its flags warn of the end.
    NotTried {
        /// Why not.
        why: String,
    },
    /// The token failed before it was given the PIN.
    Failed(TokenCode),
    /// The token was asked and its answer does not tell whether the PIN counted as wrong.
    Unclear(TokenCode),
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NoToken {
    /// The library cannot be loaded or does not speak PKCS#11.
    Module {
        /// The loader's words.
        why: String,
    },
    /// `C_Initialize` or the slot list failed: the store or device behind the module is away.
    Initialize(TokenCode),
    /// The module shows other tokens or none.
    Absent {
        /// Labels of the tokens that it shows, and slots that failed.
        seen: Vec<String>,
    },
    /// Several tokens match; use the serial number.
    Several {
        /// Their serial numbers.
        serials: Vec<String>,
    },
    /// The token is there, and no session can be opened on it.
    Sessions(TokenCode),
    /// The peer may not be served, or speaks another version.
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
            Self::Several { serials } => write!(
                f,
                "several such tokens; select one by its serial number: {}",
                serials.join(", ")
            ),
            Self::Refused { why } => write!(f, "the HSM worker refused to serve: {why}"),
        }
    }
}

/// Why a worker ended itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// A PKCS#11 call lasted longer than the hang limit.
    Hung,
    /// Only a fresh process finds the token again.
    TokenLost(TokenCode),
    /// A key that was used before is no longer shown: the library has lost the token or the login.
    KeyVanished,
    /// The client broke the protocol.
    Protocol {
        /// How.
        why: String,
    },
}

impl Ending {
    /// The process's exit code.
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

impl fmt::Display for Ending {
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
