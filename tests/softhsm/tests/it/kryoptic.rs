//! Tests that only Kryoptic allows: ML-DSA and a PIN that locks.

use aws_lc_rs::signature::{
    ED25519, ML_DSA_44, ML_DSA_65, ML_DSA_87, UnparsedPublicKey, VerificationAlgorithm,
};
use der::{Decode, asn1::ObjectIdentifier};
use softhsm_test_helpers::{CaProfile, Error, KeyKind, Provider, Store, TestToken};
use spki::SubjectPublicKeyInfoRef;

const MESSAGE: &[u8] = b"to be signed";

fn token() -> TestToken {
    let store = Store::of(Provider::Kryoptic).unwrap();
    store.make_token("kryoptic").unwrap()
}

#[test]
fn another_library_verifies_ml_dsa_signatures() {
    let token = token();
    let kinds: [(KeyKind, &dyn VerificationAlgorithm, &str); 3] = [
        (KeyKind::MlDsa44, &ML_DSA_44, "2.16.840.1.101.3.4.3.17"),
        (KeyKind::MlDsa65, &ML_DSA_65, "2.16.840.1.101.3.4.3.18"),
        (KeyKind::MlDsa87, &ML_DSA_87, "2.16.840.1.101.3.4.3.19"),
    ];
    for (id, (kind, algorithm, oid)) in (1..).zip(kinds) {
        let key = token.generate_key("pqc", &[id], kind).unwrap();
        let signature = key.sign_message(MESSAGE).unwrap();
        UnparsedPublicKey::new(algorithm, key.public_octets())
            .verify(MESSAGE, &signature)
            .unwrap();
        let spki = key.spki_der();
        let spki = SubjectPublicKeyInfoRef::from_der(&spki).unwrap();
        // RFC 9881, section 2: the parameters are absent.
        assert_eq!(spki.algorithm.oid, ObjectIdentifier::new_unwrap(oid));
        assert!(spki.algorithm.parameters.is_none());
        assert_eq!(spki.subject_public_key.raw_bytes(), key.public_octets());
        let root = key.self_signed(&CaProfile::named("Test root")).unwrap();
        assert!(root.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    }
}

#[test]
fn an_ed25519_signature_verifies() {
    let key = token().generate_key("ed", &[1], KeyKind::Ed25519).unwrap();
    UnparsedPublicKey::new(&ED25519, key.public_octets())
        .verify(MESSAGE, &key.sign_message(MESSAGE).unwrap())
        .unwrap();
}

#[test]
fn after_the_tenth_wrong_pin_the_token_refuses_even_the_correct_one() {
    let token = token();
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let try_wrong = || {
        let error = token.try_pin("wrong, and long enough").unwrap_err();
        let Error::Refused(why) = error else {
            panic!("{error:?}")
        };
        why
    };
    for wrong in 1..=9 {
        assert_eq!(try_wrong(), "Pkcs11(PinIncorrect, Login)", "{wrong}");
        let said = token.describe().unwrap();
        assert_eq!(said.pin_count_low, (7..9).contains(&wrong), "{wrong}");
        assert_eq!(said.pin_final_try, wrong == 9, "{wrong}");
        assert!(!said.pin_locked, "{wrong}");
    }
    try_wrong();
    assert!(token.describe().unwrap().pin_locked);
    let error = key.sign_message(MESSAGE).unwrap_err();
    assert!(
        matches!(&error, Error::Refused(why) if why == "Pkcs11(PinLocked, Login)"),
        "{error:?}"
    );
}

#[test]
fn a_correct_pin_restores_all_tries() {
    let token = token();
    for _ in 0..9 {
        assert!(token.try_pin("wrong, and long enough").is_err());
    }
    token.try_pin(token.user_pin()).unwrap();
    assert!(!token.describe().unwrap().pin_count_low);
}

#[test]
fn one_store_can_have_several_tokens() {
    let store = Store::of(Provider::Kryoptic).unwrap();
    let (one, other) = (
        store.make_token("one").unwrap(),
        store.make_token("other").unwrap(),
    );
    let key = one.generate_key("ca", &[1], KeyKind::Rsa2048).unwrap();
    other.generate_key("ca", &[1], KeyKind::P521).unwrap();
    assert!(key.sign_message(MESSAGE).is_ok());
    store.take_away().unwrap();
    assert!(key.sign_message(MESSAGE).is_err());
    store.give_back().unwrap();
    assert!(key.sign_message(MESSAGE).is_ok());
}

#[test]
fn fault_rules_apply_to_kryoptic_too() {
    let token = token();
    let key = token.generate_key("ca", &[1], KeyKind::MlDsa44).unwrap();
    let faulty = token.with_faults().unwrap();
    faulty.rules("C_Sign corrupt count=1").unwrap();
    let verifies = || {
        UnparsedPublicKey::new(&ML_DSA_44, key.public_octets())
            .verify(MESSAGE, &faulty.sign_message(&key, MESSAGE).unwrap())
            .is_ok()
    };
    assert_eq!([verifies(), verifies()], [false, true]);
}
