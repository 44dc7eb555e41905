//! Distinguished names: kept as bytes, checked, compared, and printed for people.

use std::{fmt::Write as _, sync::OnceLock};

use der::{Decode as _, Encode as _, Reader as _, Tag, Tagged as _, asn1::AnyRef};

use self::comparable::Comparable;
use super::{
    oid::Oid,
    raw::{tlv, whole},
    refusal::RefusalReason,
};

mod comparable;
mod strings;
mod types;

pub(super) use comparable::text;
pub use strings::Strings;
pub use types::attribute_type;
pub(super) use types::label;

use types::{KnownAttribute, known_type, string_type};

const COMMON_NAME: Oid = Oid::new_unwrap("2.5.4.3");
const EMAIL_ADDRESS: Oid = Oid::new_unwrap("1.2.840.113549.1.9.1");
const COUNTRY: Oid = Oid::new_unwrap("2.5.4.6");

/// Rule that a name breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// An RDN without attributes (RFC 5280, section 4.1.2.4: SIZE (1..MAX)).
    #[error("a relative distinguished name is empty")]
    EmptyRdn,
    /// An attribute without characters.
    #[error("the value of {0} is empty; leave the attribute out")]
    EmptyValue(String),
    /// An attribute that is longer than its upper bound.
    #[error("{attribute} has {length} characters, at most {most} are allowed")]
    TooLong {
        /// The attribute's short name or OID.
        attribute: String,
        /// Its length in characters.
        length: usize,
        /// The upper bound in characters.
        most: usize,
    },
    /// A country that is not two letters.
    #[error("C must be a two-letter country code of ISO 3166")]
    Country,
    /// Characters that the string type does not allow, control characters, or a string type that RFC 5280,
    /// section 4.1.2.4 no longer allows for new subjects.
    #[error(
        "the value of {0} must be a PrintableString or UTF8String (IA5String for DC and emailAddress), with only characters that its string type allows and without control characters"
    )]
    String(String),
    /// A value that the string type of its attribute cannot hold.
    #[error(
        "{attribute} must have the type {right}, which cannot hold all characters of its value"
    )]
    CannotHold {
        /// The attribute's short name.
        attribute: String,
        /// The string type.
        right: Tag,
    },
    /// A type other than that of the attribute's definition.
    #[error(
        "{attribute} has the type {found}, but must have the type {right}, and this issuer does not change types"
    )]
    WrongType {
        /// The attribute's short name.
        attribute: String,
        /// The type of the value.
        found: Tag,
        /// The string type of the definition.
        right: Tag,
    },
}

impl NameError {
    /// Returns the reason under which a request with this name is refused.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::EmptyRdn | Self::EmptyValue(_) | Self::TooLong { .. } | Self::Country => {
                RefusalReason::BadSubject
            }
            Self::String(_) | Self::CannotHold { .. } | Self::WrongType { .. } => {
                RefusalReason::BadString
            }
        }
    }
}

/// A distinguished name: its original DER and the decoded attributes. `==` compares the octets;
/// `is_same_as` compares the meaning.
#[derive(Clone, Debug)]
pub struct Name {
    der: Vec<u8>,
    rdns: Vec<Vec<Attribute>>,
    /// Computed when the name is first compared.
    comparable: OnceLock<Comparable>,
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Name {}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Attribute {
    oid: Oid,
    tag: Tag,
    value: Vec<u8>,
}

impl Name {
    /// Reads the structure of a DER Name (RFC 5280, section 4.1.2.4). Does not check the values, because
    /// the names of CA certificates must be accepted as they are.
    ///
    /// # Errors
    ///
    /// Fails if the DER is not a SEQUENCE OF SET OF attributes.
    pub fn parse(der: &[u8]) -> der::Result<Self> {
        let rdns = whole(der, |reader| {
            reader.sequence(|reader| {
                let mut rdns = Vec::new();
                while !reader.is_finished() {
                    let set = AnyRef::from_der(tlv(reader, Tag::Set)?)?.value();
                    rdns.push(whole(set, |reader| {
                        let mut attributes = Vec::new();
                        while !reader.is_finished() {
                            attributes.push(reader.sequence(|reader| {
                                let oid = Oid::decode(reader)?;
                                let value = AnyRef::decode(reader)?;
                                Ok::<_, der::Error>(Attribute {
                                    oid,
                                    tag: value.tag(),
                                    value: value.value().to_vec(),
                                })
                            })?);
                        }
                        Ok(attributes)
                    })?);
                }
                Ok::<_, der::Error>(rdns)
            })
        })?;
        Ok(Self {
            der: der.to_vec(),
            rdns,
            comparable: OnceLock::new(),
        })
    }

