//! Tests the examples of `docs/examples/`: each is parsed completely and valid, and each is applied to a real API server.

mod argo_cd;
mod csi_driver;
mod istio;
mod laptop;
mod leaf;
mod page;
mod readme;
mod shims;
mod signing_request;
mod stage;
mod tenants;
mod values;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use pkcs11_issuer::{
    api::{
        GROUP,
        issuer::{IssuerKind, PKCS11ClusterIssuer, PKCS11Issuer},
    },
    issuance::{Limits, Profile, profile::CaLimits},
};
use serde_json::Value;

/// Returns the folder of the examples.
pub(crate) fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples"))
}

/// Returns the text of an example.
fn text(file: &str) -> Result<String> {
    let path = path().join(file);
    fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
}

/// Returns the objects of an example, or its values.
fn objects(file: &str) -> Result<Vec<Value>> {
    Ok(serde_saphyr::from_multiple(&text(file)?)?)
}

/// Returns the names of the files except the page about them.
fn files() -> Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(path())? {
        let file = entry?.file_name();
        let file = file.to_str().context("not UTF-8")?;
        if file != "README.md" {
            files.push(file.to_owned());
        }
    }
    files.sort();
    Ok(files)
}

/// Whether everything that was written is in what was parsed; a misspelt field would be lost.
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

/// Panics unless an issuer is parsed completely and has a valid profile.
fn is_sound<K: IssuerKind>(file: &str, written: &Value) {
    let issuer: K = serde_json::from_value(written.clone()).unwrap();
    let read = serde_json::to_value(&issuer).unwrap();
    assert!(is_within(written, &read), "{file}");
    let limits = Limits {
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    let profile = issuer.issuer_spec().profile.clone();
    Profile::new(profile.try_into().unwrap(), limits)
        .unwrap_or_else(|error| panic!("{file}: {error}"));
}

#[test]
fn every_issuer_of_the_examples_is_parsed_completely_and_has_a_valid_profile() {
    let mut count = 0;
    for file in files().unwrap() {
        for object in objects(&file).unwrap() {
            if object["apiVersion"] != format!("{GROUP}/v1alpha1") {
                continue;
            }
            match object["kind"].as_str().unwrap() {
                PKCS11ClusterIssuer::KIND => is_sound::<PKCS11ClusterIssuer>(&file, &object),
                PKCS11Issuer::KIND => is_sound::<PKCS11Issuer>(&file, &object),
                other => panic!("{file}: {other}"),
            }
            count += 1;
        }
    }
    assert!(count >= 8, "{count}");
}

#[test]
fn the_comparison_detects_a_lost_field() {
    let read = serde_json::json!({"a": {"b": [1, 2]}, "c": 3});
    assert!(is_within(&serde_json::json!({"a": {"b": [1, 2]}}), &read));
    assert!(!is_within(&serde_json::json!({"a": {"d": 1}}), &read));
    assert!(!is_within(&serde_json::json!({"a": {"b": [1]}}), &read));
}
