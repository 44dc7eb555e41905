//! Tests that only Kryoptic allows: ML-DSA, and a PIN that locks.

use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ML_DSA_44, ML_DSA_65, ML_DSA_87,
    UnparsedPublicKey, VerificationAlgorithm,
};
use hsm::{
    Hash, KeyAlgorithm, KeySelector, LoginOutcome, Mechanism, MlDsa, SeenKeyKind, Token, TokenState,
};
use softhsm_test_helpers::{KeyKind, Provider, Store, TestToken};

use crate::{
    fixture::{Gate, ready, selector, served, soon, spec, until},
    injected_start::starting,
    mechanisms::sign_message,
};

const MESSAGE: &[u8] = b"to be signed";

fn token(label: &str) -> TestToken {
    let store = Store::of(Provider::Kryoptic).unwrap();
    store.make_token(label).unwrap()
}

#[tokio::test]
async fn an_ml_dsa_key_is_listed_with_its_parameter_set_and_public_half() {
    let token = token("pqc-list");
    let key = token.generate_key("ca", &[1], KeyKind::MlDsa65).unwrap();
    let hsm = served(&token);
    let listed = hsm.keys(true, soon()).await.unwrap().objects;
    assert_eq!(listed.len(), 1);
    let known = SeenKeyKind::Known(KeyAlgorithm::MlDsa(MlDsa::MlDsa65));
    assert_eq!(listed[0].kind, known);
    assert_eq!(listed[0].public.as_deref(), Some(key.public_octets()));
    assert_eq!(listed[0].mechanisms, [Mechanism::MlDsa]);
}

#[tokio::test]
async fn an_ml_dsa_key_is_found_by_its_certificate_and_its_signature_verifies() {
    let token = token("pqc");
    let hsm = served(&token);
    let cases: [(KeyKind, MlDsa, &dyn VerificationAlgorithm); 3] = [
        (KeyKind::MlDsa44, MlDsa::MlDsa44, &ML_DSA_44),
        (KeyKind::MlDsa65, MlDsa::MlDsa65, &ML_DSA_65),
        (KeyKind::MlDsa87, MlDsa::MlDsa87, &ML_DSA_87),
    ];
    for (id, (kind, set, verifier)) in (1..).zip(cases) {
        let test_key = token.generate_key("ca", &[id], kind).unwrap();
        let certified = KeySelector {
            public_key: Some(test_key.spki_der()),
            ..KeySelector::default()
        };
        let key = hsm.find_key(&certified, soon()).await.unwrap();
        assert_eq!(key.name().id, [id]);
        assert_eq!(key.algorithm(), KeyAlgorithm::MlDsa(set));
        assert_eq!(key.mechanisms(), [Mechanism::MlDsa]);
        let signature = hsm.sign(&key, Mechanism::MlDsa, MESSAGE, soon()).await;
        UnparsedPublicKey::new(verifier, test_key.public_octets())
            .verify(MESSAGE, &signature.unwrap())
            .unwrap();
    }
}

#[tokio::test]
async fn a_token_that_refuses_to_sign_digests_with_ecdsa_gets_the_message() {
    let token = token("hashing");
    let cases: [(KeyKind, Hash, &dyn VerificationAlgorithm); 2] = [
        (KeyKind::P256, Hash::Sha256, &ECDSA_P256_SHA256_ASN1),
        (KeyKind::P384, Hash::Sha384, &ECDSA_P384_SHA384_ASN1),
    ];
    let fips = "C_GetMechanismInfo mechanism=CKM_ECDSA rv=CKR_MECHANISM_INVALID\n\
                C_SignInit mechanism=CKM_ECDSA rv=CKR_MECHANISM_INVALID";
    let lying = "C_SignInit mechanism=CKM_ECDSA rv=CKR_MECHANISM_INVALID";
    for (id, (kind, hash, verifier)) in (1..).zip(cases) {
        let test_key = token.generate_key("ca", &[id], kind).unwrap();
        for rules in [fips, lying] {
            let (_module, _gate, hsm) = starting(&token, rules);
            let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
            let digest = Mechanism::Ecdsa(hash);
            assert_eq!(key.mechanisms().contains(&digest), rules == lying);
            let signature = sign_message(&hsm, &key, digest, hash, MESSAGE).await;
            UnparsedPublicKey::new(verifier, test_key.public_octets())
                .verify(MESSAGE, &signature.unwrap())
                .unwrap();
        }
    }
}

#[tokio::test]
async fn a_key_of_every_type_is_found_by_label_and_id() {
    let token = token("mixed");
    let hsm = served(&token);
    for (id, kind) in (1..).zip([KeyKind::P256, KeyKind::Ed25519, KeyKind::MlDsa65]) {
        let test_key = token.generate_key("ca", &[id], kind).unwrap();
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        assert_eq!(key.name().id, [id]);
    }
}

#[tokio::test]
async fn the_worker_never_locks_the_pin_however_often_a_login_is_retried() {
    let token = token("locks");
    let gate = Gate::new("wrong, and long enough");
    let hsm = Token::start(spec(&token), Arc::<Gate>::clone(&gate));
    // The gate permits everything, and a person retries more often than the ten tries that the token allows.
    for tries in 1..=15 {
        while gate.outcomes().len() < tries {
            tokio::task::yield_now().await;
        }
        until(&hsm, |state| {
            matches!(state, TokenState::LoginRefused { .. })
        })
        .await;
        hsm.retry_login();
    }
    let outcomes = gate.outcomes();
    assert_eq!(outcomes[0], LoginOutcome::Rejected { locked: false });
    assert_eq!(outcomes[14], LoginOutcome::NotTried);
    let description = token.describe().unwrap();
    assert!(description.pin_final_try && !description.pin_locked);

    // A person logs in by hand with the right PIN.
    token.try_pin(token.user_pin()).unwrap();
    gate.set_pin(token.user_pin());
    hsm.retry_login();
    until(&hsm, ready).await;
}
