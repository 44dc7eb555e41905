//! Tokens: how to select one, and how it describes itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Selector of a token, by label or serial number. A slot never selects a token, because some modules change slot ids
/// with every start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TokenSelector {
    /// The token's label, padding removed.
    Label(String),
    /// The token's serial number, padding removed.
    Serial(String),
    /// Both must match.
    Both {
        /// As [`Self::Label`].
        label: String,
        /// As [`Self::Serial`].
        serial: String,
    },
}

impl TokenSelector {
    /// Returns whether a token's description matches.
    #[must_use]
    pub fn matches(&self, token: &TokenInfo) -> bool {
        match self {
            Self::Label(label) => token.label == *label,
            Self::Serial(serial) => token.serial == *serial,
            Self::Both { label, serial } => token.label == *label && token.serial == *serial,
        }
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "label {label:?}"),
            Self::Serial(serial) => write!(f, "serial {serial:?}"),
            Self::Both { label, serial } => write!(f, "label {label:?} and serial {serial:?}"),
        }
    }
}

/// Answer of `C_GetTokenInfo`, padding removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenInfo {
    /// Label given when the token was initialised.
    pub label: String,
    /// Serial number.
    pub serial: String,
    /// Manufacturer of the device.
    pub manufacturer: String,
    /// Model of the device.
    pub model: String,
    /// Firmware version, `major.minor`.
    pub firmware: String,
    /// `CKF_LOGIN_REQUIRED`. Without it at least some keys sign without a login.
    pub login_required: bool,
    /// State of the user PIN.
    pub pin: PinFlags,
    /// Number of sessions that one application may hold, where the token has a limit.
    pub max_sessions: Option<u64>,
}

/// The token's flags about its user PIN. Tokens set them late or never, so they are a hint and not a count of tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinFlags {
    /// `CKF_USER_PIN_INITIALIZED`. Some tokens that take a PIN leave it out.
    pub initialized: bool,
    /// `CKF_USER_PIN_COUNT_LOW`: a wrong PIN was given since the last login.
    pub count_low: bool,
    /// `CKF_USER_PIN_FINAL_TRY`: one more wrong PIN locks it.
    pub final_try: bool,
    /// `CKF_USER_PIN_LOCKED`.
    pub locked: bool,
    /// `CKF_USER_PIN_TO_BE_CHANGED`.
    pub to_be_changed: bool,
    /// `CKF_PROTECTED_AUTHENTICATION_PATH`: the PIN can be entered at a pad of the device. Some of these tokens take it
    /// from the application too.
    pub protected_path: bool,
}

impl PinFlags {
    /// Returns the end of a sentence about a refused login: what else may be the reason. Empty for a token without a pad of
    /// its own.
    #[must_use]
    pub const fn other_reason(self) -> &'static str {
        if self.protected_path {
            "; the token has a pad of its own (CKF_PROTECTED_AUTHENTICATION_PATH): if it takes its PIN only there, it cannot be used here"
        } else {
            ""
        }
    }
}
