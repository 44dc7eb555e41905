//! Writes DER octet by octet.

use const_oid::ObjectIdentifier;

/// The tags of a GeneralName (RFC 5280, section 4.2.1.6).
pub(crate) const OTHER: u8 = 0xa0;
pub(crate) const EMAIL: u8 = 0x81;
pub(crate) const DNS: u8 = 0x82;
pub(crate) const DIRECTORY: u8 = 0xa4;
pub(crate) const URI: u8 = 0x86;
pub(crate) const IP: u8 = 0x87;

/// Encodes one element.
pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let octets = content.len().to_be_bytes();
    let octets: Vec<u8> = octets.into_iter().skip_while(|&octet| octet == 0).collect();
    let count = u8::try_from(octets.len()).expect("a length has at most eight octets");
    let length = match octets.as_slice() {
        [] => vec![0],
        [short @ ..=0x7f] => vec![*short],
        long => [&[0x80 | count], long].concat(),
    };
    [&[tag], length.as_slice(), content].concat()
}

pub(crate) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &elements.concat())
}

pub(crate) fn bit_string(octets: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], octets].concat())
}

pub(crate) fn oid(oid: ObjectIdentifier) -> Vec<u8> {
    tlv(6, oid.as_bytes())
}

pub(crate) fn extension(kind: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[&oid(kind), critical, &tlv(4, value)])
}

/// Returns the content of a Name with these attributes, each in UTF-8 and in its own RDN.
pub(crate) fn rdns(attributes: &[(&str, &str)]) -> Vec<u8> {
    let rdn = |(kind, value): &(&str, &str)| {
        let kind = ObjectIdentifier::new_unwrap(kind);
        tlv(0x31, &sequence(&[&oid(kind), &tlv(0x0c, value.as_bytes())]))
    };
    attributes.iter().flat_map(rdn).collect()
}

/// Returns the content of GeneralNames; [`subtrees`] returns that of GeneralSubtrees, with each name in a SEQUENCE.
pub(crate) fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    names
        .iter()
        .flat_map(|(tag, value)| tlv(*tag, value))
        .collect()
}

pub(crate) fn subtrees(names: &[(u8, &[u8])]) -> Vec<u8> {
    let subtree = |(tag, value): &(u8, &[u8])| sequence(&[&tlv(*tag, value)]);
    names.iter().flat_map(subtree).collect()
}
