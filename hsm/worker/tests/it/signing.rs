//! An independent verifier accepts the signatures of every mechanism.

use aws_lc_rs::{
    digest,
    signature::{self, UnparsedPublicKey, VerificationAlgorithm},
};
use hsm::{Curve, Fault, Hash, HsmError, KeyAlgorithm, Mechanism};
use softhsm_test_helpers::{KeyKind, TestKey};

use crate::fixture::{selector, served, soon, token};

const MESSAGE: &[u8] = b"to be signed";

pub(crate) fn digest_of(hash: Hash, message: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    };
    digest::digest(algorithm, message).as_ref().to_vec()
}

fn verifies(
    key: &TestKey,
    algorithm: &'static dyn VerificationAlgorithm,
    signature: &[u8],
) -> bool {
    UnparsedPublicKey::new(algorithm, key.public_octets())
        .verify(MESSAGE, signature)
        .is_ok()
}

async fn sign_and_verify(
    kind: KeyKind,
    expected: KeyAlgorithm,
    cases: &[(Mechanism, Hash, &'static dyn VerificationAlgorithm)],
) {
    let token = token("signing");
    let test_key = token.generate_key("ca", &[0xa1, 0xb2], kind).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    assert_eq!(key.algorithm(), expected);
    for (mechanism, hash, verifier) in cases {
        let signature = hsm
            .sign_message(
                &key,
                *mechanism,
                &digest_of(*hash, MESSAGE),
                MESSAGE,
                soon(),
            )
            .await
            .unwrap();
        assert!(verifies(&test_key, *verifier, &signature), "{mechanism:?}");
    }
    hsm.shutdown().await;
}

/// Every mechanism of RSA keys that signs a digest.
pub(crate) const RSA: [(Mechanism, Hash, &dyn VerificationAlgorithm); 6] = [
    (
        Mechanism::RsaPkcs1(Hash::Sha256),
        Hash::Sha256,
        &signature::RSA_PKCS1_2048_8192_SHA256,
    ),
    (
        Mechanism::RsaPkcs1(Hash::Sha384),
        Hash::Sha384,
        &signature::RSA_PKCS1_2048_8192_SHA384,
    ),
    (
        Mechanism::RsaPkcs1(Hash::Sha512),
        Hash::Sha512,
        &signature::RSA_PKCS1_2048_8192_SHA512,
    ),
    (
        Mechanism::RsaPss(Hash::Sha256),
        Hash::Sha256,
        &signature::RSA_PSS_2048_8192_SHA256,
    ),
    (
        Mechanism::RsaPss(Hash::Sha384),
        Hash::Sha384,
        &signature::RSA_PSS_2048_8192_SHA384,
    ),
    (
        Mechanism::RsaPss(Hash::Sha512),
        Hash::Sha512,
        &signature::RSA_PSS_2048_8192_SHA512,
    ),
];

#[tokio::test]
async fn rsa_2048_signatures_verify() {
    sign_and_verify(KeyKind::Rsa2048, KeyAlgorithm::Rsa { bits: 2048 }, &RSA).await;
}

#[tokio::test]
async fn rsa_3072_signatures_verify() {
    sign_and_verify(KeyKind::Rsa3072, KeyAlgorithm::Rsa { bits: 3072 }, &RSA).await;
}

#[tokio::test]
async fn rsa_4096_signatures_verify() {
    sign_and_verify(KeyKind::Rsa4096, KeyAlgorithm::Rsa { bits: 4096 }, &RSA).await;
}

#[tokio::test]
async fn p256_signatures_verify_also_with_a_hash_longer_than_the_curve() {
    let cases: [(Mechanism, Hash, &dyn VerificationAlgorithm); 2] = [
        (
            Mechanism::Ecdsa(Hash::Sha256),
            Hash::Sha256,
            &signature::ECDSA_P256_SHA256_ASN1,
        ),
        (
            Mechanism::Ecdsa(Hash::Sha384),
            Hash::Sha384,
            &signature::ECDSA_P256_SHA384_ASN1,
        ),
    ];
    sign_and_verify(KeyKind::P256, KeyAlgorithm::Ec(Curve::P256), &cases).await;
}

#[tokio::test]
async fn p384_signatures_verify() {
    let cases: [(Mechanism, Hash, &dyn VerificationAlgorithm); 1] = [(
        Mechanism::Ecdsa(Hash::Sha384),
        Hash::Sha384,
        &signature::ECDSA_P384_SHA384_ASN1,
    )];
    sign_and_verify(KeyKind::P384, KeyAlgorithm::Ec(Curve::P384), &cases).await;
}

#[tokio::test]
async fn p521_signatures_verify() {
    let cases: [(Mechanism, Hash, &dyn VerificationAlgorithm); 1] = [(
        Mechanism::Ecdsa(Hash::Sha512),
        Hash::Sha512,
        &signature::ECDSA_P521_SHA512_ASN1,
    )];
    sign_and_verify(KeyKind::P521, KeyAlgorithm::Ec(Curve::P521), &cases).await;
}

#[tokio::test]
async fn an_ed25519_signature_over_the_whole_message_verifies() {
    let token = token("signing");
    let test_key = token.generate_key("ca", &[1], KeyKind::Ed25519).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    assert_eq!(key.algorithm(), KeyAlgorithm::Ed25519);
    let signature = hsm
        .sign(&key, Mechanism::Ed25519, MESSAGE, soon())
        .await
        .unwrap();
    assert!(verifies(&test_key, &signature::ED25519, &signature));
}

#[tokio::test]
async fn two_hundred_signatures_in_flight_all_verify() {
    let token = token("many");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let (hsm, key) = (hsm.clone(), key.clone());
            let mechanism = Mechanism::Ecdsa(Hash::Sha256);
            tokio::spawn(async move {
                hsm.sign(&key, mechanism, &digest_of(Hash::Sha256, MESSAGE), soon())
                    .await
            })
        })
        .collect();
    for task in tasks {
        let signature = task.await.unwrap().unwrap();
        assert!(verifies(
            &test_key,
            &signature::ECDSA_P256_SHA256_ASN1,
            &signature
        ));
    }
}

#[tokio::test]
async fn a_digest_of_the_wrong_length_is_a_bug_and_discards_no_session() {
    let token = token("digest");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let error = hsm
        .sign(&key, Mechanism::Ecdsa(Hash::Sha256), &[0; 20], soon())
        .await
        .unwrap_err();
    assert!(matches!(error, HsmError::BadRequest { .. }), "{error:?}");
    assert_eq!(error.fault(), Fault::Bug);
    let error = hsm
        .sign(&key, Mechanism::RsaPkcs1(Hash::Sha256), &[0; 32], soon())
        .await
        .unwrap_err();
    assert_eq!(error.fault(), Fault::Mend, "{error:?}");
    assert_eq!(hsm.stats(soon()).await.unwrap().sessions_discarded, 0);
}

#[tokio::test]
async fn random_octets_come_from_the_token() {
    let token = token("random");
    let hsm = served(&token);
    let (one, other) = (
        hsm.random(20, soon()).await.unwrap(),
        hsm.random(20, soon()).await.unwrap(),
    );
    assert_eq!(one.len(), 20);
    assert_ne!(one, other);
}
