//! `pkcs11-issuer token` on real SoftHSM tokens.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;
use softhsm_test_helpers::{Function, Provider, Store, TestToken};

use crate::sign::case::Said;

/// Runs `token` with the library of a store.
fn token(store: &Store, words: &[&str]) -> Result<Said> {
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
    command.env_clear().arg("token").args(words);
    command.arg("--worker").arg(programs.worker);
    command.arg("--module").arg(store.module());
    for (name, value) in store.env() {
        command.arg("--env").arg(format!("{name}={value}"));
    }
    Said::of(command.output()?)
}

fn two() -> Result<(Store, TestToken, TestToken)> {
    let store = Store::of(Provider::SoftHsm)?;
    let (one, other) = (
        store.make_token("issuing")?,
        store.make_token("root; \u{e9}")?,
    );
    Ok((store, one, other))
}

#[test]
fn every_token_is_listed_with_a_uri_that_names_it_and_the_state_of_its_pin() -> Result<()> {
    let (store, one, other) = two()?;
    // A wrong PIN sets CKF_USER_PIN_COUNT_LOW.
    other.try_pin("wrong").unwrap_err();
    let said = token(&store, &["list", "--output", "json"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let told: Value = serde_json::from_str(&said.stdout)?;
    let tokens = told["tokens"].as_array().context("no tokens")?;
    for (token, count_low) in [(&one, false), (&other, true)] {
        let found = tokens.iter().find(|found| found["label"] == token.label());
        let found = found.with_context(|| token.label().to_owned())?;
        assert_eq!(found["serial"], token.serial());
        assert_eq!(found["pin"]["set"], true);
        assert_eq!(found["pin"]["countLow"], count_low);
        let uri: hsm::Uri = found["uri"].as_str().context("no URI")?.parse()?;
        let selector = uri.token().context("names no token")?;
        assert_eq!(selector.label.as_deref(), Some(token.label()));
        assert_eq!(selector.serial.as_deref(), Some(token.serial()));
    }
    let text = token(&store, &["list"])?.stdout;
    assert!(text.starts_with("TOKEN "), "{text}");
    assert!(text.contains("a wrong PIN was given"), "{text}");
    // SoftHSM always shows one more token, which nobody has initialized.
    assert!(text.contains("token is not initialized"), "{text}");
    Ok(())
}

#[test]
fn a_token_is_found_by_uri_label_and_serial_number_and_shown_in_each_format() -> Result<()> {
    let (store, one, _other) = two()?;
    let uri = format!("pkcs11:token=issuing;serial={}", one.serial());
    for name in [uri.as_str(), one.label(), one.serial()] {
        let json = token(&store, &["show", "--output", "json", name])?;
        let json: Value = serde_json::from_str(&json.stdout)?;
        assert_eq!(json["serial"], one.serial(), "{name}");
        let yaml = token(&store, &["show", "--output", "yaml", name])?.stdout;
        let yaml: Value = serde_saphyr::from_str(&yaml)?;
        assert_eq!(yaml, json);
    }
    let text = token(&store, &["show", "issuing"])?.stdout;
    assert!(text.contains(&format!("URI:            {uri}\n")), "{text}");
    Ok(())
}

#[test]
fn a_name_that_fits_no_token_or_several_is_an_error_with_the_names_that_do() -> Result<()> {
    let (store, one, _other) = two()?;
    let error = token(&store, &["show", "other"])?;
    assert!(
        error
            .error()?
            .contains("there is no such token; name one of pkcs11:"),
        "{error:?}"
    );
    let error = token(&store, &["show"])?;
    assert!(error.error()?.contains("several such tokens"), "{error:?}");
    assert!(error.error()?.contains(one.serial()), "{error:?}");
    Ok(())
}

#[test]
fn the_mechanisms_are_those_that_the_token_claims_and_those_used_here_are_marked() -> Result<()> {
    let (store, _one, _other) = two()?;
    let json = token(&store, &["mechanisms", "--output", "json", "issuing"])?;
    let json: Value = serde_json::from_str(&json.stdout)?;
    let all = json["mechanisms"].as_array().context("no mechanisms")?;
    let named = |name: &str| all.iter().find(|one| one["name"] == name);
    let ecdsa = named("CKM_ECDSA").context("no ECDSA")?;
    assert_eq!(
        (&ecdsa["used"], &ecdsa["sign"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    assert!(ecdsa["largestKey"].as_u64() >= Some(521), "{ecdsa}");
    let rsa_key = named("CKM_RSA_PKCS_KEY_PAIR_GEN").context("no RSA keys")?;
    assert_eq!(
        (&rsa_key["used"], &rsa_key["generateKeyPair"]),
        (&Value::Bool(false), &Value::Bool(true))
    );
    Ok(())
}

#[test]
fn no_command_about_tokens_logs_in_or_opens_a_session() -> Result<()> {
    let (store, one, _other) = two()?;
    let library = one.with_faults()?;
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let env = library.env();
    for words in [
        &["list"][..],
        &["show", "issuing"],
        &["mechanisms", "issuing"],
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
        command.env_clear().arg("token").args(words);
        command.arg("--worker").arg(&programs.worker);
        command.arg("--module").arg(library.module());
        for (name, value) in &env {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        let said = Said::of(command.output()?)?;
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!(library.calls(Function::C_Login)?, 0);
    assert_eq!(library.calls(Function::C_OpenSession)?, 0);
    assert!(library.calls(Function::C_GetTokenInfo)? > 0);
    drop(store);
    Ok(())
}

#[test]
fn a_library_that_cannot_be_loaded_is_named_with_the_reason_and_what_to_do() -> Result<()> {
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
    command
        .env_clear()
        .args(["token", "show", "--module", "/gone.so"]);
    let said = Said::of(command.arg("--worker").arg(programs.worker).output()?)?;
    let error = said.error()?;
    for part in ["/gone.so", "failed to load", "check the path"] {
        assert!(error.contains(part), "{error}");
    }
    Ok(())
}