    /// Builds a name from these attributes, one RDN each, followed by the unchanged common names of another name. The rules
    /// for their values are those of [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// The attributes cannot be encoded.
    pub fn of(attributes: &[(Oid, String)], common_names_of: Option<&Self>) -> der::Result<Self> {
        let made = attributes.iter().map(|(oid, value)| Attribute {
            oid: oid.clone(),
            tag: string_type(oid),
            value: value.clone().into_bytes(),
        });
        let copied = common_names_of
            .into_iter()
            .flat_map(|name| name.rdns.iter().flatten())
            .filter(|attribute| attribute.oid == COMMON_NAME)
            .cloned();
        let mut content = Vec::new();
        for attribute in made.chain(copied) {
            AnyRef::new(Tag::Set, &attribute.to_der()?)?.encode_to_vec(&mut content)?;
        }
        Self::parse(&AnyRef::new(Tag::Sequence, &content)?.to_der()?)
    }

    /// Builds a name with a single common name.
    pub(super) fn common_name(text: &str) -> der::Result<Self> {
        Self::of(&[(COMMON_NAME, text.to_owned())], None)
    }

    /// Returns every attribute in order: its type, and its value if that is text of a string type that RFC 5280 allows
    /// for new subjects.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&Oid, Option<&str>)> {
        self.rdns
            .iter()
            .flatten()
            .map(|attribute| (&attribute.oid, attribute.text()))
    }

    /// Returns the types of the attributes in order.
    pub(super) fn types(&self) -> impl Iterator<Item = &Oid> {
        self.rdns.iter().flatten().map(|attribute| &attribute.oid)
    }

    /// Returns the DER as it was given.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// Returns whether the name has no RDNs.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rdns.is_empty()
    }

    /// Returns the common names that are text.
    pub(super) fn common_names(&self) -> impl Iterator<Item = &str> {
        self.texts(COMMON_NAME)
    }

    /// Returns the e-mail addresses that are text.
    pub(super) fn email_addresses(&self) -> impl Iterator<Item = &str> {
        self.texts(EMAIL_ADDRESS)
    }

    fn texts(&self, oid: Oid) -> impl Iterator<Item = &str> {
        self.rdns
            .iter()
            .flatten()
            .filter(move |attribute| attribute.oid == oid)
            .filter_map(Attribute::text)
    }

    /// Returns whether the name begins with these RDNs (RFC 5280, section 7.1: case, white space and string types do not
    /// matter). Returns `None` if the answer depends on a value that cannot be compared.
    pub(super) fn begins_with(&self, start: &Self) -> Option<bool> {
        self.comparable().begins_with(start.comparable())
    }

    /// Returns whether both are the same name (RFC 5280, section 7.1), or `None` if the answer depends on a value that
    /// cannot be compared.
    pub(super) fn is_same_as(&self, other: &Self) -> Option<bool> {
        if self.comparable().len() != other.comparable().len() {
            return Some(false);
        }
        self.begins_with(other)
    }

    /// Describes the first attribute that `other`, another encoding of the same name, encodes differently.
    pub(super) fn difference(&self, other: &Self) -> String {
        let ours = self.rdns.iter().flatten();
        let mut pairs = ours.zip(other.rdns.iter().flatten());
        match pairs.find(|(one, other)| one != other) {
            Some((one, other)) => format!("{} against {}", one.encoding(), other.encoding()),
            None => "the attributes are grouped in another way".to_owned(),
        }
    }

    fn comparable(&self) -> &Comparable {
        self.comparable.get_or_init(|| Comparable::of(self))
    }

    /// Checks the rules for new subjects: string types, characters and lengths.
    ///
    /// # Errors
    ///
    /// Returns the first rule that the name breaks.
    pub fn check(&self) -> Result<(), NameError> {
        for rdn in &self.rdns {
            if rdn.is_empty() {
                return Err(NameError::EmptyRdn);
            }
            for attribute in rdn {
                attribute.check()?;
            }
        }
        Ok(())
    }
}

