//! Look-up of exactly one key, or an error that lists the keys that matched.

use hsm::{Fault, Hash, HsmError, KeyAttributes, KeySelector, Mechanism, Token, TokenSpec, Uri};
use softhsm_test_helpers::{Kept, KeyKind, SoftwareKey};

use crate::fixture::{Gate, faulty_spec, selector, served, sign, soon, spec, token, verifies};

fn by_label(label: &str) -> KeySelector {
    KeySelector {
        label: Some(label.into()),
        ..KeySelector::default()
    }
}

#[tokio::test]
async fn a_key_is_found_by_label_by_id_and_by_its_certificates_public_key() {
    let token = token("keys");
    let hsm = served(&token);
    for (id, kind) in [(1_u8, KeyKind::P256), (2, KeyKind::Rsa2048)] {
        let label = format!("ca-{id}");
        let key = token.generate_key(&label, &[id], kind).unwrap();
        let by_id = KeySelector {
            id: Some(vec![id]),
            ..KeySelector::default()
        };
        let by_public_key = KeySelector {
            public_key: Some(key.spki_der()),
            ..KeySelector::default()
        };
        for selector in [by_label(&label), by_id, by_public_key, selector(&key)] {
            let found = hsm.find_key(&selector, soon()).await.unwrap();
            assert_eq!(found.name().label, label, "{selector:?}");
            assert_eq!(found.name().id, [id], "{selector:?}");
            assert_eq!(found.attributes().sensitive, Some(true));
            assert_eq!(found.attributes().never_extractable, Some(true));
            assert_eq!(found.attributes().local, Some(true));
        }
    }
}

/// Attributes of a P-256 key that the token has generated, sensitive and not extractable.
const MADE_WELL: KeyAttributes = KeyAttributes {
    sensitive: Some(true),
    extractable: Some(false),
    never_extractable: Some(true),
    local: Some(true),
    always_authenticate: Some(false),
    always_sensitive: Some(true),
    sign: Some(true),
    modulus_bits: None,
};

#[tokio::test]
async fn the_attributes_of_a_key_are_those_that_the_token_reports() {
    let token = token("kept");
    let hsm = served(&token);
    let made = |id: u8, kept| token.generate_key_kept("ca", &[id], KeyKind::P256, kept);
    let extractable = Kept {
        extractable: true,
        ..Kept::PROTECTED
    };
    let plain = Kept {
        sensitive: false,
        ..Kept::PROTECTED
    };
    let imported = SoftwareKey::generate().unwrap();
    let cases = [
        (made(1, Kept::PROTECTED), MADE_WELL),
        (
            made(2, extractable),
            KeyAttributes {
                extractable: Some(true),
                never_extractable: Some(false),
                ..MADE_WELL
            },
        ),
        (
            made(3, plain),
            KeyAttributes {
                sensitive: Some(false),
                always_sensitive: Some(false),
                ..MADE_WELL
            },
        ),
        (
            token.import_key("ca", &[4], &imported),
            KeyAttributes {
                never_extractable: Some(false),
                local: Some(false),
                always_sensitive: Some(false),
                ..MADE_WELL
            },
        ),
    ];
    for (key, expected) in cases {
        let key = key.unwrap();
        let found = hsm.find_key(&selector(&key), soon()).await.unwrap();
        assert_eq!(found.attributes(), expected, "{key:?}");
    }
}

#[tokio::test]
async fn an_attribute_that_the_token_does_not_report_is_unknown_and_hides_no_other() {
    let token = token("sparse");
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let module = token.with_faults().unwrap();
    let hsm = Token::start(faulty_spec(&token, &module), Gate::new(token.user_pin()));
    let cases = [
        (
            "CKA_SENSITIVE",
            KeyAttributes {
                sensitive: None,
                ..MADE_WELL
            },
        ),
        (
            "CKA_EXTRACTABLE",
            KeyAttributes {
                extractable: None,
                ..MADE_WELL
            },
        ),
        (
            "CKA_NEVER_EXTRACTABLE",
            KeyAttributes {
                never_extractable: None,
                ..MADE_WELL
            },
        ),
        (
            "CKA_LOCAL",
            KeyAttributes {
                local: None,
                ..MADE_WELL
            },
        ),
    ];
    for (hidden, expected) in cases {
        let rule = format!("C_GetAttributeValue hide={hidden}");
        module.rules(&rule).unwrap();
        let found = hsm.find_key(&selector(&key), soon()).await.unwrap();
        assert_eq!(found.attributes(), expected, "{hidden}");
        assert!(verifies(&key, &sign(&hsm, &found).await.unwrap()));
    }
}

