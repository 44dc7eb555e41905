//! Tests that each kind of rule acts as `tests/shim/README.md` describes.

use std::{
    fs,
    io::Write,
    os::unix::process::ExitStatusExt,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use softhsm_test_helpers::{
    Error, FaultyModule, Function, KeyKind, Store, TestKey,
    order::{Order, Task},
    program::program,
};

const MESSAGE: &[u8] = b"to be signed";

fn broken() -> (FaultyModule, TestKey) {
    let token = Store::new().unwrap().make_token("broken").unwrap();
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    (token.with_faults().unwrap(), key)
}

fn verifies(key: &TestKey, signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_octets())
        .verify(MESSAGE, signature)
        .is_ok()
}

/// Returns the error of the helper process, which makes its PKCS#11 calls one after the other.
fn refusal(faulty: &FaultyModule, key: &TestKey) -> String {
    let error = faulty.sign_message(key, MESSAGE).unwrap_err();
    let Error::Refused(why) = error else {
        panic!("{error:?}")
    };
    why
}

fn ended(faulty: &FaultyModule, key: &TestKey, rules: &str) -> ExitStatus {
    faulty.rules(rules).unwrap();
    let error = faulty.sign_message(key, MESSAGE).unwrap_err();
    let Error::Ended(status) = error else {
        panic!("{rules}: {error:?}")
    };
    status
}

#[test]
fn without_rules_the_library_behaves_like_the_tokens_own() {
    let (faulty, key) = broken();
    assert_eq!(faulty.calls(Function::C_Login).unwrap(), 0);
    let signature = faulty.sign_message(&key, MESSAGE).unwrap();
    assert!(verifies(&key, &signature));
    for function in [
        Function::C_Initialize,
        Function::C_Login,
        Function::C_SignInit,
        Function::C_Sign,
    ] {
        assert_eq!(faulty.calls(function).unwrap(), 1, "{function:?}");
        assert_eq!(faulty.faults(function).unwrap(), 0, "{function:?}");
    }
}

#[test]
fn the_caller_gets_the_code_of_the_rule() {
    let (faulty, key) = broken();
    for (rules, expected) in [
        ("C_Sign rv=CKR_DEVICE_ERROR", "Pkcs11(DeviceError, Sign)"),
        ("C_Login rv=0xa4", "Pkcs11(PinLocked, Login)"),
        (
            "C_SignInit rv=0x80000384",
            "Pkcs11(VendorDefined(2147484548), SignInit)",
        ),
        (
            "* rv=CKR_TOKEN_NOT_PRESENT",
            "Pkcs11(TokenNotPresent, Initialize)",
        ),
    ] {
        faulty.rules(rules).unwrap();
        assert_eq!(refusal(&faulty, &key), expected);
    }
    faulty.rules("").unwrap();
    assert!(faulty.sign_message(&key, MESSAGE).is_ok());
}

#[test]
fn with_after_call_the_library_does_the_call_before_the_code_is_returned() {
    let (faulty, key) = broken();
    // The code is success, so only the next call shows whether the library was initialised.
    faulty.rules("C_Initialize rv=CKR_OK").unwrap();
    assert_eq!(
        refusal(&faulty, &key),
        "Pkcs11(CryptokiNotInitialized, GetSlotList)"
    );
    faulty.rules("C_Initialize rv=CKR_OK after_call").unwrap();
    assert!(faulty.sign_message(&key, MESSAGE).is_ok());
}

#[test]
fn a_rule_counts_calls_of_all_processes() {
    let (faulty, key) = broken();
    faulty
        .rules("C_Sign rv=CKR_GENERAL_ERROR skip=1 every=2 count=2")
        .unwrap();
    let outcomes: Vec<_> = (0..7)
        .map(|_| faulty.sign_message(&key, MESSAGE).is_ok())
        .collect();
    assert_eq!(outcomes, [true, true, false, true, false, true, true]);
    assert_eq!(faulty.calls(Function::C_Sign).unwrap(), 7);
    assert_eq!(faulty.faults(Function::C_Sign).unwrap(), 2);
}

#[test]
fn new_rules_count_from_zero_even_if_their_text_is_the_same() {
    let (faulty, key) = broken();
    for _ in 0..2 {
        faulty.rules("C_Sign rv=CKR_GENERAL_ERROR count=1").unwrap();
        assert!(faulty.sign_message(&key, MESSAGE).is_err());
        assert!(faulty.sign_message(&key, MESSAGE).is_ok());
    }
}

