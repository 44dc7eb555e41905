//! The examples of `docs/examples/`: each is read whole and is sound.

use std::fs;

use pkcs11_issuer::{
    api::issuer::{IssuerKind as _, PKCS11ClusterIssuer},
    issuance::{Limits, Profile},
};
use serde_json::Value;

/// Whether everything that was written is in what was read; a misspelt field would be lost.
pub(crate) fn is_within(written: &Value, read: &Value) -> bool {
    match (written, read) {
        (Value::Object(written), Value::Object(read)) => written
            .iter()
            .all(|(key, value)| read.get(key).is_some_and(|read| is_within(value, read))),
        (Value::Array(written), Value::Array(read)) => {
            written.len() == read.len()
                && written
                    .iter()
                    .zip(read)
                    .all(|(one, other)| is_within(one, other))
        }
        (written, read) => written == read,
    }
}

#[test]
fn every_example_is_read_whole_and_its_profile_is_sound() {
    let folder = format!("{}/docs/examples", env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let issuer: PKCS11ClusterIssuer = serde_saphyr::from_str(&text).unwrap();
        let written: Value = serde_saphyr::from_str(&text).unwrap();
        let read = serde_json::to_value(&issuer).unwrap();
        assert!(is_within(&written, &read), "{}", path.display());
        let limits = Limits {
            allow_ca: true,
            ..Limits::default()
        };
        let profile = issuer.issuer_spec().profile.clone();
        Profile::new(profile.try_into().unwrap(), limits)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        count += 1;
    }
    assert!(count >= 2);
}

#[test]
fn the_comparison_sees_a_lost_field() {
    let read = serde_json::json!({"a": {"b": [1, 2]}, "c": 3});
    assert!(is_within(&serde_json::json!({"a": {"b": [1, 2]}}), &read));
    assert!(!is_within(&serde_json::json!({"a": {"d": 1}}), &read));
    assert!(!is_within(&serde_json::json!({"a": {"b": [1]}}), &read));
}
