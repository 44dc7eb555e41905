//! `pkcs11-issuer key` on real SoftHSM tokens.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use softhsm_test_helpers::{
    CaProfile, Function, Kept, KeyKind, Provider, SoftwareKey, Store, TestToken,
};

use crate::sign::case::{Case, Said};

fn command(words: &[&str]) -> Result<Command> {
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
    command.env_clear().args(words).stdin(Stdio::null());
    command.arg("--worker").arg(programs.worker);
    Ok(command)
}

/// Runs `key` with the library of a store.
fn key(store: &Store, words: &[&str]) -> Result<Said> {
    let mut command = command(&[&["key"], words].concat())?;
    command.arg("--module").arg(store.module());
    for (name, value) in store.env() {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    Said::of(command.output()?)
}

/// Runs `key` with the configuration of a case.
fn configured(case: &Case, words: &[&str]) -> Result<Said> {
    let config = case.write("config.yaml", case.configuration.to_string())?;
    let mut command = command(&[&["key"], words].concat())?;
    command.arg("--config").arg(config);
    Said::of(command.output()?)
}

fn json(said: &Said) -> Result<Value> {
    serde_json::from_str(&said.stdout).with_context(|| format!("{said:?}"))
}

fn with_pin<'a>(token: &'a TestToken, words: &[&'a str]) -> Result<Vec<&'a str>> {
    let pin = token.pin_file().to_str().context("the path is not UTF-8")?;
    Ok([words, &["--pin-file", pin]].concat())
}

#[test]
fn keys_are_listed_with_uri_protection_and_their_own_certificates() -> Result<()> {
    let store = Store::of(Provider::SoftHsm)?;
    let token = store.make_token("ca; 1")?;
    let good = token.generate_key("issuing ca", &[1, 0xab], KeyKind::P256)?;
    let certificate = good.self_signed(&CaProfile::named("Test issuing"))?;
    token.store_certificates("issuing ca", &[1, 0xab], [certificate.der().to_vec()])?;
    // The same CKA_ID with another key's certificate, as anybody could store it.
    let root = token.generate_key("root", &[2], KeyKind::P384)?;
    let of_root = root.self_signed(&CaProfile::named("Test root"))?;
    token.store_certificates("forged", &[1, 0xab], [of_root.der().to_vec()])?;
    token.store_certificates("alone", &[7], [b"no certificate".to_vec()])?;
    let said = key(
        &store,
        &with_pin(&token, &["list", "--output", "json", "ca; 1"])?,
    )?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let mut told = json(&said)?;
    let keys = told["keys"].as_array_mut().context("no keys")?;
    keys.sort_by_key(|key| key["id"].as_str().map(str::to_owned));
    let uri = format!("pkcs11:token=ca%3B%201;serial={}", token.serial());
    let certified = |label: &str, id: &str, subject: &str, der: &[u8]| {
        let ends = x509_parser::parse_x509_certificate(der).unwrap().1;
        let ends = ends.validity().not_after.timestamp();
        json!({
            "label": label, "id": id, "subject": subject,
            "notAfter": jiff::Timestamp::from_second(ends).unwrap().to_string(),
            "sha256": hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der)),
            "byIdOnly": false,
        })
    };
    let attributes = json!({
        "sensitive": true, "alwaysSensitive": true, "extractable": false, "neverExtractable": true,
        "local": true, "modifiable": true, "alwaysAuthenticate": false, "sign": true,
    });
    let expected = json!({
        "token": uri,
        "loggedIn": true,
        "isCut": false,
        "keys": [
            {
                "uri": format!("{uri};object=issuing%20ca;id=%01%AB"),
                "class": "private", "label": "issuing ca", "id": "01ab", "type": "P-256",
                "unusable": null, "copies": "none", "attributes": attributes,
                "allowedMechanisms": [], "mechanisms": ["CKM_ECDSA"],
                "certificates": [
                    certified("issuing ca", "01ab", "CN=Test issuing", certificate.der()),
                ],
            },
            {
                "uri": format!("{uri};object=root;id=%02"),
                "class": "private", "label": "root", "id": "02", "type": "P-384",
                "unusable": null, "copies": "none", "attributes": attributes,
                "allowedMechanisms": [], "mechanisms": ["CKM_ECDSA"],
                "certificates": [certified("forged", "01ab", "CN=Test root", of_root.der())],
            },
        ],
        "otherCertificates": [{
            "label": "alone", "id": "07", "subject": null, "notAfter": null, "sha256": null,
            "byIdOnly": false,
        }],
    });
    assert_eq!(told, expected);
    Ok(())
}