#[tokio::test]
async fn a_key_that_requires_its_pin_for_every_signature_is_refused_by_name() {
    let token = token("always");
    let kept = Kept {
        always_authenticate: true,
        ..Kept::PROTECTED
    };
    let key = token.generate_key_kept("ca", &[1], KeyKind::P256, kept);
    let error = served(&token)
        .find_key(&selector(&key.unwrap()), soon())
        .await
        .unwrap_err();
    assert!(
        matches!(&error, HsmError::AlwaysAuthenticate(key) if key.label == "ca"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_missing_key_is_an_error_that_a_person_must_correct() {
    let token = token("keys");
    token.generate_key("other", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let error = hsm.find_key(&by_label("ca"), soon()).await.unwrap_err();
    assert!(
        matches!(&error, HsmError::KeyNotFound { differing } if differing.is_empty()),
        "{error:?}"
    );
    assert_eq!(error.fault(), Fault::Mend);
}

#[tokio::test]
async fn several_keys_are_listed_with_label_and_id() {
    let token = token("keys");
    let keys = [1, 2].map(|id| token.generate_key("ca", &[id], KeyKind::P256).unwrap());
    let hsm = served(&token);
    let error = hsm.find_key(&by_label("ca"), soon()).await.unwrap_err();
    let HsmError::SeveralKeys { matching } = &error else {
        panic!("{error:?}")
    };
    let mut ids: Vec<_> = matching
        .iter()
        .map(|key| (key.label.as_str(), key.id.as_slice()))
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [("ca", &[1_u8][..]), ("ca", &[2])]);
    assert_eq!(error.fault(), Fault::Mend);
    // The certificate's public key selects one of them.
    let certified = KeySelector {
        public_key: Some(keys[1].spki_der()),
        ..by_label("ca")
    };
    assert_eq!(
        hsm.find_key(&certified, soon()).await.unwrap().name().id,
        [2]
    );
}

#[tokio::test]
async fn a_key_that_does_not_match_the_certificate_is_named_in_the_error() {
    let token = token("keys");
    token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let other = token.generate_key("other", &[2], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let mismatched = KeySelector {
        public_key: Some(other.spki_der()),
        ..by_label("ca")
    };
    let error = hsm.find_key(&mismatched, soon()).await.unwrap_err();
    let HsmError::KeyNotFound { differing } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(differing.len(), 1);
    assert_eq!(differing[0].label, "ca");
}

#[tokio::test]
async fn the_mechanisms_of_a_key_are_those_that_the_token_claims_for_its_type() {
    let token = token("mechanisms");
    let hsm = served(&token);
    let hashes = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
    let rsa = hashes
        .map(Mechanism::RsaPkcs1)
        .into_iter()
        .chain(hashes.map(Mechanism::RsaPss));
    let cases = [
        (KeyKind::Rsa2048, rsa.collect(), Some(2048)),
        (KeyKind::P384, hashes.map(Mechanism::Ecdsa).to_vec(), None),
        (KeyKind::Ed25519, vec![Mechanism::Ed25519], None),
    ];
    for (id, (kind, mechanisms, modulus_bits)) in (1..).zip(cases) {
        let test_key = token.generate_key("ca", &[id], kind).unwrap();
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        assert_eq!(key.mechanisms(), mechanisms, "{kind:?}");
        assert_eq!(key.attributes().sign, Some(true), "{kind:?}");
        assert_eq!(key.attributes().always_sensitive, Some(true), "{kind:?}");
        assert_eq!(key.attributes().modulus_bits, modulus_bits, "{kind:?}");
    }
}

#[tokio::test]
async fn a_uri_selects_token_and_key() {
    let token = token("a token");
    let test_key = token
        .generate_key("the ca", &[0xa1], KeyKind::P256)
        .unwrap();
    token
        .generate_key("the ca", &[0xa2], KeyKind::P256)
        .unwrap();
    let serial = token.serial();
    let uri = format!("pkcs11:token=a%20token;serial={serial};object=the%20ca;id=%a1");
    let uri: Uri = uri.parse().unwrap();
    let by_uri = TokenSpec {
        token: uri.token().unwrap(),
        ..spec(&token)
    };
    let hsm = Token::start(by_uri, Gate::new(token.user_pin()));
    let key = hsm.find_key(&uri.key(), soon()).await.unwrap();
    assert!(verifies(&test_key, &sign(&hsm, &key).await.unwrap()));
}
