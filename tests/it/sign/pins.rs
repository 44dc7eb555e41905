//! A token's PIN is tried once per version in any number of runs, and wrong PINs at most twice in a row.

use std::{
    fs,
    io::Write as _,
    process::{Child, Stdio},
};

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::PATIENCE;
use serde_json::{Value, json};

use super::case::{Case, Said};

const RECORD: &str = "pkcs11-issuer-pin-record.json";

/// Returns the token's entry in the PIN record.
fn record(case: &Case) -> Result<Value> {
    let text = fs::read_to_string(case.path(RECORD)).context("read the PIN record")?;
    let record: Value = serde_json::from_str(&text)?;
    let prefix = format!("token.{}.", case.authority.token().serial());
    let tokens = record["tokens"].as_object().into_iter().flatten();
    let mut records = tokens.filter(|(key, _)| key.starts_with(&prefix));
    Ok(records
        .next()
        .map_or(Value::Null, |(_, record)| record.clone()))
}

#[test]
fn a_wrong_pin_is_tried_once_in_any_number_of_runs_and_then_the_right_one() -> Result<()> {
    let case = Case::new()?;
    case.write_pin("wrong")?;
    let first = case.sign(&[])?;
    let error = first.error()?;
    for part in ["CKR_PIN_INCORRECT", "/pin", RECORD] {
        assert!(error.contains(part), "{part} is not in: {error}");
    }
    for _ in 0..3 {
        let again = case.sign(&[])?;
        let error = again.error()?;
        assert!(error.contains("the token rejected this PIN"), "{error}");
    }
    assert_eq!(case.logins()?, 1);
    assert_eq!(record(&case)?["state"], "Rejected");
    assert_eq!(record(&case)?["rejectedInARow"], 1);
    case.write_pin(case.authority.token().user_pin())?;
    case.sign(&[])?.chain()?;
    assert_eq!(case.logins()?, 2);
    assert_eq!(record(&case)?["state"], "Accepted");
    assert_eq!(record(&case)?["rejectedInARow"], 0);
    // Back to the PIN that the token has rejected.
    case.write_pin("wrong")?;
    let back = case.sign(&[])?;
    let error = back.error()?;
    assert!(error.contains("the token rejected this PIN"), "{error}");
    assert_eq!(case.logins()?, 2);
    case.write_pin(case.authority.token().user_pin())?;
    case.sign(&[])?.chain()?;
    assert_eq!(case.logins()?, 3);
    Ok(())
}

#[test]
fn after_two_wrong_pins_no_edit_causes_a_login_until_the_record_is_removed() -> Result<()> {
    let mut case = Case::new()?;
    for pin in ["wrong", "wrong again"] {
        case.write_pin(pin)?;
        case.sign(&[])?.error()?;
    }
    assert_eq!(case.logins()?, 2);
    let right = case.authority.token().user_pin().to_owned();
    case.write_pin(&right)?;
    let error = |case: &Case| -> Result<()> {
        let said = case.sign(&[])?;
        let error = said.error()?;
        assert!(error.contains("2 logins in a row were rejected"), "{error}");
        assert!(
            error.contains("to clear the record of its tries, remove"),
            "{error}"
        );
        Ok(())
    };
    error(&case)?;
    // Change the PIN file, the name of the token and the issuer.
    let other = case.write("other-pin", &right)?;
    case.token()["pinFile"] = json!(other);
    error(&case)?;
    let token = case.configuration["tokens"]["issuing"].take();
    case.configuration["tokens"] = json!({"renamed": token});
    case.spec()["token"] = json!("renamed");
    case.issuer["metadata"]["name"] = json!("renamed");
    error(&case)?;
    assert_eq!(case.logins()?, 2);
    assert_eq!(record(&case)?["rejectedInARow"], 2);
    fs::remove_file(case.path(RECORD))?;
    case.sign(&[])?.chain()?;
    assert_eq!(case.logins()?, 3);
    Ok(())
}

/// Starts all runs before waiting for the first, and returns their outputs.
fn at_the_same_time(case: &Case, runs: usize) -> Result<Vec<Said>> {
    let mut running = Vec::new();
    for _ in 0..runs {
        let mut command = case.command(&[])?;
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        running.push(command.spawn()?);
    }
    let said = running.into_iter();
    said.map(|child| Said::of(child.wait_with_output()?))
        .collect()
}

