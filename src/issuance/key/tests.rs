//! Tests each kind of key and each reason to refuse one.

use const_oid::db::rfc5912::SECP_256_R_1;

use super::{
    policy::{FIELD_PRIME, SMALL_ORDER},
    *,
};
use crate::issuance::testing::*;

#[test]
fn every_supported_kind_is_recognised() {
    for key in TestKey::each_kind() {
        assert_eq!(
            PublicKey::parse(key.spki()).unwrap().algorithm(),
            key.algorithm()
        );
    }
}

#[test]
fn each_unacceptable_key_is_refused_under_its_slug() {
    use RefusalReason::*;
    let p256 = TestKey::p256();
    let point = p256.octets().to_vec();
    let with_point = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut point = point.clone();
        change(&mut point);
        spki(ID_EC_PUBLIC_KEY, Some(oid_der(SECP_256_R_1)), &point)
    };
    let null = Some(vec![5, 0]);
    let rsa = |modulus: &[u8], exponent: &[u8]| {
        spki(
            RSA_ENCRYPTION,
            Some(vec![5, 0]),
            &rsa_public_key(modulus, exponent),
        )
    };
    let table = [
        ("rubbish", vec![0x30, 0], InvalidKey),
        ("1024 bits", rsa(&[0xff; 128], &[1, 0, 1]), WeakKey),
        ("16384 bits", rsa(&[0xff; 2048], &[1, 0, 1]), KeyTooLarge),
        ("exponent 3", rsa(&[0xff; 256], &[3]), WeakKey),
        ("even modulus", rsa(&[0xfe; 256], &[1, 0, 1]), InvalidKey),
        (
            "2049 bits",
            rsa(&[&[1][..], &[0xff; 256]].concat(), &[1, 0, 1]),
            InvalidKey,
        ),
        (
            "no parameters",
            spki(
                RSA_ENCRYPTION,
                None,
                &rsa_public_key(&[0xff; 256], &[1, 0, 1]),
            ),
            InvalidKey,
        ),
        (
            "P-224",
            spki(
                ID_EC_PUBLIC_KEY,
                Some(oid_der(const_oid::db::rfc5912::SECP_224_R_1)),
                &point,
            ),
            UnsupportedKey,
        ),
        (
            "explicit curve",
            spki(ID_EC_PUBLIC_KEY, Some(vec![0x30, 0]), &point),
            InvalidKey,
        ),
        (
            "compressed",
            with_point(&|p| {
                p.truncate(33);
                p[0] = 2;
            }),
            InvalidKey,
        ),
        (
            "hybrid",
            with_point(&|p| p[0] = 6 + (p[64] & 1)),
            InvalidKey,
        ),
        ("off the curve", with_point(&|p| p[64] ^= 1), InvalidKey),
        (
            "Ed25519 with NULL",
            spki(ID_ED_25519, null, &[9; 32]),
            InvalidKey,
        ),
        (
            "Ed25519 of 31 octets",
            spki(ID_ED_25519, None, &[9; 31]),
            InvalidKey,
        ),
        (
            "Ed25519, y not reduced",
            spki(ID_ED_25519, None, &FIELD_PRIME),
            InvalidKey,
        ),
        (
            "ML-DSA-65 with NULL",
            spki(MlDsa::MlDsa65.oid(), Some(vec![5, 0]), &[9; 1952]),
            InvalidKey,
        ),
        (
            "ML-DSA-65 with a key of ML-DSA-44",
            spki(MlDsa::MlDsa65.oid(), None, &[9; 1312]),
            InvalidKey,
        ),
        (
            "HashML-DSA-65",
            spki(
                const_oid::db::fips204::ID_HASH_ML_DSA_65_WITH_SHA_512,
                None,
                &[9; 1952],
            ),
            UnsupportedKey,
        ),
        (
            "X25519",
            spki(const_oid::db::rfc8410::ID_X_25519, None, &[9; 32]),
            UnsupportedKey,
        ),
    ];
    for (name, spki, reason) in table {
        assert_eq!(
            PublicKey::parse(&spki).unwrap_err().reason(),
            reason,
            "{name}"
        );
    }
}

#[test]
fn small_order_ed25519_keys_are_weak_with_either_sign() {
    for y in SMALL_ORDER {
        for sign in [0, 0x80] {
            let mut octets = y;
            octets[31] |= sign;
            let error = PublicKey::parse(&spki(ID_ED_25519, None, &octets)).unwrap_err();
            assert_eq!(error.reason(), RefusalReason::WeakKey);
        }
    }
}

#[test]
fn a_key_verifies_only_its_own_scheme_and_message() {
    let ed25519 = TestKey::ed25519();
    let signature = ed25519.sign(SignatureScheme::Ed25519, b"m");
    let key = PublicKey::parse(ed25519.spki()).unwrap();
    assert!(
        key.verify(SignatureScheme::Ed25519, b"m", &signature)
            .is_ok()
    );
    assert!(
        key.verify(SignatureScheme::Ecdsa(Hash::Sha256), b"m", &signature)
            .is_err()
    );
    assert!(
        key.verify(SignatureScheme::Ed25519, b"n", &signature)
            .is_err()
    );
}
