//! The folder for support or an auditor.

use std::{fs, os::unix::fs::PermissionsExt as _};

use anyhow::Result;
use serde_json::{Value, json};

use super::command_for;
use crate::sign::case::{Case, Said};

#[test]
fn the_evidence_has_the_report_and_what_it_is_about_and_no_secret() -> Result<()> {
    let mut case = Case::new()?;
    case.configuration["modules"]["softhsm"]["env"]["HSM_PASSWORD"] = json!("open-sesame");
    case.sign(&[])?.chain()?;
    let said = Said::of(command_for(&case, &["--evidence", "evidence"])?.output()?)?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let folder = case.path("evidence");
    assert_eq!(fs::metadata(&folder)?.permissions().mode() & 0o777, 0o700);
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let text = fs::read_to_string(&path)?;
        for secret in [case.authority.token().user_pin(), "open-sesame"] {
            assert!(!text.contains(secret), "{secret} is in {}", path.display());
        }
        let _: Value = serde_json::from_str(&text)?;
        names.push(entry_name(&path));
    }
    names.sort();
    assert_eq!(
        names,
        [
            "configuration.json",
            "issuer.json",
            "program.json",
            "report.json",
            "tokens.json"
        ]
    );
    let configuration = fs::read_to_string(folder.join("configuration.json"))?;
    assert!(
        configuration.contains("\"HSM_PASSWORD\": \"<redacted>\""),
        "{configuration}"
    );
    let tokens = fs::read_to_string(folder.join("tokens.json"))?;
    assert!(tokens.contains(case.authority.token().serial()), "{tokens}");
    Ok(())
}

fn entry_name(path: &std::path::Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

#[test]
fn evidence_replaces_nothing() -> Result<()> {
    let case = Case::new()?;
    fs::create_dir(case.path("evidence"))?;
    let said = Said::of(command_for(&case, &["--evidence", "evidence"])?.output()?)?;
    assert!(
        said.error()?.contains("name one that does not exist"),
        "{said:?}"
    );
    Ok(())
}
