//! Tests which keys may sign: those that are protected as the operator requires. A user without a grant learns nothing about
//! other keys.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, Kept, KeyKind, SoftwareKey, TestKey};

use super::case::{Case, Said};

const EXTRACTABLE: Kept = Kept {
    extractable: true,
    ..Kept::PROTECTED
};
const PLAIN: Kept = Kept {
    sensitive: false,
    ..Kept::PROTECTED
};
const ALWAYS_AUTHENTICATE: Kept = Kept {
    always_authenticate: true,
    ..Kept::PROTECTED
};

/// Makes the issuer sign with another key, which the same root certifies.
pub(crate) fn issue_with(case: &mut Case, key: &TestKey) -> Result<()> {
    let profile = CaProfile::named("Test other").path_length(0);
    let issuing = case.authority.root().issue(key, &profile)?;
    let pem = json!({"pem": issuing.pem(), "rootPem": case.authority.root().pem()});
    case.spec()["certificate"] = pem;
    case.spec()["key"] = json!({"label": key.label()});
    Ok(())
}

/// Returns a case whose issuer signs with a new key with this protection.
fn with_key(kept: Kept) -> Result<Case> {
    let mut case = Case::new()?;
    let token = case.authority.token();
    let key = token.generate_key_kept("other-ca", &[9], KeyKind::P256, kept)?;
    issue_with(&mut case, &key)?;
    Ok(case)
}

/// Signs under these rules for keys and returns the error, or an empty string if a certificate is issued.
fn said_under(case: &mut Case, rules: &Value) -> Result<String> {
    case.token()["keys"] = rules.clone();
    let said = case.sign(&[])?;
    if said.code == Some(0) {
        said.chain()?;
        return Ok(String::new());
    }
    Ok(said.error()?.to_owned())
}

/// Checks cases of rules for keys with parts of the expected error. No parts mean that a certificate is issued.
fn check(mut case: Case, cases: &[(Value, &[&str])]) -> Result<()> {
    for (rules, expected) in cases {
        let error = said_under(&mut case, rules)?;
        assert_eq!(error.is_empty(), expected.is_empty(), "{rules}: {error}");
        for part in *expected {
            assert!(error.contains(part), "{rules}: {part} is not in: {error}");
        }
    }
    Ok(())
}

#[test]
fn an_extractable_key_signs_only_where_the_configuration_allows_it() -> Result<()> {
    let refused: &[&str] = &[
        "key \"other-ca\" (id 09) is not protected as the operator requires",
        "CKA_EXTRACTABLE is true and must be false",
        "relax `keys` of the token in the configuration",
    ];
    let cases: [(Value, &[&str]); 3] = [
        (json!({}), refused),
        (json!({"unknown": "Allow"}), refused),
        (json!({"extractable": "Allow"}), &[]),
    ];
    check(with_key(EXTRACTABLE)?, &cases)
}

#[test]
fn a_key_that_can_be_read_in_plain_text_never_signs() -> Result<()> {
    let refused: &[&str] = &["CKA_SENSITIVE is false and must be true"];
    let cases: [(Value, &[&str]); 2] = [
        (json!({}), refused),
        (json!({"extractable": "Allow", "unknown": "Allow"}), refused),
    ];
    check(with_key(PLAIN)?, &cases)
}

#[test]
fn a_key_with_hidden_attributes_signs_only_where_the_configuration_allows_it() -> Result<()> {
    let case = Case::new()?;
    case.library
        .rules("C_GetAttributeValue hide=CKA_EXTRACTABLE")?;
    let refused: &[&str] = &["the token does not report CKA_EXTRACTABLE, which must be false"];
    let cases: [(Value, &[&str]); 3] = [
        (json!({}), refused),
        (json!({"unknown": "Allow"}), &[]),
        (json!({"extractable": "Allow"}), &[]),
    ];
    check(case, &cases)
}

#[test]
fn an_imported_key_signs_by_default_but_not_where_a_local_key_is_required() -> Result<()> {
    let mut case = Case::new()?;
    let software = SoftwareKey::generate()?;
    let key = case
        .authority
        .token()
        .import_key("other-ca", &[9], &software)?;
    issue_with(&mut case, &key)?;
    let cases: [(Value, &[&str]); 3] = [
        (json!({}), &[]),
        (
            json!({"local": "Require"}),
            &["CKA_LOCAL is false and must be true"],
        ),
        (
            json!({"neverExtractable": "Require", "unknown": "Allow"}),
            &["CKA_NEVER_EXTRACTABLE is false and must be true"],
        ),
    ];
    check(case, &cases)?;
    // A key that the token has generated.
    let strict = json!({"neverExtractable": "Require", "local": "Require"});
    check(Case::new()?, &[(strict, &[])])
}

#[test]
fn nothing_is_told_about_a_key_that_is_not_granted() -> Result<()> {
    let none = {
        let mut case = Case::new()?;
        case.spec()["key"] = json!({"label": "other-ca"});
        case.token()["grants"] = json!([{"clusterIssuers": true, "keys": ["issuing-ca"]}]);
        let said = case.sign(&[])?;
        said.error()?.to_owned()
    };
    assert!(
        none.contains("no private key on the token matches"),
        "{none}"
    );
    for kept in [Kept::PROTECTED, EXTRACTABLE, PLAIN, ALWAYS_AUTHENTICATE] {
        let mut case = with_key(kept)?;
        case.token()["grants"] = json!([{"clusterIssuers": true, "keys": ["issuing-ca"]}]);
        let said = case.sign(&[])?;
        assert_eq!(said.error()?, none, "{kept:?}");
        case.token()["grants"] = json!([{"clusterIssuers": true, "keys": ["other-ca"]}]);
        let said = case.sign(&[])?;
        match said.code {
            Some(0) => assert_eq!(kept, Kept::PROTECTED),
            _ => assert!(said.error()?.contains("\"other-ca\" (id 09)"), "{said:?}"),
        }
    }
    Ok(())
}

#[test]
fn the_log_tells_the_operator_about_a_key_that_is_not_granted() -> Result<()> {
    let mut case = with_key(Kept::PROTECTED)?;
    case.token()["grants"] = json!([{"clusterIssuers": true, "keys": ["issuing-ca"]}]);
    let output = case.command(&[])?.env("RUST_LOG", "info").output()?;
    let said = Said::of(output)?;
    for part in [
        "no grant of the token covers it",
        "other-ca",
        "cluster issuers",
    ] {
        assert!(said.stderr.contains(part), "{part}: {said:?}");
    }
    Ok(())
}

#[test]
fn a_second_key_object_without_a_grant_does_not_hide_the_granted_one() -> Result<()> {
    let mut case = Case::new()?;
    let software = SoftwareKey::generate()?;
    let token = case.authority.token();
    token.import_key("theirs", &[8], &software)?;
    let key = token.import_key("ours", &[9], &software)?;
    issue_with(&mut case, &key)?;
    case.spec()
        .as_object_mut()
        .context("the spec is an object")?
        .remove("key");
    let several = case.sign(&[])?;
    let error = several.error()?;
    assert!(
        error.contains("2 private keys on the token match"),
        "{error}"
    );
    case.token()["grants"] = json!([{"clusterIssuers": true, "keys": ["ours"]}]);
    case.sign(&[])?.chain()?;
    case.token()["grants"] = json!([{"clusterIssuers": true, "keys": ["issuing-ca"]}]);
    let ungranted = case.sign(&[])?;
    let error = ungranted.error()?;
    assert!(
        error.contains("no private key on the token matches"),
        "{error}"
    );
    Ok(())
}
