//! DER encodings written octet by octet.

use const_oid::ObjectIdentifier;
use der::{Encode as _, Tag};

use crate::issuance::oid::Oid;

/// Encodes one element.
pub(in crate::issuance) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match content.len() {
        short @ 0..=0x7f => element.push(u8::try_from(short).unwrap()),
        long => {
            let octets = long.to_be_bytes();
            let octets: Vec<_> = octets.into_iter().skip_while(|&octet| octet == 0).collect();
            element.push(0x80 | u8::try_from(octets.len()).unwrap());
            element.extend(octets);
        }
    }
    element.extend_from_slice(content);
    element
}

pub(in crate::issuance) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &elements.concat())
}

pub(in crate::issuance) fn set(elements: &[&[u8]]) -> Vec<u8> {
    tlv(0x31, &elements.concat())
}

pub(in crate::issuance) fn bit_string(octets: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], octets].concat())
}

pub(in crate::issuance) fn oid_der(oid: impl Into<Oid>) -> Vec<u8> {
    tlv(6, oid.into().as_bytes())
}

pub(in crate::issuance) fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// Returns an identifier whose arcs may be of any size.
pub(in crate::issuance) fn large_oid(text: &str) -> Oid {
    text.parse().unwrap()
}

/// Encodes a positive INTEGER.
pub(in crate::issuance) fn integer(octets: &[u8]) -> Vec<u8> {
    match octets.first() {
        Some(0x80..) => tlv(2, &[&[0], octets].concat()),
        Some(_) | None => tlv(2, octets),
    }
}

pub(in crate::issuance) fn spki(
    algorithm: ObjectIdentifier,
    parameters: Option<Vec<u8>>,
    key: &[u8],
) -> Vec<u8> {
    let parameters = parameters.unwrap_or_default();
    sequence(&[
        &sequence(&[&oid_der(algorithm), &parameters]),
        &bit_string(key),
    ])
}

pub(in crate::issuance) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    sequence(&[&integer(modulus), &integer(exponent)])
}

/// Encodes a Name of these RDNs, each a list of attributes.
pub(in crate::issuance) fn name(rdns: &[&[(&str, Tag, &[u8])]]) -> Vec<u8> {
    let rdns: Vec<_> = rdns
        .iter()
        .map(|attributes| {
            let attributes: Vec<_> = attributes
                .iter()
                .map(|(kind, tag, value)| {
                    sequence(&[
                        &oid_der(large_oid(kind)),
                        &tlv(tag.to_der().unwrap()[0], value),
                    ])
                })
                .collect();
            tlv(0x31, &attributes.concat())
        })
        .collect();
    tlv(0x30, &rdns.concat())
}

pub(in crate::issuance) fn common_name(text: &str) -> Vec<u8> {
    name(&[&[("2.5.4.3", Tag::Utf8String, text.as_bytes())]])
}

pub(in crate::issuance) const EMAIL: u8 = 0x81;
pub(in crate::issuance) const DNS: u8 = 0x82;
pub(in crate::issuance) const URI: u8 = 0x86;
pub(in crate::issuance) const IP: u8 = 0x87;

/// Encodes the value of a SAN extension.
pub(in crate::issuance) fn san(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|(tag, value)| tlv(*tag, value)).collect();
    tlv(0x30, &names.concat())
}

pub(in crate::issuance) fn extension(
    kind: impl Into<Oid>,
    critical: bool,
    value: &[u8],
) -> Vec<u8> {
    let critical = if critical {
        vec![1, 1, 0xff]
    } else {
        Vec::new()
    };
    sequence(&[&oid_der(kind), &critical, &tlv(4, value)])
}

/// Encodes the value of keyUsage with these bits.
pub(in crate::issuance) fn key_usage(bits: &[u8]) -> Vec<u8> {
    let octet = bits.iter().fold(0_u8, |octet, bit| octet | 0x80 >> bit);
    let unused = u8::try_from(octet.trailing_zeros()).unwrap().min(7);
    tlv(3, &[unused, octet])
}

/// Encodes the value of extKeyUsage.
pub(in crate::issuance) fn purposes(oids: &[impl Into<Oid> + Clone]) -> Vec<u8> {
    let oids: Vec<_> = oids.iter().cloned().map(oid_der).collect();
    tlv(0x30, &oids.concat())
}

/// Encodes the value of nameConstraints, without empty lists.
pub(in crate::issuance) fn name_constraints(
    permitted: &[(u8, &[u8])],
    excluded: &[(u8, &[u8])],
) -> Vec<u8> {
    let lists: Vec<_> = [(0xa0, permitted), (0xa1, excluded)]
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(tag, list)| {
            let subtrees: Vec<_> = list
                .iter()
                .map(|(tag, value)| sequence(&[&tlv(*tag, value)]))
                .collect();
            tlv(tag, &subtrees.concat())
        })
        .collect();
    tlv(0x30, &lists.concat())
}
