//! Tokens: how to select one, and how it describes itself.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Selector of a token. All given parts must match; a selector without parts matches every token.
///
/// The slot is the last resort, for tokens that label and serial number do not tell apart: some modules change the ids of
/// their slots at every start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenSelector {
    /// The token's label, padding removed.
    pub label: Option<String>,
    /// The token's serial number, padding removed.
    pub serial: Option<String>,
    /// The description of the token's slot, padding removed.
    pub slot_description: Option<String>,
    /// The id of the token's slot.
    pub slot_id: Option<u64>,
}

impl TokenSelector {
    /// Returns the selector of tokens with this label.
    #[must_use]
    pub fn by_label(label: &str) -> Self {
        Self {
            label: Some(label.to_owned()),
            ..Self::default()
        }
    }

    /// Returns the selector of tokens with this serial number.
    #[must_use]
    pub fn by_serial(serial: &str) -> Self {
        Self {
            serial: Some(serial.to_owned()),
            ..Self::default()
        }
    }

    /// Returns whether a token's description matches.
    #[must_use]
    pub fn matches(&self, token: &TokenInfo) -> bool {
        let Self {
            label,
            serial,
            slot_description,
            slot_id,
        } = self;
        label.as_ref().is_none_or(|label| *label == token.label)
            && serial.as_ref().is_none_or(|serial| *serial == token.serial)
            && slot_description
                .as_ref()
                .is_none_or(|text| *text == token.slot.description)
            && slot_id.is_none_or(|id| id == token.slot.id)
    }
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            label,
            serial,
            slot_description,
            slot_id,
        } = self;
        let texts = [
            ("label", label),
            ("serial", serial),
            ("slot description", slot_description),
        ];
        let texts = texts
            .into_iter()
            .filter_map(|(name, text)| Some(format!("{name} {:?}", text.as_ref()?)));
        let id = slot_id.map(|id| format!("slot id {id}"));
        f.write_str(&texts.chain(id).collect::<Vec<_>>().join(" and "))
    }
}

/// Slot of a token.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Its id, as the module assigns it in this process.
    pub id: u64,
    /// Its description, padding removed; empty if the module gives none.
    pub description: String,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "slot {} ({:?})", self.id, self.description)
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
    /// The slot that the token is in.
    pub slot: Slot,
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
    /// `CKF_USER_PIN_INITIALIZED`. Some tokens that take a PIN do not set it.
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
    /// Returns another possible reason for a refused login, to append to a message. Empty for a token without a PIN pad.
    #[must_use]
    pub const fn other_reason(self) -> &'static str {
        if self.protected_path {
            "; the token has a PIN pad (CKF_PROTECTED_AUTHENTICATION_PATH): if it takes its PIN only there, it cannot be used here"
        } else {
            ""
        }
    }
}
