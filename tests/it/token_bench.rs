//! `pkcs11-issuer token bench` on a real SoftHSM token.

use std::{fs, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use softhsm_test_helpers::{Function, KeyKind};

use crate::sign::case::{Case, Said};

fn bench(case: &Case, words: &[&str]) -> Result<Said> {
    let config = case.write("config.yaml", case.configuration.to_string())?;
    let programs = rig::Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
    command.env_clear().current_dir(case.folder());
    command
        .args(["token", "bench", "--duration", "200ms"])
        .args(words);
    command.arg("--worker").arg(programs.worker);
    Said::of(command.arg("--config").arg(config).output()?)
}

#[test]
fn each_mechanism_is_measured_with_each_number_of_sessions_and_one_is_chosen() -> Result<()> {
    let case = Case::new()?;
    let token = case.authority.token();
    token.generate_key("measured", &[0x51], KeyKind::Rsa2048)?;
    let words = [
        "--sessions",
        "2,1",
        "--svg",
        "rates.svg",
        "--output",
        "json",
        "pkcs11:token=issuing;id=%51",
    ];
    let said = bench(&case, &words)?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let told: Value = serde_json::from_str(&said.stdout)?;
    assert_eq!(told["type"], "RSA-2048");
    assert_eq!(told["seconds"], 0.2);
    let points = told["points"].as_array().context("no points")?;
    let measured: Vec<_> = points
        .iter()
        .map(|one| (&one["mechanism"], &one["sessions"]))
        .collect();
    let (pkcs1, pss) = (json!("CKM_RSA_PKCS"), json!("CKM_RSA_PKCS_PSS"));
    let (one, two) = (json!(1), json!(2));
    assert_eq!(
        measured,
        [(&pkcs1, &one), (&pss, &one), (&pkcs1, &two), (&pss, &two)]
    );
    let mut all = 0;
    for point in points {
        let signatures = point["signatures"].as_u64().context("no signatures")?;
        let rate = point["rate"].as_f64().context("no rate")?;
        assert!(signatures > 0 && rate > 0.0, "{point}");
        assert!(
            point["p50Ms"].as_f64() <= point["p99Ms"].as_f64(),
            "{point}"
        );
        all += signatures;
    }
    // Every signature of the table was made by the token, and each worker logged in once.
    assert_eq!(case.library.calls(Function::C_Sign)?, all);
    assert_eq!(case.logins()?, 2);
    let choices = told["choices"].as_array().context("no choices")?;
    assert_eq!(choices.len(), 2);
    for choice in choices {
        let best = choice["bestRate"].as_f64().context("no best rate")?;
        assert!(choice["rate"].as_f64() >= Some(0.95 * best), "{choice}");
    }
    let svg = fs::read_to_string(case.path("rates.svg"))?;
    for part in ["<svg", "CKM_RSA_PKCS_PSS", "sessions", "RSA-2048"] {
        assert!(svg.contains(part), "{part} is not in the chart");
    }
    Ok(())
}

#[test]
fn the_table_says_which_number_of_sessions_to_configure_and_why() -> Result<()> {
    let case = Case::new()?;
    let label = case.authority.issuing().key().label();
    let said = bench(
        &case,
        &["--sessions", "1", &format!("pkcs11:object={label}")],
    )?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stdout.starts_with("MECHANISM  SESSIONS  PER SECOND"),
        "{said:?}"
    );
    assert!(
        said.stdout.contains("CKM_ECDSA: sessions: 1, because"),
        "{said:?}"
    );
    Ok(())
}

#[test]
fn nothing_is_measured_without_a_login_or_with_a_key_that_is_not_there() -> Result<()> {
    let case = Case::new()?;
    let refused = bench(&case, &["--no-login", "pkcs11:id=%51"])?;
    assert!(refused.error()?.contains("requires a login"), "{refused:?}");
    let gone = bench(&case, &["pkcs11:object=gone"])?;
    assert!(gone.error()?.contains("no private key"), "{gone:?}");
    assert_eq!(case.library.calls(Function::C_Sign)?, 0);
    Ok(())
}