/// Prints the name as RFC 4514 does: the last RDN first, special characters escaped, unknown types as OID and
/// hexadecimal DER.
impl std::fmt::Display for Name {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, rdn) in self.rdns.iter().rev().enumerate() {
            if index > 0 {
                f.write_char(',')?;
            }
            for (index, attribute) in rdn.iter().enumerate() {
                if index > 0 {
                    f.write_char('+')?;
                }
                write!(f, "{attribute}")?;
            }
        }
        Ok(())
    }
}

impl Attribute {
    fn known(&self) -> Option<&'static KnownAttribute> {
        known_type(&self.oid)
    }

    fn label(&self) -> String {
        label(&self.oid)
    }

    /// Returns the type, the string type and the text or octets, for people.
    fn encoding(&self) -> String {
        let (label, tag) = (self.label(), self.tag);
        match text(tag, &self.value) {
            Some(text) => format!("{label} as {tag} {text:?}"),
            None => format!("{label} as {tag} #{}", hex::encode(&self.value)),
        }
    }

    fn to_der(&self) -> der::Result<Vec<u8>> {
        let mut content = self.oid.to_der()?;
        AnyRef::new(self.tag, &self.value)?.encode_to_vec(&mut content)?;
        AnyRef::new(Tag::Sequence, &content)?.to_der()
    }

    /// Returns the text if the value has a string type that RFC 5280 allows for new subjects.
    fn text(&self) -> Option<&str> {
        let text = std::str::from_utf8(&self.value).ok()?;
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "ASN.1 tags are open-ended; three of them count as strings here"
        )]
        let fits = match self.tag {
            Tag::Utf8String => true,
            Tag::PrintableString => text.bytes().all(is_printable),
            Tag::Ia5String => text.is_ascii(),
            _ => false,
        };
        fits.then_some(text)
    }

    fn check(&self) -> Result<(), NameError> {
        let text = self.text().ok_or_else(|| NameError::String(self.label()))?;
        if text.chars().any(char::is_control) {
            return Err(NameError::String(self.label()));
        }
        if text.is_empty() {
            return Err(NameError::EmptyValue(self.label()));
        }
        let length = text.chars().count();
        if self.oid == COUNTRY && !(length == 2 && text.bytes().all(|b| b.is_ascii_alphabetic())) {
            return Err(NameError::Country);
        }
        match self.known() {
            Some(known) if length > known.most => Err(NameError::TooLong {
                attribute: self.label(),
                length,
                most: known.most,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

impl std::fmt::Display for Attribute {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}=", self.label())?;
        let Some(text) = self.text().filter(|_| self.known().is_some()) else {
            let der = AnyRef::new(self.tag, &self.value).and_then(|any| any.to_der());
            return write!(f, "#{}", hex::encode(der.unwrap_or_default()));
        };
        let last = text.chars().count().saturating_sub(1);
        for (index, character) in text.chars().enumerate() {
            match character {
                '"' | '+' | ',' | ';' | '<' | '>' | '\\' => write!(f, "\\{character}")?,
                '#' if index == 0 => f.write_str("\\#")?,
                ' ' if index == 0 || index == last => f.write_str("\\ ")?,
                control if control.is_control() => {
                    for byte in control.encode_utf8(&mut [0; 4]).bytes() {
                        write!(f, "\\{byte:02x}")?;
                    }
                }
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// PrintableString (X.680, clause 41.4).
const fn is_printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b' ' | b'\'' | b'(' | b')' | b'+' | b',' | b'-' | b'.' | b'/' | b':' | b'=' | b'?'
        )
}

#[cfg(test)]
mod tests;
