//! Names as RFC 5280, section 7.1 compares them: case, white space, the string type and the order within an RDN do not
//! matter.

use der::Tag;

use super::{Attribute, Name};
use crate::issuance::oid::Oid;

/// A distinguished name with case, white space and string types folded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparable(Vec<Vec<Part>>);

/// One attribute: its type and its value.
type Part = (Oid, Value);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value {
    /// The folded text of a string type.
    Text(String),
    /// A value of another type, or octets that the string type does not allow.
    Octets(Tag, Vec<u8>),
}

impl Comparable {
    pub(super) fn of(name: &Name) -> Self {
        let rdn = |attributes: &Vec<Attribute>| {
            let mut parts: Vec<Part> = attributes
                .iter()
                .map(|attribute| (attribute.oid.clone(), value(attribute)))
                .collect();
            parts.sort();
            parts
        };
        Self(name.rdns.iter().map(rdn).collect())
    }

    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns whether the name begins with these RDNs, or `None` if the answer depends on a value that is not text.
    pub(super) fn begins_with(&self, start: &Self) -> Option<bool> {
        if start.len() > self.len() {
            return Some(false);
        }
        let mut certain = true;
        for (ours, theirs) in self.0.iter().zip(&start.0) {
            if ours.len() != theirs.len() {
                return Some(false);
            }
            for ((oid, value), (other_oid, other)) in ours.iter().zip(theirs) {
                match (value, other) {
                    _ if oid != other_oid => return Some(false),
                    _ if value == other => {}
                    (Value::Text(_), Value::Text(_)) => return Some(false),
                    (Value::Octets(..), _) | (_, Value::Octets(..)) => certain = false,
                }
            }
        }
        certain.then_some(true)
    }
}

fn value(attribute: &Attribute) -> Value {
    text(attribute.tag, &attribute.value).map_or_else(
        || Value::Octets(attribute.tag, attribute.value.clone()),
        |text| Value::Text(folded(&text)),
    )
}

/// Decodes every string type that names use or have used. Like OpenSSL, it reads TeletexString as Latin-1.
pub(in crate::issuance) fn text(tag: Tag, octets: &[u8]) -> Option<String> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "ASN.1 tags are open-ended; seven of them count as strings here"
    )]
    match tag {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => std::str::from_utf8(octets).ok().map(str::to_owned),
        Tag::TeletexString => Some(octets.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (pairs, []) = octets.as_chunks::<2>() else {
                return None;
            };
            let units: Vec<_> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// Folds a text to lower-case words with one space between them. Converts to upper case first, so that letters that
/// differ only in lower case, such as ς and σ, become equal. Does not fold compatibility forms (NFKC): no verifier that
/// we know of does.
fn folded(text: &str) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    words.join(" ").to_uppercase().to_lowercase()
}