#[test]
fn a_key_is_shown_with_the_meaning_of_each_attribute() -> Result<()> {
    let store = Store::of(Provider::SoftHsm)?;
    let token = store.make_token("kept")?;
    let kept = Kept {
        extractable: true,
        ..Kept::PROTECTED
    };
    token.generate_key_kept("copied", &[1], KeyKind::Rsa2048, kept)?;
    let plain = Kept {
        sensitive: false,
        ..Kept::PROTECTED
    };
    token.generate_key_kept("plain", &[2], KeyKind::P256, plain)?;
    token.import_key("imported", &[3], &SoftwareKey::generate()?)?;
    let always = Kept {
        always_authenticate: true,
        ..Kept::PROTECTED
    };
    token.generate_key_kept("asking", &[4], KeyKind::P256, always)?;
    let cases: [(&str, &[&str]); 4] = [
        (
            "pkcs11:object=copied",
            &[
                "RSA-2048",
                "could have been copied, because it is extractable",
                "CKA_EXTRACTABLE:          true: it can leave the token",
                "CKA_NEVER_EXTRACTABLE:    false: it could leave the token once",
                "CKM_RSA_PKCS",
            ],
        ),
        (
            "pkcs11:id=%02",
            &["CKA_SENSITIVE:            false: whoever logs in can read it in plain text"],
        ),
        (
            "pkcs11:object=imported;id=%03",
            &["came from outside", "CKA_LOCAL:                false"],
        ),
        (
            "pkcs11:token=kept;id=%04",
            &["cannot sign with it: it wants its PIN for every signature"],
        ),
    ];
    for (uri, parts) in cases {
        let said = key(&store, &with_pin(&token, &["show", uri])?)?;
        assert_eq!(said.code, Some(0), "{said:?}");
        for part in parts {
            assert!(
                said.stdout.contains(part),
                "{part} is not in {}",
                said.stdout
            );
        }
    }
    let text = key(&store, &with_pin(&token, &["list"])?)?.stdout;
    for part in [
        "KEY ",
        "readable in plain text",
        "can be copied: extractable",
        "could have been copied",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let yaml = key(
        &store,
        &with_pin(&token, &["show", "--output", "yaml", "pkcs11:id=%03"])?,
    )?;
    let yaml: Value = serde_saphyr::from_str(&yaml.stdout)?;
    assert_eq!(
        (&yaml["copies"], &yaml["label"]),
        (&json!("possible"), &json!("imported"))
    );
    Ok(())
}

#[test]
fn without_a_login_only_what_everybody_sees_is_listed_and_no_pin_is_tried() -> Result<()> {
    let case = Case::new()?;
    let said = configured(&case, &["list", "--no-login", "--output", "json"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("there was no login"), "{said:?}");
    let told = json(&said)?;
    assert_eq!(told["loggedIn"], false);
    let keys = told["keys"].as_array().context("no keys")?;
    assert!(!keys.is_empty());
    for key in keys {
        assert_eq!(key["class"], "public", "{key}");
        assert_eq!(key["copies"], Value::Null, "{key}");
        assert_eq!(key["unusable"], "the token shows only its public half");
    }
    assert_eq!(case.logins()?, 0);
    Ok(())
}

#[test]
fn the_pin_of_the_configuration_is_used_and_the_uri_of_a_key_can_be_pasted_into_an_issuer()
-> Result<()> {
    let mut case = Case::new()?;
    let said = configured(&case, &["list", "--output", "json", "issuing"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let told = json(&said)?;
    let label = case.authority.issuing().key().label().to_owned();
    let keys = told["keys"].as_array().context("no keys")?;
    let found = keys.iter().find(|key| key["label"] == label.as_str());
    let uri = found.context("the issuing key is not listed")?["uri"].clone();
    case.spec()["key"] = json!({"uri": uri});
    case.sign(&[])?.chain()?;
    assert_eq!(case.logins()?, 2);
    Ok(())
}

#[test]
fn a_wrong_pin_is_tried_once_and_counts_for_sign_too() -> Result<()> {
    let case = Case::new()?;
    case.write_pin("wrong")?;
    let first = configured(&case, &["list"])?;
    assert!(first.error()?.contains("CKR_PIN_INCORRECT"), "{first:?}");
    for _ in 0..2 {
        let again = configured(&case, &["list"])?;
        let error = again.error()?;
        assert!(error.contains("the token rejected this PIN"), "{error}");
    }
    let sign = case.sign(&[])?;
    assert!(
        sign.error()?.contains("the token rejected this PIN"),
        "{sign:?}"
    );
    assert_eq!(case.logins()?, 1);
    Ok(())
}

#[test]
fn a_pin_without_a_place_for_its_record_is_not_tried_and_is_asked_for_on_a_terminal_only()
-> Result<()> {
    let store = Store::of(Provider::SoftHsm)?;
    let token = store.make_token("asked")?;
    token.generate_key("ca", &[1], KeyKind::P256)?;
    let piped = key(&store, &["list", "--pin-file", "/dev/stdin"])?;
    let error = piped.error()?;
    assert!(
        error.contains("/dev/stdin") && error.contains("has 0 octets"),
        "{error}"
    );
    let folder = tempfile::tempdir()?;
    let record = folder.path().join("tries.json");
    let record = record.to_str().context("the path is not UTF-8")?;
    let nobody = key(&store, &["list", "--pin-record", record])?;
    assert!(
        nobody
            .error()?
            .contains("there is no terminal to ask for the PIN on"),
        "{nobody:?}"
    );
    // `script` of util-linux gives the command a terminal; what it reads goes to that terminal.
    let mut words = vec![env!("CARGO_BIN_EXE_pkcs11-issuer").to_owned()];
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    words.extend(["key", "list", "--output", "json", "--pin-record", record].map(str::to_owned));
    words.extend(["--worker".to_owned(), programs.worker.display().to_string()]);
    words.extend(["--module".to_owned(), store.module().display().to_string()]);
    for (name, value) in store.env() {
        words.extend(["--env".to_owned(), format!("{name}={value}")]);
    }
    words.push("asked".to_owned());
    let mut child = Command::new("script")
        .args([
            "--quiet",
            "--return",
            "--command",
            &words.join(" "),
            "/dev/null",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut typed = child.stdin.take().context("no stdin")?;
    std::io::Write::write_all(&mut typed, format!("{}\n", token.user_pin()).as_bytes())?;
    let output = child.wait_with_output()?;
    drop(typed);
    let shown = String::from_utf8(output.stdout)?;
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("PIN of token asked:"), "{shown}");
    assert!(shown.contains("\"class\": \"private\""), "{shown}");
    assert!(fs::read_to_string(record)?.contains("Accepted"));
    Ok(())
}

#[test]
fn a_key_that_is_not_there_is_an_error_with_the_names_of_those_that_are() -> Result<()> {
    let store = Store::of(Provider::SoftHsm)?;
    let token = store.make_token("few")?;
    token.generate_key("ca", &[1], KeyKind::P256)?;
    token.generate_key("ca", &[2], KeyKind::P256)?;
    let error = |uri: &str| -> Result<String> {
        Ok(key(&store, &with_pin(&token, &["show", uri])?)?
            .error()?
            .to_owned())
    };
    let gone = error("pkcs11:object=other")?;
    assert!(gone.contains("no such key; name one of pkcs11:"), "{gone}");
    let several = error("pkcs11:object=ca")?;
    assert!(
        several.contains("several keys") && several.contains("id=%02"),
        "{several}"
    );
    assert!(error("ca")?.contains("a PKCS#11 URI begins with"));
    Ok(())
}

#[test]
fn a_key_of_ml_dsa_is_listed_with_its_parameter_set() -> Result<()> {
    let store = Store::of(Provider::Kryoptic)?;
    let token = store.make_token("pqc")?;
    token.generate_key("ca", &[1], KeyKind::MlDsa65)?;
    let said = key(
        &store,
        &with_pin(&token, &["list", "--output", "json", "pqc"])?,
    )?;
    let told = json(&said)?;
    let listed = &told["keys"][0];
    assert_eq!(listed["type"], "ML-DSA-65", "{said:?}");
    assert_eq!(listed["mechanisms"], json!(["CKM_ML_DSA"]));
    assert_eq!(listed["unusable"], Value::Null);
    Ok(())
}

#[test]
fn a_list_signs_nothing_and_makes_nothing() -> Result<()> {
    let case = Case::new()?;
    configured(&case, &["list"])?;
    assert_eq!(case.logins()?, 1);
    for function in [
        Function::C_CreateObject,
        Function::C_GenerateKeyPair,
        Function::C_Sign,
    ] {
        assert_eq!(case.library.calls(function)?, 0);
    }
    Ok(())
}
