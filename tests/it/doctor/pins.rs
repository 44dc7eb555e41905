//! doctor spends no try of a PIN.

use anyhow::Result;
use softhsm_test_helpers::Function;

use super::Reported;
use crate::sign::case::Case;

#[test]
fn a_pin_that_was_never_tried_is_not_tried_and_nothing_is_written() -> Result<()> {
    for pin in ["wrong", "right"] {
        let case = Case::new()?;
        if pin == "wrong" {
            case.write_pin("wrong")?;
        }
        let before = case.authority.token().describe()?;
        let reported = Reported::on(&case, &[])?;
        assert_eq!(reported.first(), None, "{reported:?}");
        assert_eq!(reported.code, Some(0));
        for id in ["pin-accepted", "login", "key-found", "probe-signature"] {
            assert_eq!(reported.finding(id)?["state"], "skipped", "{id}");
        }
        assert_eq!(
            reported.finding("login")?["message"],
            "depends on pin-accepted"
        );
        assert_eq!(case.logins()?, 0);
        assert_eq!(case.library.calls(Function::C_OpenSession)?, 0);
        assert_eq!(case.names("pkcs11-issuer-pin")?, [""; 0]);
        let after = case.authority.token().describe()?;
        assert_eq!(format!("{before:?}"), format!("{after:?}"));
    }
    Ok(())
}

#[test]
fn a_pin_that_the_token_rejected_is_not_tried_again() -> Result<()> {
    let case = Case::new()?;
    case.write_pin("wrong")?;
    case.sign(&[])?.error()?;
    for _ in 0..2 {
        let reported = Reported::on(&case, &["--skip", "pin-count-low"])?;
        // SoftHSM's own flag forbids a login, too.
        assert_eq!(
            reported.finding("login")?["state"],
            "skipped",
            "{reported:?}"
        );
        assert_eq!(
            reported.finding("login")?["message"],
            "depends on pin-count-low"
        );
    }
    assert_eq!(case.logins()?, 1);
    Ok(())
}

#[test]
fn a_pin_that_was_accepted_and_has_been_changed_since_is_tried_once_in_any_number_of_runs()
-> Result<()> {
    let case = Case::new()?;
    case.sign(&[])?.chain()?;
    case.library.rules("C_Login rv=CKR_PIN_INCORRECT")?;
    let first = Reported::on(&case, &[])?;
    assert_eq!(first.finding("login")?["state"], "fail", "{first:?}");
    for _ in 0..2 {
        let again = Reported::on(&case, &[])?;
        assert_eq!(again.finding("pin-accepted")?["state"], "fail", "{again:?}");
        assert_eq!(again.finding("login")?["state"], "skipped", "{again:?}");
    }
    assert_eq!(case.logins()?, 2);
    Ok(())
}

#[test]
fn checks_of_keys_that_nobody_wants_cost_no_login() -> Result<()> {
    let case = Case::new()?;
    case.sign(&[])?.chain()?;
    let reported = Reported::on(&case, &["--skip", "login,key"])?;
    assert_eq!(
        reported.finding("pin-accepted")?["state"],
        "ok",
        "{reported:?}"
    );
    assert_eq!(case.logins()?, 1);
    Ok(())
}
