//! PKCS#11 URIs (RFC 7512): token and private key in one line.

mod percent;

use std::{fmt, str::FromStr};

use thiserror::Error;

use self::percent::{decode, encode};
use crate::protocol::{KeySelector, TokenSelector};

/// PKCS#11 URI that names a private key, its token, or both.
///
/// *Guarantees*: every attribute in the URI is honoured. An attribute that cannot be honoured (a library path, a PIN, an
/// unknown name) is refused and never ignored, because ignoring it could select another key.
///
/// ```
/// use hsm::{TokenSelector, Uri};
///
/// let uri: Uri = "pkcs11:token=issuing;object=CA%201;id=%A1%B2;type=private".parse()?;
/// assert_eq!(uri.token(), Some(TokenSelector::by_label("issuing")));
/// assert_eq!(uri.key().label.as_deref(), Some("CA 1"));
/// assert_eq!(uri.key().id, Some(vec![0xa1, 0xb2]));
/// assert!("pkcs11:token=issuing?pin-value=1234".parse::<Uri>().is_err());
/// # Ok::<(), hsm::UriError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Uri {
    token: TokenSelector,
    object: Option<String>,
    id: Option<Vec<u8>>,
}

/// Why a URI is not accepted. Values are not shown, because one of them may be a PIN.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UriError {
    /// The URI has another scheme.
    #[error("a PKCS#11 URI begins with \"pkcs11:\"")]
    Scheme,
    /// The URI has no attribute and would match everything.
    #[error("the URI names neither a token nor a key")]
    Empty,
    /// The attribute is not of the form `name=value`.
    #[error("{0:?} is not of the form name=value")]
    NotAnAttribute(String),
    /// The attribute is given twice (RFC 7512, section 2.3, allows it once).
    #[error("attribute {0:?} is given twice")]
    Twice(String),
    /// The attribute is in RFC 7512, but is not accepted here.
    #[error("attribute {name:?} is not accepted: {why}")]
    Refused {
        /// Name of the attribute.
        name: String,
        /// What to do instead.
        why: &'static str,
    },
    /// The attribute is not in RFC 7512.
    #[error("attribute {0:?} is unknown")]
    Unknown(String),
    /// The value has a character that must be percent-encoded, or a malformed percent-encoding.
    #[error("the value of attribute {0:?} has a character that must be percent-encoded")]
    Encoding(String),
    /// The value of a text attribute is not UTF-8.
    #[error("the value of attribute {0:?} is not UTF-8")]
    NotText(String),
    /// The id of a slot is not a decimal number.
    #[error("the value of attribute {0:?} is not a number")]
    NotANumber(String),
    /// The value is empty, which is most likely a mistake.
    #[error("the value of attribute {0:?} is empty")]
    NoValue(String),
    /// The type is not `private`: a certificate or a public key cannot sign.
    #[error("only type=private is accepted")]
    Type,
}

impl Uri {
    /// Returns the URI of a token, for a person to copy.
    #[must_use]
    pub fn of_token(token: TokenSelector) -> Self {
        Self {
            token,
            ..Self::default()
        }
    }

    /// Returns the URI of a private key on a token, for a person to copy.
    #[must_use]
    pub fn of_key(token: TokenSelector, label: Option<String>, id: Option<Vec<u8>>) -> Self {
        Self {
            token,
            object: label,
            id,
        }
    }

    /// Returns the selector of the token, if the URI names one.
    #[must_use]
    pub fn token(&self) -> Option<TokenSelector> {
        (self.token != TokenSelector::default()).then(|| self.token.clone())
    }

    /// Returns the selector of the private key. Without label and id only the public key, which the caller adds, selects
    /// the key.
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
            "token" => once(&mut self.token.label, name, text(name, value)?),
            "serial" => once(&mut self.token.serial, name, text(name, value)?),
            "slot-description" => once(&mut self.token.slot_description, name, text(name, value)?),
            "slot-id" => once(&mut self.token.slot_id, name, number(name, value)?),
            "object" => once(&mut self.object, name, text(name, value)?),
            "id" => once(&mut self.id, name, octets(name, value)?),
            _ => Err(refusal(name)),
        }
    }
}

impl FromStr for Uri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        // RFC 3986, section 3.1: schemes are case-insensitive.
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
        // Every query attribute is refused: they name libraries and PINs.
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

/// Writes the attributes in the order that RFC 7512, section 2.3, recommends.
impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token, object, id } = self;
        let slot_id = token.slot_id.map(|id| id.to_string());
        let octets = |text: &'_ Option<String>| text.clone().map(String::into_bytes);
        let parts = [
            ("token", octets(&token.label)),
            ("serial", octets(&token.serial)),
            ("slot-description", octets(&token.slot_description)),
            ("slot-id", octets(&slot_id)),
            ("object", octets(object)),
            ("id", id.clone()),
        ];
        let mut separator = "pkcs11:";
        for (name, value) in parts {
            if let Some(value) = value {
                write!(f, "{separator}{name}={}", encode(&value))?;
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

/// RFC 7512, section 2.3: a decimal number without sign.
fn number(name: &str, value: &str) -> Result<u64, UriError> {
    let text = text(name, value)?;
    if text.bytes().all(|octet| octet.is_ascii_digit())
        && let Ok(number) = text.parse()
    {
        return Ok(number);
    }
    Err(UriError::NotANumber(name.into()))
}

fn refusal(name: &str) -> UriError {
    let why = match name {
        "pin-value" => "a URI must not hold a PIN; give the token its PIN by file or Secret",
        "pin-source" => "the operator's configuration says where the token's PIN is",
        "module-path"
        | "module-name"
        | "library-description"
        | "library-manufacturer"
        | "library-version" => "the operator's configuration names the library",
        "manufacturer" | "model" | "slot-manufacturer" => {
            "name the token by label or serial number"
        }
        _ => return UriError::Unknown(name.into()),
    };
    UriError::Refused {
        name: name.into(),
        why,
    }
}

#[cfg(test)]
mod tests;
