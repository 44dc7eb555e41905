//! The attribute types that we know: their short names, bounds and string types.

use der::Tag;

use crate::issuance::oid::Oid;

/// A known attribute type: its short name for printing (RFC 4514, section 3, and the X.520 names in use)
/// and the upper bound of its value in characters (RFC 5280, appendix A.1).
pub(super) struct KnownAttribute {
    oid: Oid,
    pub(super) short: &'static str,
    pub(super) most: usize,
}

const fn known(oid: &str, short: &'static str, most: usize) -> KnownAttribute {
    KnownAttribute {
        oid: Oid::new_unwrap(oid),
        short,
        most,
    }
}

/// RFC 5280 sets no upper bound.
const UNBOUNDED: usize = usize::MAX;

const KNOWN: &[KnownAttribute] = &[
    known("2.5.4.3", "CN", 64),
    known("2.5.4.4", "SN", 32768),
    known("2.5.4.5", "serialNumber", 64),
    known("2.5.4.6", "C", 2),
    known("2.5.4.7", "L", 128),
    known("2.5.4.8", "ST", 128),
    known("2.5.4.9", "STREET", UNBOUNDED),
    known("2.5.4.10", "O", 64),
    known("2.5.4.11", "OU", 64),
    known("2.5.4.12", "title", 64),
    known("2.5.4.17", "postalCode", UNBOUNDED),
    known("2.5.4.41", "name", 32768),
    known("2.5.4.42", "GN", 32768),
    known("2.5.4.43", "initials", 32768),
    known("2.5.4.44", "generationQualifier", 32768),
    known("2.5.4.46", "dnQualifier", UNBOUNDED),
    known("2.5.4.65", "pseudonym", 128),
    known("0.9.2342.19200300.100.1.1", "UID", UNBOUNDED),
    known("0.9.2342.19200300.100.1.25", "DC", UNBOUNDED),
    known("1.2.840.113549.1.9.1", "emailAddress", 255),
];

pub(super) fn known_type(oid: &Oid) -> Option<&'static KnownAttribute> {
    KNOWN.iter().find(|known| known.oid == *oid)
}

/// Returns the short name of an attribute type, or its OID if the type is unknown.
pub(in crate::issuance) fn label(oid: &Oid) -> String {
    known_type(oid).map_or_else(|| oid.to_string(), |known| known.short.to_owned())
}

/// Returns the attribute type for a short name, such as `OU`, or for a dotted OID.
#[must_use]
pub fn attribute_type(text: &str) -> Option<Oid> {
    KNOWN
        .iter()
        .find(|known| known.short == text)
        .map(|known| known.oid.clone())
        .or_else(|| text.parse().ok())
}

/// Returns the string type for a new value (RFC 5280, appendix A.1): UTF8String unless the definition prescribes another.
pub(super) fn string_type(oid: &Oid) -> Tag {
    match known_type(oid).map(|known| known.short) {
        Some("C" | "serialNumber" | "dnQualifier") => Tag::PrintableString,
        Some("DC" | "emailAddress") => Tag::Ia5String,
        Some(_) | None => Tag::Utf8String,
    }
}

/// Returns whether an attribute of this type may have this string type. A DirectoryString may be a PrintableString or a
/// UTF8String; its other forms are not for new certificates (RFC 5280, section 4.1.2.4). An unknown type may have any.
pub(super) fn may_have(oid: &Oid, tag: Tag) -> bool {
    let right = string_type(oid);
    tag == right
        || known_type(oid).is_none()
        || (right == Tag::Utf8String && tag == Tag::PrintableString)
}
