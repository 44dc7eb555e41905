//! Public halves of keys, as certificates hold them and as tokens store them.

use der::{
    Decode, Encode, Sequence, Tag, Tagged,
    asn1::{AnyRef, ObjectIdentifier, OctetStringRef, UintRef},
};
use hsm::protocol::{Curve, Failure, KeyAlgorithm, MlDsa};
use spki::SubjectPublicKeyInfoRef;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
// RFC 9881, section 2.
const ML_DSA_44: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.17");
const ML_DSA_65: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.18");
const ML_DSA_87: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.3.19");

/// Public half of a key, from its certificate.
pub(super) struct PublicHalf {
    pub(super) algorithm: KeyAlgorithm,
    pub(super) public: Vec<u8>,
}

/// RFC 8017, A.1.1.
#[derive(Sequence)]
struct RsaPublicKey<'a> {
    modulus: UintRef<'a>,
    public_exponent: UintRef<'a>,
}

impl PublicHalf {
    pub(super) fn parse(spki: &[u8]) -> Result<Self, Failure> {
        let bad = |why: &str| Failure::BadRequest {
            why: format!("the certificate's public key {why}"),
        };
        let spki = SubjectPublicKeyInfoRef::from_der(spki)
            .map_err(|_| bad("is not a SubjectPublicKeyInfo"))?;
        let octets = spki
            .subject_public_key
            .as_bytes()
            .ok_or_else(|| bad("is not whole octets"))?;
        let unsupported = || Failure::MechanismRefused {
            why: "the certificate's key has an unsupported type; use RSA, ECDSA on P-256, P-384 \
                  or P-521, Ed25519 or ML-DSA"
                .into(),
        };
        // RFC 8410, section 4, and RFC 9881, section 4: the octets of the key, not wrapped.
        let raw = |algorithm| Self {
            algorithm,
            public: octets.to_vec(),
        };
        match spki.algorithm.oid {
            RSA => {
                let key =
                    RsaPublicKey::from_der(octets).map_err(|_| bad("is not an RSAPublicKey"))?;
                let modulus = key.modulus.as_bytes().to_vec();
                Ok(Self {
                    algorithm: KeyAlgorithm::Rsa {
                        bits: bits(&modulus),
                    },
                    public: modulus,
                })
            }
            EC => {
                let curve = spki
                    .algorithm
                    .parameters_oid()
                    .ok()
                    .and_then(curve_of)
                    .ok_or_else(unsupported)?;
                Ok(raw(KeyAlgorithm::Ec(curve)))
            }
            ED25519 => Ok(raw(KeyAlgorithm::Ed25519)),
            ML_DSA_44 => Ok(raw(KeyAlgorithm::MlDsa(MlDsa::MlDsa44))),
            ML_DSA_65 => Ok(raw(KeyAlgorithm::MlDsa(MlDsa::MlDsa65))),
            ML_DSA_87 => Ok(raw(KeyAlgorithm::MlDsa(MlDsa::MlDsa87))),
            _ => Err(unsupported()),
        }
    }
}

pub(super) fn curve_of(oid: ObjectIdentifier) -> Option<Curve> {
    match oid {
        P256 => Some(Curve::P256),
        P384 => Some(Curve::P384),
        P521 => Some(Curve::P521),
        _ => None,
    }
}

pub(super) fn is_ed25519(params: &[u8]) -> bool {
    match AnyRef::from_der(params) {
        Ok(any) if any.tag() == Tag::PrintableString => any.value() == b"edwards25519",
        Ok(any) => any
            .to_der()
            .is_ok_and(|der| ObjectIdentifier::from_der(&der) == Ok(ED25519)),
        Err(_) => false,
    }
}

pub(super) fn without_leading_zeros(mut octets: Vec<u8>) -> Vec<u8> {
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    octets.drain(..zeros);
    octets
}

pub(super) fn bits(modulus: &[u8]) -> u32 {
    let first = modulus.first().map_or(0, |first| first.leading_zeros());
    u32::try_from(modulus.len() * 8)
        .unwrap_or(u32::MAX)
        .saturating_sub(first)
}

/// Returns the public key from `CKA_EC_POINT` or ML-DSA's `CKA_VALUE`. `CKA_EC_POINT` is a DER OCTET STRING around the
/// point, but some libraries omit the wrapping; `CKA_VALUE` is the key itself. The known length tells which form it is.
pub(super) fn unwrapped(octets: &[u8], algorithm: KeyAlgorithm) -> Option<Vec<u8>> {
    let length = match algorithm {
        KeyAlgorithm::Rsa { .. } => return None,
        KeyAlgorithm::Ec(curve) => 1 + 2 * curve.field_octets(),
        KeyAlgorithm::Ed25519 => 32,
        KeyAlgorithm::MlDsa(set) => set.public_octets(),
    };
    if octets.len() == length {
        return Some(octets.to_vec());
    }
    let inner = <&OctetStringRef>::from_der(octets).ok()?.as_bytes();
    (inner.len() == length).then(|| inner.to_vec())
}

#[cfg(test)]
mod tests {
    use hsm::protocol::{Curve, KeyAlgorithm};

    use super::{bits, unwrapped, without_leading_zeros};

    #[test]
    fn a_point_is_read_with_and_without_its_der_wrapping() {
        let mut raw = vec![4_u8; 65];
        let algorithm = KeyAlgorithm::Ec(Curve::P256);
        assert_eq!(unwrapped(&raw, algorithm), Some(raw.clone()));
        let mut wrapped = vec![4, 65];
        wrapped.append(&mut raw);
        assert_eq!(unwrapped(&wrapped, algorithm), Some(wrapped[2..].to_vec()));
    }

    #[test]
    fn a_point_of_the_wrong_length_is_refused() {
        assert_eq!(
            unwrapped(&[4, 3, 1, 2, 3], KeyAlgorithm::Ec(Curve::P384)),
            None
        );
    }

    #[test]
    fn the_size_of_an_rsa_key_is_that_of_its_modulus() {
        assert_eq!(bits(&without_leading_zeros(vec![0, 0x80, 0])), 16);
        assert_eq!(bits(&[0x7f]), 7);
    }
}