#[test]
fn a_crash_ends_one_process_and_not_the_next() {
    let (faulty, key) = broken();
    let crash = |rules| {
        let status = ended(&faulty, &key, rules);
        assert!(faulty.sign_message(&key, MESSAGE).is_ok(), "{rules}");
        status
    };
    assert_eq!(crash("C_Sign segv count=1").signal(), Some(11));
    assert_eq!(crash("C_SignInit abort count=1").signal(), Some(6));
    assert_eq!(crash("C_FindObjects exit count=1").code(), Some(1));
    assert_eq!(crash("C_OpenSession exit=42 count=1").code(), Some(42));
}

#[test]
fn a_hung_call_does_not_return() {
    let (faulty, key) = broken();
    faulty.rules("C_Login hang count=1").unwrap();
    let tool = program("softhsm-test-helpers", "softhsm-token-tool").unwrap();
    let mut child = Command::new(tool)
        .env_clear()
        .envs(faulty.env())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let order = Order {
        module: faulty.module().into(),
        task: Task::Sign {
            serial: key.token().serial().into(),
            user_pin: key.token().user_pin().into(),
            label: key.label().into(),
            id: key.id().into(),
            kind: key.kind(),
            octets: vec![7; 32],
        },
    };
    let order = serde_json::to_vec(&order).unwrap();
    child.stdin.take().unwrap().write_all(&order).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    let asleep = || {
        // proc(5): the state follows the name in parentheses.
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        stat.contains(") S ")
    };
    while faulty.faults(Function::C_Login).unwrap() == 0 || !asleep() {
        assert!(Instant::now() < deadline, "the call never hung");
        thread::yield_now();
    }
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    assert_eq!(child.wait_with_output().unwrap().stdout, b"");
    assert!(faulty.sign_message(&key, MESSAGE).is_ok());
}

#[test]
fn a_delayed_call_returns_after_the_delay() {
    let (faulty, key) = broken();
    faulty.rules("C_Sign delay_ms=300").unwrap();
    let start = Instant::now();
    assert!(verifies(&key, &faulty.sign_message(&key, MESSAGE).unwrap()));
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_corrupt_signature_does_not_verify() {
    let (faulty, key) = broken();
    faulty.rules("C_Sign corrupt").unwrap();
    assert!(!verifies(
        &key,
        &faulty.sign_message(&key, MESSAGE).unwrap()
    ));
}

#[test]
fn with_wrong_key_the_signature_verifies_with_the_other_key() {
    let (faulty, key) = broken();
    let other = key
        .token()
        .generate_key("other", &[2], KeyKind::P256)
        .unwrap();
    faulty.rules("C_SignInit wrong_key=other").unwrap();
    let signature = faulty.sign_message(&key, MESSAGE).unwrap();
    assert!(verifies(&other, &signature));
    assert!(!verifies(&key, &signature));
}

#[test]
fn a_rule_can_hide_all_keys_and_all_tokens() {
    let (faulty, key) = broken();
    faulty.rules("C_FindObjects nothing").unwrap();
    assert_eq!(refusal(&faulty, &key), "0 keys match");
    faulty.rules("C_GetSlotList nothing").unwrap();
    let serial = key.token().serial();
    assert_eq!(
        refusal(&faulty, &key),
        format!("no token has serial {serial}")
    );
}

#[test]
fn a_rule_can_change_pin_flags_and_the_session_limit() {
    let (faulty, key) = broken();
    let truth = key.token().describe().unwrap();
    assert!(!truth.pin_locked && !truth.pin_final_try && truth.most_sessions.is_none());
    faulty
        .rules("C_GetTokenInfo flags=0x60000 max_sessions=2")
        .unwrap();
    let said = faulty.describe().unwrap();
    assert!(said.pin_locked && said.pin_final_try && !said.pin_count_low);
    assert_eq!(said.most_sessions, Some(2));
}

#[test]
fn a_line_that_is_not_a_rule_is_refused_and_the_old_rules_stay() {
    let (faulty, key) = broken();
    faulty.rules("C_Sign rv=CKR_GENERAL_ERROR").unwrap();
    assert!(faulty.rules("C_Sign rv=CKR_NO_SUCH_CODE").is_err());
    assert!(faulty.sign_message(&key, MESSAGE).is_err());
}
