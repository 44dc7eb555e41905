//! Changes of a call's arguments or answer.

use cryptoki_sys::{CK_ATTRIBUTE_TYPE, CK_FLAGS, CK_MECHANISM_TYPE, CK_ULONG};

use crate::Function;

/// Change of a call's arguments or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// `C_Sign`, `C_SignFinal`: the last bit of the signature is flipped.
    Corrupt,
    /// `C_SignInit`: the private key with this label signs instead of the requested one.
    WrongKey(String),
    /// `C_FindObjects`, `C_GetSlotList`: the call succeeds and finds nothing.
    Nothing,
    /// `C_GetTokenInfo`: parts of the answer are replaced.
    Token(TokenChange),
    /// `C_GetSlotInfo`: the slot has this description.
    SlotDescription(Vec<u8>),
    /// `C_GetSessionInfo`: the session is public, whatever the login.
    Public,
    /// `C_GetAttributeValue`: the token does not know these attributes.
    Hidden {
        attributes: Vec<CK_ATTRIBUTE_TYPE>,
        /// Whether only private keys lose them.
        of_private_keys: bool,
    },
    /// `C_Sign`: the signature is made, and this length is returned for it.
    Length(CK_ULONG),
    /// `C_Sign`: the library is not called; `CKR_BUFFER_TOO_SMALL` and this length are returned.
    TooSmall(CK_ULONG),
}

/// Parts of `CK_TOKEN_INFO` that are replaced; flags are first cleared and then set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TokenChange {
    pub(crate) clear: CK_FLAGS,
    pub(crate) set: CK_FLAGS,
    pub(crate) sessions: Option<CK_ULONG>,
    pub(crate) label: Option<Vec<u8>>,
    pub(crate) serial: Option<Vec<u8>>,
    pub(crate) model: Option<Vec<u8>>,
    /// Also sets `CKF_CLOCK_ON_TOKEN`.
    pub(crate) clock: Option<Vec<u8>>,
}

impl TokenChange {
    /// Adds the parts that another change replaces; the first change of a part wins.
    pub(crate) fn join(&mut self, more: Self) {
        let Self {
            clear,
            set,
            sessions,
            label,
            serial,
            model,
            clock,
        } = more;
        self.clear |= clear;
        self.set |= set;
        self.sessions = self.sessions.or(sessions);
        self.label = self.label.take().or(label);
        self.serial = self.serial.take().or(serial);
        self.model = self.model.take().or(model);
        self.clock = self.clock.take().or(clock);
    }
}

macro_rules! names {
    ($list:ident: $kind:ty = $($name:ident)*) => {
        const $list: &[(&str, $kind)] = &[$((stringify!($name), cryptoki_sys::$name)),*];
    };
}

// Attributes that a rule may hide.
names! { ATTRIBUTES: CK_ATTRIBUTE_TYPE =
    CKA_ALWAYS_AUTHENTICATE CKA_ALWAYS_SENSITIVE CKA_EC_PARAMS CKA_EC_POINT CKA_EXTRACTABLE CKA_KEY_TYPE CKA_LOCAL
    CKA_MODULUS CKA_NEVER_EXTRACTABLE CKA_PARAMETER_SET CKA_SENSITIVE CKA_SIGN CKA_VALUE
}

// Mechanisms that a rule may name.
names! { MECHANISMS: CK_MECHANISM_TYPE =
    CKM_RSA_PKCS CKM_RSA_PKCS_PSS CKM_SHA256_RSA_PKCS CKM_SHA384_RSA_PKCS CKM_SHA512_RSA_PKCS
    CKM_SHA256_RSA_PKCS_PSS CKM_SHA384_RSA_PKCS_PSS CKM_SHA512_RSA_PKCS_PSS
    CKM_ECDSA CKM_ECDSA_SHA256 CKM_ECDSA_SHA384 CKM_ECDSA_SHA512 CKM_EDDSA CKM_ML_DSA
}

/// Parses the names of attributes, separated by commas.
pub(super) fn attributes(text: &str) -> Result<Vec<CK_ATTRIBUTE_TYPE>, String> {
    let named = |name| {
        let known = ATTRIBUTES.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, attribute)| *attribute)
            .ok_or_else(|| format!("a rule cannot hide {name}"))
    };
    text.split(',').map(named).collect()
}

/// Returns the mechanism with this name.
pub(super) fn mechanism(name: &str) -> Result<CK_MECHANISM_TYPE, String> {
    let known = MECHANISMS.iter().find(|(known, _)| *known == name);
    known
        .map(|(_, mechanism)| *mechanism)
        .ok_or_else(|| format!("a rule cannot name the mechanism {name}"))
}

/// Parses a text of at most `most` octets, in which `%20` stands for a blank, `%00` for NUL.
pub(super) fn text(value: &str, most: usize) -> Result<Vec<u8>, String> {
    let octets = value.replace("%20", " ").replace("%00", "\0").into_bytes();
    if octets.len() > most {
        return Err(format!("{value} is longer than {most} octets"));
    }
    Ok(octets)
}

impl Change {
    pub(super) fn suits(&self, function: Option<Function>) -> bool {
        use Function as F;
        match self {
            Self::Corrupt => matches!(function, Some(F::C_Sign | F::C_SignFinal)),
            Self::WrongKey(_) => function == Some(F::C_SignInit),
            Self::Nothing => matches!(function, Some(F::C_FindObjects | F::C_GetSlotList)),
            Self::Length(_) | Self::TooSmall(_) => function == Some(F::C_Sign),
            Self::Token(_) => function == Some(F::C_GetTokenInfo),
            Self::SlotDescription(_) => function == Some(F::C_GetSlotInfo),
            Self::Public => function == Some(F::C_GetSessionInfo),
            Self::Hidden { .. } => function == Some(F::C_GetAttributeValue),
        }
    }
}
