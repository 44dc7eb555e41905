//! Installations without a fault, and those of which a part is missing.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{Reported, command, command_for};
use crate::sign::case::{Case, Said};

#[test]
fn nothing_is_wrong_with_a_whole_installation_and_its_key_signs() -> Result<()> {
    let case = Case::new()?;
    case.sign(&[])?.chain()?;
    let reported = Reported::on(&case, &[])?;
    assert_eq!(reported.first(), None, "{reported:?}");
    assert_eq!(reported.code, Some(0));
    for id in [
        "library-loads",
        "token-present",
        "pin-accepted",
        "login",
        "key-protected",
        "probe-signature",
    ] {
        assert_eq!(reported.finding(id)?["state"], "ok", "{id}");
    }
    assert_eq!(reported.finding("crl-reachable")?["state"], "skipped");
    Ok(())
}

#[test]
fn without_anything_every_check_that_needs_it_is_skipped_with_a_reason() -> Result<()> {
    let reported = Reported::of(&mut command()?)?;
    assert_eq!((reported.code, reported.first()), (Some(0), None));
    for (id, why) in [
        ("config-valid", "--config was not given"),
        ("library-loads", "--config was not given"),
        ("pin-locked", "--config was not given"),
        ("certificate-dates", "--issuer was not given"),
        ("probe-signature", "--issuer was not given"),
    ] {
        let finding = reported.finding(id)?;
        assert_eq!(
            (&finding["state"], &finding["message"]),
            (&json!("skipped"), &json!(why))
        );
    }
    Ok(())
}

#[test]
fn a_check_that_depends_on_a_failed_one_names_it() -> Result<()> {
    let mut case = Case::new()?;
    case.token()["label"] = json!("other");
    let reported = Reported::on(&case, &[])?;
    for id in [
        "token-unique",
        "pin-locked",
        "pin-accepted",
        "login",
        "key-found",
    ] {
        let finding = reported.finding(id)?;
        assert_eq!(finding["message"], "depends on token-present", "{finding}");
    }
    // Those of the certificate do not depend on it.
    assert_eq!(reported.finding("certificate-chain")?["state"], "ok");
    Ok(())
}

#[test]
fn only_the_wanted_checks_are_reported_and_an_unknown_one_is_an_error() -> Result<()> {
    let mut case = Case::new()?;
    case.token()["label"] = json!("other");
    let ids = |reported: &Reported| -> Vec<Value> {
        reported
            .checks
            .iter()
            .map(|finding| finding["id"].clone())
            .collect()
    };
    let only = Reported::on(&case, &["--only", "configuration,token-unique"])?;
    assert_eq!(
        ids(&only),
        ["config-readable", "config-valid", "token-unique"]
    );
    // What failed is not among them.
    assert_eq!(only.code, Some(0));
    let skip = Reported::on(&case, &["--skip", "token", "--only", "token,configuration"])?;
    assert_eq!(ids(&skip), ["config-readable", "config-valid"]);
    let unknown = Said::of(command_for(&case, &["--only", "tokens"])?.output()?)?;
    let error = unknown.error()?;
    assert!(
        error.contains("there is no check \"tokens\"") && error.contains("configuration"),
        "{error}"
    );
    Ok(())
}

#[test]
fn the_text_names_the_fault_its_cure_and_its_page() -> Result<()> {
    let mut case = Case::new()?;
    case.token()["label"] = json!("other");
    let said = Said::of(command_for(&case, &[])?.output()?)?;
    assert_eq!(said.code, Some(3));
    let (_, fault) = said.stdout.split_once("  FAIL").context("no fault")?;
    for part in [
        "token-present",
        "token issuing: ",
        "it shows \"issuing\"",
        "-> Connect the token",
        "docs/doctor.md#token",
    ] {
        assert!(fault.contains(part), "{part} is not in: {fault}");
    }
    assert!(
        said.stdout
            .lines()
            .last()
            .is_some_and(|line| line.starts_with("1 failed, 0 to look at, ")),
        "{said:?}"
    );
    Ok(())
}