#[test]
fn runs_at_the_same_time_try_a_wrong_pin_once() -> Result<()> {
    let case = Case::new()?;
    case.write_pin("wrong")?;
    // Long enough for all runs to read the record if it were not locked.
    case.library.rules("C_Login delay_ms=1500")?;
    for said in at_the_same_time(&case, 4)? {
        said.error()?;
    }
    assert_eq!(case.logins()?, 1);
    assert_eq!(record(&case)?["rejectedInARow"], 1);
    Ok(())
}

#[test]
fn runs_at_the_same_time_with_the_right_pin_all_sign() -> Result<()> {
    let case = Case::new()?;
    for said in at_the_same_time(&case, 24)? {
        said.chain()?;
    }
    Ok(())
}

#[test]
fn a_run_waits_for_a_token_that_is_not_found_at_first() -> Result<()> {
    let case = Case::new()?;
    // Three calls per look. SoftHSM shows no token while another run logs in.
    case.library.rules("C_GetSlotList nothing count=9")?;
    case.sign(&[])?.chain()?;
    assert_eq!(case.logins()?, 1);
    // A token that stays away is an error.
    case.library.rules("C_GetSlotList nothing")?;
    let said = case.sign(&[])?;
    assert!(said.error()?.contains("was not found"), "{said:?}");
    assert_eq!(case.logins()?, 1);
    Ok(())
}

/// Starts a run whose `C_Login` never returns. The `C_Login` of the next run does.
async fn hanging_in_its_login(case: &Case) -> Result<Child> {
    case.library.rules("C_Login hang count=1")?;
    let mut command = case.command(&[])?;
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let running = command.spawn()?;
    until("C_Login", PATIENCE, async || {
        Ok((case.logins()? == 1).then_some(()))
    })
    .await?;
    Ok(running)
}

#[tokio::test]
async fn a_try_is_recorded_before_the_token_sees_the_pin_and_survives_the_run() -> Result<()> {
    let case = Case::new()?;
    case.write_pin("wrong")?;
    let mut running = hanging_in_its_login(&case).await?;
    assert_eq!(record(&case)?["state"], "Trying");
    running.kill()?;
    running.wait()?;
    assert_eq!(record(&case)?["state"], "Trying");
    case.library.rules("")?;
    // This token reports that no PIN was rejected, so the next run may try once.
    case.sign(&[])?.error()?;
    case.sign(&[])?.error()?;
    assert_eq!(case.logins()?, 2);
    assert_eq!(record(&case)?["rejectedInARow"], 1);
    Ok(())
}

#[tokio::test]
async fn a_run_waits_for_the_login_of_another_and_says_so() -> Result<()> {
    let case = Case::new()?;
    case.write_pin("wrong")?;
    let mut first = hanging_in_its_login(&case).await?;
    let told = case.path("stderr");
    let mut second = case
        .command(&[])?
        .stdout(Stdio::null())
        .stderr(fs::File::create(&told)?)
        .spawn()?;
    until("the second run to wait", PATIENCE, async || {
        let text = fs::read_to_string(&told)?;
        Ok(text
            .contains("waiting for the login of another process")
            .then_some(()))
    })
    .await?;
    assert_eq!(case.logins()?, 1);
    first.kill()?;
    first.wait()?;
    assert_eq!(second.wait()?.code(), Some(1));
    assert_eq!(case.logins()?, 2);
    assert_eq!(record(&case)?["state"], "Rejected");
    Ok(())
}

#[test]
fn the_pin_record_may_be_in_another_folder() -> Result<()> {
    let mut case = Case::new()?;
    let folder = tempfile::tempdir()?;
    let elsewhere = folder.path().join("tries");
    case.token()["pinRecord"] = json!(elsewhere);
    case.sign(&[])?.chain()?;
    assert!(fs::read_to_string(&elsewhere)?.contains("Accepted"));
    assert_eq!(case.names("pkcs11-issuer")?, [""; 0]);
    Ok(())
}

