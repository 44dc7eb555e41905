//! Lists of keys and certificates, with and without a login.

use std::sync::Arc;

use hsm::{KeyAlgorithm, SeenKeyKind, Token, WithoutLogin, protocol::MOST_VALUE};
use softhsm_test_helpers::{Kept, KeyKind, SoftwareKey, TestToken};

use crate::fixture::{served, soon, spec, token};

fn everybody(token: &TestToken) -> Token {
    Token::start(spec(token), Arc::new(WithoutLogin))
}

#[tokio::test]
async fn every_private_key_is_listed_with_what_the_token_tells_about_it() {
    let token = token("all");
    let extractable = Kept {
        extractable: true,
        ..Kept::PROTECTED
    };
    let good = token.generate_key("good", &[1], KeyKind::P256).unwrap();
    let rsa = token
        .generate_key_kept("copied", &[2], KeyKind::Rsa2048, extractable)
        .unwrap();
    let hsm = served(&token);
    let listed = hsm.keys(true, soon()).await.unwrap();
    assert!(!listed.is_cut);
    let [one, other] = &*listed.objects else {
        panic!("{listed:?}");
    };
    let (one, other) = match one.id == [1] {
        true => (one, other),
        false => (other, one),
    };
    assert_eq!((&*one.label, &*one.id), (&b"good"[..], &[1][..]));
    assert_eq!(
        one.kind,
        SeenKeyKind::Known(KeyAlgorithm::Ec(hsm::Curve::P256))
    );
    assert_eq!(one.public.as_deref(), Some(good.public_octets()));
    assert_eq!(one.attributes.extractable, Some(false));
    assert_eq!(one.attributes.never_extractable, Some(true));
    assert_eq!(one.modifiable, Some(true));
    assert_eq!(
        one.mechanisms.first().map(|one| one.name()),
        Some("CKM_ECDSA")
    );
    assert_eq!(
        other.kind,
        SeenKeyKind::Known(KeyAlgorithm::Rsa { bits: 2048 })
    );
    assert_eq!(other.attributes.extractable, Some(true));
    assert_eq!(other.attributes.modulus_bits, Some(2048));
    drop(rsa);
}

#[tokio::test]
async fn without_a_login_the_token_shows_public_keys_and_certificates_and_no_private_keys() {
    let token = token("closed");
    let key = token.generate_key("ca", &[1], KeyKind::P384).unwrap();
    let der = b"not read by the worker".to_vec();
    token.store_certificates("ca", &[1], [der.clone()]).unwrap();
    let hsm = everybody(&token);
    assert_eq!(hsm.keys(true, soon()).await.unwrap().objects, []);
    let public = hsm.keys(false, soon()).await.unwrap().objects;
    assert_eq!(public.len(), 1);
    assert_eq!(public[0].public.as_deref(), Some(key.public_octets()));
    let certificates = hsm.certificates(soon()).await.unwrap().objects;
    assert_eq!(certificates.len(), 1);
    assert_eq!(certificates[0].der, Some(der));
    assert_eq!(hsm.stats(soon()).await.unwrap().logins, 0);
    // Nothing is signed without a login.
    let selector = crate::fixture::selector(&key);
    let refused = hsm.find_key(&selector, soon()).await.unwrap_err();
    assert!(matches!(refused, hsm::HsmError::NotLoggedIn), "{refused}");
}

#[tokio::test]
async fn a_long_list_comes_in_pages_and_ends_at_its_limit() {
    let token = token("many");
    let ids = (0..510_u16).map(|id| id.to_be_bytes().to_vec());
    token
        .import_keys("ca", ids, &SoftwareKey::generate().unwrap())
        .unwrap();
    let hsm = served(&token);
    let listed = hsm.keys(true, soon()).await.unwrap();
    assert_eq!((listed.objects.len(), listed.is_cut), (500, true));
    let mut ids: Vec<_> = listed.objects.into_iter().map(|key| key.id).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 500);
}

#[tokio::test]
async fn a_certificate_that_is_too_long_is_listed_without_its_value() {
    let token = token("long");
    let values = [vec![7; MOST_VALUE], vec![8; MOST_VALUE + 1], vec![9; 10]];
    token.store_certificates("ca", &[1], values).unwrap();
    let certificates = everybody(&token).certificates(soon()).await.unwrap();
    let mut lengths: Vec<_> = certificates
        .objects
        .iter()
        .map(|one| one.der.as_ref().map(Vec::len))
        .collect();
    lengths.sort();
    assert_eq!(lengths, [None, Some(10), Some(MOST_VALUE)]);
}
