//! Rules for the public keys of each kind.

use const_oid::db::rfc5912::{SECP_256_R_1, SECP_384_R_1, SECP_521_R_1};
use der::{
    Decode as _, Reader as _,
    asn1::{AnyRef, UintRef},
};
use spki::AlgorithmIdentifierRef;

use super::{KeyAlgorithm, KeyError, MlDsa, RSA_MAX_BITS, RSA_MIN_BITS, factors};
use crate::issuance::{oid::Oid, raw::whole};

/// The Fermat number F4, the only exponent that we accept. Smaller exponents make padding errors exploitable.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// Checks an RSA key. RFC 3279, section 2.3.1: parameters MUST be NULL.
pub(super) fn rsa(
    identifier: AlgorithmIdentifierRef<'_>,
    octets: &[u8],
) -> Result<KeyAlgorithm, KeyError> {
    if !identifier.parameters.is_some_and(AnyRef::is_null) {
        return Err(KeyError::Parameters(identifier.oid));
    }
    let (modulus, exponent) = whole(octets, |reader| {
        reader.sequence(|reader| {
            let modulus = UintRef::decode(reader)?.as_bytes();
            Ok::<_, der::Error>((modulus, UintRef::decode(reader)?.as_bytes()))
        })
    })
    .map_err(KeyError::Encoding)?;
    let bits = bit_length(modulus);
    if bits < RSA_MIN_BITS {
        return Err(KeyError::ModulusShort(bits));
    }
    if bits > RSA_MAX_BITS {
        return Err(KeyError::ModulusLong(bits));
    }
    if !bits.is_multiple_of(8) || modulus.last().is_none_or(|octet| octet % 2 == 0) {
        return Err(KeyError::Modulus);
    }
    if exponent != RSA_EXPONENT {
        return Err(KeyError::Exponent);
    }
    factors::check(modulus)?;
    Ok(KeyAlgorithm::Rsa { bits })
}

fn bit_length(octets: &[u8]) -> usize {
    let Some(first) = octets.iter().position(|&octet| octet != 0) else {
        return 0;
    };
    octets.iter().skip(first).fold(0, |bits, &octet| {
        if bits == 0 {
            usize::try_from(u8::BITS - octet.leading_zeros()).unwrap_or(8)
        } else {
            bits + 8
        }
    })
}

/// Checks an elliptic curve key. RFC 5480, section 2.1.1 requires a named curve; of the point forms in section 2.2
/// we accept only the uncompressed one.
pub(super) fn elliptic(
    identifier: AlgorithmIdentifierRef<'_>,
    octets: &[u8],
) -> Result<KeyAlgorithm, KeyError> {
    let curve = identifier
        .parameters
        .and_then(|parameters| parameters.decode_as::<Oid>().ok())
        .ok_or(KeyError::Parameters(identifier.oid))?;
    let (algorithm, length) = match curve.small() {
        Some(SECP_256_R_1) => (KeyAlgorithm::EcdsaP256, 65),
        Some(SECP_384_R_1) => (KeyAlgorithm::EcdsaP384, 97),
        Some(SECP_521_R_1) => (KeyAlgorithm::EcdsaP521, 133),
        Some(_) | None => return Err(KeyError::Curve(curve)),
    };
    if octets.first() != Some(&4) || octets.len() != length {
        return Err(KeyError::PointForm);
    }
    Ok(algorithm)
}

/// Checks an ML-DSA key. RFC 9881, section 4: parameters MUST be absent; FIPS 204 defines the encoding of the key.
pub(super) fn ml_dsa(
    set: MlDsa,
    identifier: AlgorithmIdentifierRef<'_>,
    octets: &[u8],
) -> Result<KeyAlgorithm, KeyError> {
    if identifier.parameters.is_some() {
        return Err(KeyError::Parameters(identifier.oid));
    }
    if octets.len() != set.key_length() {
        return Err(KeyError::Invalid(KeyAlgorithm::MlDsa(set)));
    }
    Ok(KeyAlgorithm::MlDsa(set))
}

/// Checks an Ed25519 key. RFC 8410, section 3: parameters MUST be absent.
pub(super) fn ed25519(
    identifier: AlgorithmIdentifierRef<'_>,
    octets: &[u8],
) -> Result<KeyAlgorithm, KeyError> {
    if identifier.parameters.is_some() {
        return Err(KeyError::Parameters(identifier.oid));
    }
    let mut y =
        <[u8; 32]>::try_from(octets).map_err(|_| KeyError::Invalid(KeyAlgorithm::Ed25519))?;
    // The sign of x is the top bit of the last octet (RFC 8032, section 5.1.2).
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    if y.iter().rev().ge(FIELD_PRIME.iter().rev()) {
        return Err(KeyError::Invalid(KeyAlgorithm::Ed25519));
    }
    if SMALL_ORDER.contains(&y) {
        return Err(KeyError::SmallOrder);
    }
    Ok(KeyAlgorithm::Ed25519)
}

/// 2^255 - 19, little-endian. A canonical y is smaller.
pub(super) const FIELD_PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

/// The y of every point whose order divides 8; the orders are 4, 1, 8, 8, 2.
pub(super) const SMALL_ORDER: [[u8; 32]; 5] = {
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = FIELD_PRIME;
    minus_one[0] = 0xec;
    [
        [0; 32],
        one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef,
            0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88,
            0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10,
            0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77,
            0x92, 0xac, 0x03, 0x7a,
        ],
        minus_one,
    ]
};
