//! The SubjectPublicKeyInfo of a key pair, from the attributes of its public half.

use cryptoki::object::Attribute;
use der::{
    Decode as _, Encode as _, Sequence,
    asn1::{AnyRef, BitString, ObjectIdentifier, OctetStringRef, UintRef},
};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfo};

use crate::plan::Algorithm;

pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
pub(super) const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// RFC 8017, A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    exponent: UintRef<'a>,
}

/// Returns the SubjectPublicKeyInfo (DER) of a public half.
pub(super) fn spki(algorithm: Algorithm, told: &[Attribute]) -> Option<Vec<u8>> {
    let find = |read: fn(&Attribute) -> Option<&Vec<u8>>| told.iter().find_map(read);
    let value = || {
        find(|a| {
            if let Attribute::Value(v) = a {
                Some(v)
            } else {
                None
            }
        })
    };
    let point = || {
        find(|a| {
            if let Attribute::EcPoint(v) = a {
                Some(v)
            } else {
                None
            }
        })
    };
    // An OCTET STRING around the point; some libraries leave it out.
    let unwrapped = |length: usize| {
        let octets = point()?;
        if octets.len() == length {
            return Some(octets.clone());
        }
        Some(
            <&OctetStringRef>::from_der(octets)
                .ok()?
                .as_bytes()
                .to_vec(),
        )
    };
    let p256 = P256.to_der().ok()?;
    let p384 = P384.to_der().ok()?;
    let (oid, parameters, octets) = match algorithm {
        Algorithm::Rsa4096 => {
            let modulus = find(|a| {
                if let Attribute::Modulus(v) = a {
                    Some(v)
                } else {
                    None
                }
            })?;
            let exponent = find(|a| {
                if let Attribute::PublicExponent(v) = a {
                    Some(v)
                } else {
                    None
                }
            })?;
            let key = RsaPublicKey {
                modulus: UintRef::new(modulus).ok()?,
                exponent: UintRef::new(exponent).ok()?,
            };
            (RSA, Some(AnyRef::NULL), key.to_der().ok()?)
        }
        Algorithm::P256 => (EC, Some(AnyRef::from_der(&p256).ok()?), unwrapped(65)?),
        Algorithm::P384 => (EC, Some(AnyRef::from_der(&p384).ok()?), unwrapped(97)?),
        Algorithm::Ed25519 => (ED25519, None, unwrapped(32)?),
        Algorithm::MlDsa65 => (ML_DSA_65, None, value()?.clone()),
        Algorithm::MlDsa87 => (ML_DSA_87, None, value()?.clone()),
    };
    SubjectPublicKeyInfo {
        algorithm: AlgorithmIdentifierRef { oid, parameters },
        subject_public_key: BitString::from_bytes(&octets).ok()?,
    }
    .to_der()
    .ok()
}
