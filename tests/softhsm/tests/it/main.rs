//! Tests of the test helpers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "clippy.toml allows these in test functions; shared helpers may fail the same way"
)]

#[cfg(feature = "containers")]
mod containers;
mod faults;
mod kryoptic;

use std::{fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use softhsm_test_helpers::{CaProfile, KeyKind, SoftwareKey, Store};

fn verified_by_openssl(directory: &Path, root: &str, certificate: &str) -> bool {
    let (root_file, file) = (
        directory.join("root.pem"),
        directory.join("certificate.pem"),
    );
    fs::write(&root_file, root).unwrap();
    fs::write(&file, certificate).unwrap();
    let mut openssl = Command::new("openssl");
    openssl
        .args(["verify", "-x509_strict", "-CAfile"])
        .arg(root_file)
        .arg(file);
    openssl.status().expect("openssl is installed").success()
}

#[test]
fn openssl_accepts_a_chain_whose_root_signed_on_the_token() {
    let softhsm = Store::new().unwrap();
    let token = softhsm.make_token("chain").unwrap();
    let root_key = token.generate_key("root", &[1], KeyKind::P384).unwrap();
    let root = root_key
        .self_signed(&CaProfile::named("Test root"))
        .unwrap();
    for (id, kind) in [
        (2, KeyKind::Rsa2048),
        (3, KeyKind::P256),
        (4, KeyKind::P521),
    ] {
        let key = token.generate_key("issuing", &[id], kind).unwrap();
        let issuing = root
            .issue(&key, &CaProfile::named("Test issuing").path_length(0))
            .unwrap();
        assert!(
            verified_by_openssl(softhsm.directory(), &root.pem(), &issuing.pem()),
            "{kind:?}"
        );
    }
}

#[test]
fn a_key_pair_on_two_tokens_signs_for_the_same_certificate() {
    let key = SoftwareKey::generate().unwrap();
    let tokens = [(); 2].map(|()| Store::new().unwrap().make_token("backup").unwrap());
    let keys = tokens
        .each_ref()
        .map(|token| token.import_key("issuing", &[1], &key).unwrap());
    assert_eq!(keys[0].spki_der(), keys[1].spki_der());
    let root = keys[0].self_signed(&CaProfile::named("Test root")).unwrap();
    let again = keys[1].self_signed(&CaProfile::named("Test root")).unwrap();
    // The root was signed on one token, and the leaf on the other.
    let leaf = tokens[1].generate_key("leaf", &[2], KeyKind::P256).unwrap();
    let leaf = again
        .issue(&leaf, &CaProfile::named("Test issuing"))
        .unwrap();
    let directory = tokens[0].store().directory();
    assert!(verified_by_openssl(directory, &root.pem(), &leaf.pem()));
}

#[test]
fn an_rsa_root_signs_on_the_token_too() {
    let softhsm = Store::new().unwrap();
    let token = softhsm.make_token("chain").unwrap();
    let root_key = token.generate_key("root", &[1], KeyKind::Rsa2048).unwrap();
    let root = root_key
        .self_signed(&CaProfile::named("Test root"))
        .unwrap();
    let key = token.generate_key("issuing", &[2], KeyKind::P256).unwrap();
    let issuing = root.issue(&key, &CaProfile::named("Test issuing")).unwrap();
    assert!(verified_by_openssl(
        softhsm.directory(),
        &root.pem(),
        &issuing.pem()
    ));
}

#[test]
fn openssl_refuses_an_expired_certificate() {
    let softhsm = Store::new().unwrap();
    let token = softhsm.make_token("chain").unwrap();
    let key = token.generate_key("root", &[1], KeyKind::P256).unwrap();
    let root = key.self_signed(&CaProfile::named("Test root")).unwrap();
    let expired = root
        .issue(&key, &CaProfile::named("Test issuing").expired())
        .unwrap();
    assert!(!verified_by_openssl(
        softhsm.directory(),
        &root.pem(),
        &expired.pem()
    ));
}

#[test]
fn one_process_can_have_several_tokens_with_their_own_keys() {
    let (first, second) = (Store::new().unwrap(), Store::new().unwrap());
    let one = first
        .make_token("token")
        .unwrap()
        .generate_key("key", &[1], KeyKind::P256)
        .unwrap();
    let other = second
        .make_token("token")
        .unwrap()
        .generate_key("key", &[1], KeyKind::P256)
        .unwrap();
    assert_ne!(one.spki_der(), other.spki_der());
}

#[test]
fn a_token_that_was_taken_away_cannot_sign_until_it_is_given_back() {
    let softhsm = Store::new().unwrap();
    let key = softhsm
        .make_token("token")
        .unwrap()
        .generate_key("key", &[1], KeyKind::P256)
        .unwrap();
    softhsm.take_away().unwrap();
    assert!(key.sign_message(b"away").is_err());
    softhsm.give_back().unwrap();
    assert!(key.sign_message(b"back").is_ok());
}

#[test]
fn only_its_owner_can_read_the_pin_file() {
    let softhsm = Store::new().unwrap();
    let token = softhsm.make_token("token").unwrap();
    assert_eq!(
        fs::metadata(token.pin_file()).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(
        fs::read_to_string(token.pin_file()).unwrap(),
        token.user_pin()
    );
}