#[test]
fn a_pin_file_on_the_command_line_replaces_a_secret() -> Result<()> {
    for source in [
        json!({"pinSecretRef": {"name": "hsm", "key": "pin"}}),
        json!({"pinFrom": {"clusterIssuers": true}}),
    ] {
        let mut case = Case::new()?;
        let token = case.token().as_object_mut().context("no token")?;
        token.remove("pinFile");
        token.extend(source.as_object().context("no source")?.clone());
        case.spec()["pinSecretRef"] = json!({"name": "hsm", "key": "pin"});
        case.sign(&["--pin-file", "pin"])?.chain()?;
        assert_eq!(record(&case)?["state"], "Accepted", "{source}");
    }
    Ok(())
}

/// Signs with a PIN that comes through a pipe.
fn sign_with_piped(case: &Case, pin: &str, more: &[&str]) -> Result<Said> {
    let arguments = [&["--pin-file", "/dev/fd/0"], more].concat();
    let mut running = case
        .command(&arguments)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut pipe = running.stdin.take().context("no pipe")?;
    pipe.write_all(pin.as_bytes())?;
    drop(pipe);
    Said::of(running.wait_with_output()?)
}

#[test]
fn a_pin_from_a_descriptor_needs_a_record_and_is_tried_once_when_wrong() -> Result<()> {
    let mut case = Case::new()?;
    let right = case.authority.token().user_pin().to_owned();
    // A configured PIN record is used for every source of the PIN.
    sign_with_piped(&case, &format!("{right}\n"), &[])?.chain()?;
    assert_eq!(record(&case)?["state"], "Accepted");
    let said = sign_with_piped(&case, &right, &["--pin-record", "tries"])?;
    assert!(said.error()?.contains("remove --pin-record"), "{said:?}");
    let token = case.token().as_object_mut().context("no token")?;
    token.remove("pinFile");
    token.insert(
        "pinSecretRef".to_owned(),
        json!({"name": "hsm", "key": "pin"}),
    );
    let said = sign_with_piped(&case, &right, &[])?;
    assert!(
        said.error()?
            .contains("name a file for it with --pin-record"),
        "{said:?}"
    );
    let before = case.logins()?;
    for _ in 0..2 {
        let said = sign_with_piped(&case, "wrong", &["--pin-record", "tries"])?;
        for part in ["/dev/fd/0", "tries"] {
            assert!(said.error()?.contains(part), "{said:?}");
        }
    }
    assert_eq!(case.logins()?, before + 1);
    sign_with_piped(&case, &right, &["--pin-record", "tries"])?.chain()?;
    assert!(fs::read_to_string(case.path("tries"))?.contains("Accepted"));
    let said = sign_with_piped(&case, "", &["--pin-record", "tries"])?;
    assert!(said.error()?.contains("/dev/fd/0 has 0 octets"), "{said:?}");
    Ok(())
}

#[test]
fn a_pin_file_on_the_command_line_does_not_evade_the_record_of_the_configured_one() -> Result<()> {
    let case = Case::new()?;
    let folder = tempfile::tempdir()?;
    let elsewhere = folder.path().join("pin");
    fs::write(&elsewhere, "wrong")?;
    let elsewhere = elsewhere.to_str().context("not UTF-8")?;
    for _ in 0..3 {
        let said = case.sign(&["--pin-file", elsewhere])?;
        assert!(said.error()?.contains(elsewhere), "{said:?}");
    }
    assert_eq!(case.logins()?, 1);
    assert_eq!(record(&case)?["state"], "Rejected");
    case.sign(&[])?.chain()?;
    Ok(())
}

#[test]
fn the_pin_is_in_no_output_and_no_file() -> Result<()> {
    let case = Case::new()?;
    let right = case.authority.token().user_pin().to_owned();
    for pin in ["wrong-and-secret", &right] {
        case.write_pin(pin)?;
        let said = case.sign(&["--explain", "--output", "json"])?;
        assert!(!format!("{said:?}").contains(pin), "{said:?}");
        for entry in fs::read_dir(case.folder())? {
            let path = entry?.path();
            if path != case.path("pin") {
                let octets = fs::read(&path)?;
                let found = octets.windows(pin.len()).any(|part| part == pin.as_bytes());
                assert!(!found, "the PIN is in {}", path.display());
            }
        }
    }
    Ok(())
}
