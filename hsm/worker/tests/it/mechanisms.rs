//! Tokens that refuse to sign a digest, and private keys that leave out what the public key has.

use aws_lc_rs::signature::{self, UnparsedPublicKey};
use hsm::{Fault, Hash, HsmError, Key, KeySelector, Mechanism, Token};
use softhsm_test_helpers::{Function, KeyKind, TestKey};

use crate::{
    fixture::{selector, sign, soon, token, verifies},
    injected_start::starting,
    signing::{RSA, digest_of},
};

const MESSAGE: &[u8] = b"to be signed";

/// Neither offered nor accepted, as in FIPS mode.
const FIPS: &str = "C_GetMechanismInfo mechanism=CKM_RSA_PKCS rv=CKR_MECHANISM_INVALID
C_GetMechanismInfo mechanism=CKM_RSA_PKCS_PSS rv=CKR_MECHANISM_INVALID
C_SignInit mechanism=CKM_RSA_PKCS rv=CKR_MECHANISM_INVALID
C_SignInit mechanism=CKM_RSA_PKCS_PSS rv=CKR_MECHANISM_INVALID";

/// Offered and not accepted.
const LYING: &str = "C_SignInit mechanism=CKM_RSA_PKCS rv=CKR_MECHANISM_INVALID
C_SignInit mechanism=CKM_RSA_PKCS_PSS rv=CKR_MECHANISM_PARAM_INVALID";

/// The library does not tell what it offers.
const SILENT: &str = "C_GetMechanismInfo rv=CKR_FUNCTION_NOT_SUPPORTED
C_SignInit mechanism=CKM_RSA_PKCS rv=CKR_MECHANISM_INVALID
C_SignInit mechanism=CKM_RSA_PKCS_PSS rv=CKR_MECHANISM_INVALID";

pub(crate) async fn sign_message(
    hsm: &Token,
    key: &Key,
    mechanism: Mechanism,
    hash: Hash,
    message: &[u8],
) -> Result<Vec<u8>, HsmError> {
    let digest = digest_of(hash, message);
    hsm.sign_message(key, mechanism, &digest, message, soon())
        .await
}

#[tokio::test]
async fn a_token_that_refuses_digests_gets_the_message() {
    let token = token("hashing");
    let test_key = token.generate_key("ca", &[1], KeyKind::Rsa2048).unwrap();
    // An unannounced refusal costs one session per key that is looked up, not one per signature.
    for (rules, discarded) in [("", 0), (FIPS, 0), (LYING, 1), (SILENT, 1)] {
        let (module, _gate, hsm) = starting(&token, rules);
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        for (mechanism, hash, verifier) in RSA {
            let signed = sign_message(&hsm, &key, mechanism, hash, MESSAGE).await;
            let signature = signed.unwrap();
            let public = UnparsedPublicKey::new(verifier, test_key.public_octets());
            assert!(
                public.verify(MESSAGE, &signature).is_ok(),
                "{rules} {mechanism:?}"
            );
        }
        let stats = hsm.stats(soon()).await.unwrap();
        assert_eq!(stats.sessions_discarded, discarded, "{rules}");
        assert_eq!(module.calls(Function::C_Login).unwrap(), 1, "{rules}");
    }
}

