//! PKCS#11 URIs (RFC 7512): which token and which private key, in one line.

mod percent;

use std::{fmt, str::FromStr};

use thiserror::Error;

use self::percent::{decode, encode};
use crate::protocol::{KeySelector, TokenSelector};

/// A PKCS#11 URI that names a private key, its token, or both.
///
/// *Guarantees*: every attribute that it was written with is honoured. One that cannot be (a slot, a library path, a
/// PIN, whatever is unknown) is refused and never ignored, for ignoring it could select another key.
///
/// ```
/// use hsm::{TokenSelector, Uri};
///
/// let uri: Uri = "pkcs11:token=issuing;object=CA%201;id=%A1%B2;type=private".parse()?;
/// assert_eq!(uri.token(), Some(TokenSelector::Label("issuing".into())));
/// assert_eq!(uri.key().label.as_deref(), Some("CA 1"));
/// assert_eq!(uri.key().id, Some(vec![0xa1, 0xb2]));
/// assert!("pkcs11:token=issuing?pin-value=1234".parse::<Uri>().is_err());
/// # Ok::<(), hsm::UriError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    token: Option<String>,
    serial: Option<String>,
    object: Option<String>,
    id: Option<Vec<u8>>,
}

/// A URI that cannot be honoured. Values are not shown: one of them may be a PIN.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// Another scheme.
    #[error("a PKCS#11 URI begins with \"pkcs11:\"")]
    Scheme,
    /// No attribute at all would match everything.
    #[error("the URI names neither a token nor a key")]
    Empty,
    /// Not `name=value`.
    #[error("{0:?} is not of the form name=value")]
    NotAnAttribute(String),
    /// RFC 7512, section 2.3: an attribute may come once.
    #[error("attribute {0:?} comes twice")]
    Twice(String),
    /// RFC 7512 knows it, and it has no place here.
    #[error("attribute {name:?} is not accepted: {why}")]
    Refused {
        /// Which one.
        name: String,
        /// And what to do instead.
        why: &'static str,
    },
    /// RFC 7512 does not know it.
    #[error("attribute {0:?} is unknown")]
    Unknown(String),
    /// A character that must be percent-encoded, or an encoding that is none.
    #[error("the value of attribute {0:?} has a character that must be percent-encoded")]
    Encoding(String),
    /// Text attributes are UTF-8.
    #[error("the value of attribute {0:?} is not UTF-8")]
    NotText(String),
    /// A selector that selects nothing was hardly meant.
    #[error("the value of attribute {0:?} is empty")]
    NoValue(String),
    /// A certificate or a public key cannot sign.
    #[error("only type=private is accepted")]
    Type,
}

impl Uri {
    /// Which token, when the URI says so.
    #[must_use]
    pub fn token(&self) -> Option<TokenSelector> {
        match (&self.token, &self.serial) {
            (None, None) => None,
            (Some(label), None) => Some(TokenSelector::Label(label.clone())),
            (None, Some(serial)) => Some(TokenSelector::Serial(serial.clone())),
            (Some(label), Some(serial)) => Some(TokenSelector::Both {
                label: label.clone(),
                serial: serial.clone(),
            }),
        }
    }

    /// Which private key. Without label and id it selects by the public key alone, which the caller adds.
    #[must_use]
    pub fn key(&self) -> KeySelector {
        KeySelector {
            label: self.object.clone(),
            id: self.id.clone(),
            public_key: None,
        }
    }

    fn set(&mut self, attribute: &str) -> Result<(), UriError> {
        let Some((name, value)) = attribute.split_once('=') else {
            return Err(UriError::NotAnAttribute(attribute.into()));
        };
        match name {
            "token" => once(&mut self.token, name, text(name, value)?),
            "serial" => once(&mut self.serial, name, text(name, value)?),
            "object" => once(&mut self.object, name, text(name, value)?),
            "id" => once(&mut self.id, name, octets(name, value)?),
            _ => Err(refusal(name)),
        }
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        // RFC 3986, section 3.1: schemes do not care for case.
        let attributes = match uri.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("pkcs11") => rest,
            _ => return Err(UriError::Scheme),
        };
        let (path, query) = attributes
            .split_once('?')
            .map_or((attributes, None), |(path, query)| (path, Some(query)));
        let mut this = Self::default();
        let mut class = None;
        for attribute in path.split(';').filter(|_| !path.is_empty()) {
            match attribute.split_once('=') {
                Some((name @ "type", "private")) => once(&mut class, name, ())?,
                Some(("type", _)) => return Err(UriError::Type),
                _ => this.set(attribute)?,
            }
        }
        // No query attribute has a place here: they name libraries and PINs.
        if let Some(attribute) = query.and_then(|query| query.split('&').next()) {
            let name = attribute
                .split_once('=')
                .map_or(attribute, |(name, _)| name);
            return Err(refusal(name));
        }
        if this == Self::default() {
            return Err(UriError::Empty);
        }
        Ok(this)
    }
}

/// RFC 7512, section 2.3, in the order that it recommends.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            token,
            serial,
            object,
            id,
        } = self;
        let parts = [
            ("token", token.as_deref().map(str::as_bytes)),
            ("serial", serial.as_deref().map(str::as_bytes)),
            ("object", object.as_deref().map(str::as_bytes)),
            ("id", id.as_deref()),
        ];
        let mut separator = "pkcs11:";
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, "{separator}{name}={}", encode(value))?;
                separator = ";";
            }
        }
        Ok(())
    }
}

fn once<T>(place: &mut Option<T>, name: &str, value: T) -> Result<(), UriError> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::Twice(name.into())),
    }
}

fn octets(name: &str, value: &str) -> Result<Vec<u8>, UriError> {
    match decode(value) {
        None => Err(UriError::Encoding(name.into())),
        Some(octets) if octets.is_empty() => Err(UriError::NoValue(name.into())),
        Some(octets) => Ok(octets),
    }
}

fn text(name: &str, value: &str) -> Result<String, UriError> {
    String::from_utf8(octets(name, value)?).map_err(|_| UriError::NotText(name.into()))
}

fn refusal(name: &str) -> UriError {
    let why = match name {
        "pin-value" => "a PIN has no place in a URI; give the token its PIN by file or Secret",
        "pin-source" => "the operator's configuration says where the token's PIN is",
        "module-path"
        | "module-name"
        | "library-description"
        | "library-manufacturer"
        | "library-version" => "the operator's configuration names the library",
        "slot-id" | "slot-description" | "slot-manufacturer" => {
            "slots change with every start; name the token by label or serial number"
        }
        "manufacturer" | "model" => "name the token by label or serial number",
        _ => return UriError::Unknown(name.into()),
    };
    UriError::Refused {
        name: name.into(),
        why,
    }
}

#[cfg(test)]
mod tests;
