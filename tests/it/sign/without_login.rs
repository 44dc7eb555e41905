//! Tests tokens that require no login: they are searched without a login first, and used without a PIN.

use anyhow::{Context as _, Result};
use serde_json::json;
use softhsm_test_helpers::{Kept, KeyKind};

use super::{case::Case, keys::issue_with};

/// No `CKF_LOGIN_REQUIRED`.
const OPEN: &str = "C_GetTokenInfo clear=0x4";

/// Returns a case whose issuer signs with a key that needs no login, on a token that requires none.
fn open() -> Result<Case> {
    let mut case = Case::new()?;
    case.library.rules(OPEN)?;
    let token = case.authority.token();
    let key = token.generate_key_kept("open-ca", &[9], KeyKind::P256, Kept::WITHOUT_LOGIN)?;
    issue_with(&mut case, &key)?;
    Ok(case)
}

/// Returns a case whose issuer signs with a key that needs a login, on a token that requires none.
fn closed() -> Result<Case> {
    let case = Case::new()?;
    case.library.rules(OPEN)?;
    Ok(case)
}

fn without_pin(mut case: Case) -> Result<Case> {
    let token = case.token().as_object_mut().context("an object")?;
    token.remove("pinFile");
    Ok(case)
}

#[test]
fn a_key_that_needs_no_login_signs_without_one_with_a_pin_and_without() -> Result<()> {
    for case in [open()?, without_pin(open()?)?] {
        case.sign(&[])?.chain()?;
        assert_eq!(case.logins()?, 0);
        assert_eq!(case.names("pkcs11-issuer-pin-record")?, [""; 0]);
    }
    Ok(())
}

#[test]
fn a_key_that_is_missing_without_a_login_costs_one_login_on_record() -> Result<()> {
    let case = closed()?;
    case.sign(&[])?.chain()?;
    assert_eq!(case.logins()?, 1);
    assert!(!case.names("pkcs11-issuer-pin-record")?.is_empty());
    let missing = without_pin(closed()?)?;
    let said = missing.sign(&[])?;
    let error = said.error()?;
    assert!(
        error.contains("no private key on the token matches"),
        "{error}"
    );
    assert_eq!(missing.logins()?, 0);
    Ok(())
}

#[test]
fn a_token_that_requires_a_login_says_that_no_pin_is_configured() -> Result<()> {
    let case = without_pin(Case::new()?)?;
    let said = case.sign(&[])?;
    let error = said.error()?;
    assert!(
        error.contains(
            "no login to token \"issuing\": the token requires a login (CKF_LOGIN_REQUIRED), and its configuration \
             gives no PIN; add pinFile, pinSecretRef or pinFrom"
        ),
        "{error}"
    );
    assert_eq!(case.logins()?, 0);
    Ok(())
}

#[test]
fn a_key_without_a_grant_looks_like_a_missing_key_even_if_the_login_is_refused() -> Result<()> {
    let mut case = open()?;
    case.token()["grants"] = json!([{"clusterIssuers": true, "keys": ["issuing-ca"]}]);
    case.write_pin("wrong")?;
    // This is the only try. Later runs find it in the PIN record.
    case.sign(&[])?.error()?;
    let ungranted = case.sign(&[])?;
    case.spec()["key"] = json!({"label": "no-such-key"});
    let missing = case.sign(&[])?;
    let missing_by_that_name = missing.error()?.replace("no-such-key", "open-ca");
    assert_eq!(ungranted.error()?, missing_by_that_name);
    assert!(
        missing.error()?.contains("rejected this PIN"),
        "{missing:?}"
    );
    assert_eq!(case.logins()?, 1);
    Ok(())
}