#[tokio::test]
async fn a_key_lists_the_hashing_mechanisms_if_the_token_signs_no_digests() {
    let token = token("offering");
    let test_key = token.generate_key("ca", &[1], KeyKind::Rsa2048).unwrap();
    let (_module, _gate, hsm) = starting(&token, FIPS);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
    let of_messages = hashes
        .map(Mechanism::RsaPkcs1InToken)
        .into_iter()
        .chain(hashes.map(Mechanism::RsaPssInToken));
    assert_eq!(key.mechanisms(), of_messages.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_refusal_names_the_mechanism_and_what_the_token_offers() {
    let token = token("refusing");
    for (kind, mechanism, expected) in [
        (
            KeyKind::Rsa2048,
            Mechanism::RsaPkcs1(Hash::Sha256),
            "CKM_RSA_PKCS: C_SignInit returned CKR_MECHANISM_INVALID; with RSA-2048 keys it offers \
             CKM_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_SHA384_RSA_PKCS, CKM_SHA512_RSA_PKCS, CKM_RSA_PKCS_PSS, \
             CKM_SHA256_RSA_PKCS_PSS, CKM_SHA384_RSA_PKCS_PSS, CKM_SHA512_RSA_PKCS_PSS",
        ),
        (
            KeyKind::Ed25519,
            Mechanism::Ed25519,
            "CKM_EDDSA: C_SignInit returned CKR_MECHANISM_INVALID; with Ed25519 keys it offers CKM_EDDSA",
        ),
    ] {
        let test_key = token.generate_key("ca", &[1], kind).unwrap();
        let (_module, _gate, hsm) = starting(&token, "C_SignInit rv=CKR_MECHANISM_INVALID");
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        let error = sign_message(&hsm, &key, mechanism, Hash::Sha256, MESSAGE)
            .await
            .unwrap_err();
        let expected = format!("the key cannot sign with this mechanism: {expected}");
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.fault(), Fault::Mend);
        assert_eq!(hsm.tally().starts, 1);
    }
}

/// The whole message must fit into one frame of the protocol.
#[tokio::test]
async fn a_message_that_the_token_hashes_has_at_most_sixty_thousand_octets() {
    let token = token("long");
    let test_key = token.generate_key("ca", &[1], KeyKind::Rsa2048).unwrap();
    let (_module, _gate, hsm) = starting(&token, FIPS);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let (mechanism, hash) = (Mechanism::RsaPkcs1(Hash::Sha256), Hash::Sha256);
    let longest = vec![7; 60_000];
    let signature = sign_message(&hsm, &key, mechanism, hash, &longest).await;
    let public = UnparsedPublicKey::new(
        &signature::RSA_PKCS1_2048_8192_SHA256,
        test_key.public_octets(),
    );
    assert!(public.verify(&longest, &signature.unwrap()).is_ok());
    let error = sign_message(&hsm, &key, mechanism, hash, &[7; 60_001]).await;
    let error = error.unwrap_err();
    assert!(
        error.to_string().contains("at most 60000 octets"),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Mend);
}

fn by_certificate(key: &TestKey) -> KeySelector {
    KeySelector {
        public_key: Some(key.spki_der()),
        ..KeySelector::default()
    }
}

#[tokio::test]
async fn what_a_private_key_leaves_out_is_taken_from_its_public_object_or_its_certificate() {
    let token = token("sparse");
    let ec = token.generate_key("ec", &[1], KeyKind::P256).unwrap();
    let rsa = token.generate_key("rsa", &[2], KeyKind::Rsa2048).unwrap();
    token.generate_key("other", &[3], KeyKind::P256).unwrap();
    for (rules, shows) in [
        (
            "C_GetAttributeValue hide_private=CKA_MODULUS,CKA_EC_PARAMS",
            true,
        ),
        (
            "C_GetAttributeValue hide_private=CKA_MODULUS,CKA_EC_PARAMS,CKA_KEY_TYPE",
            true,
        ),
        // The public objects do not show them, either.
        (
            "C_GetAttributeValue hide=CKA_MODULUS,CKA_EC_PARAMS,CKA_EC_POINT",
            false,
        ),
    ] {
        let (_module, _gate, hsm) = starting(&token, rules);
        for test_key in [&ec, &rsa] {
            let key = hsm.find_key(&selector(test_key), soon()).await.unwrap();
            assert_eq!(key.name().label, test_key.label(), "{rules}");
            let found = hsm.find_key(&by_certificate(test_key), soon()).await;
            match found {
                Ok(found) => assert!(shows && found.name() == key.name(), "{rules}"),
                Err(HsmError::KeysHidden { hidden }) => {
                    assert!(
                        !shows && hidden.contains(&key.name()),
                        "{rules}: {hidden:?}"
                    );
                }
                Err(error) => panic!("{rules}: {error:?}"),
            }
        }
        let key = hsm.find_key(&selector(&ec), soon()).await.unwrap();
        assert!(verifies(&ec, &sign(&hsm, &key).await.unwrap()), "{rules}");
        let named = KeySelector {
            public_key: None,
            ..selector(&ec)
        };
        match hsm.find_key(&named, soon()).await {
            Ok(_) => assert!(shows, "{rules}"),
            Err(HsmError::KeyTypeUnknown(name)) => assert!(!shows && name.label == "ec", "{rules}"),
            Err(error) => panic!("{rules}: {error:?}"),
        }
        // A key of another type is not taken for the certificate's.
        let mismatched = KeySelector {
            public_key: Some(rsa.spki_der()),
            ..selector(&ec)
        };
        let error = hsm.find_key(&mismatched, soon()).await.err();
        let differs =
            matches!(&error, Some(HsmError::KeyNotFound { differing }) if differing.len() == 1);
        assert!(differs, "{rules}: {error:?}");
    }
}
