//! Every code that a token was seen to return while signing, injected by a library between worker and token.
//!
//! Each row asserts what the caller sees, what the pool does, how many logins it costs, and that the same key signs
//! afterwards.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hsm::{Fault, HsmError, TokenState, protocol::TokenCode};
use softhsm_test_helpers::{KeyKind, TestKey};

use crate::fixture::{Faulty, P256, ready, served, sign, soon, token, until, verifies};

/// The session or its handles are stale; a new session helps.
const STALE: &[(&str, &str)] = &[
    ("C_Sign", "CKR_DEVICE_ERROR"),
    ("C_Sign", "CKR_SESSION_HANDLE_INVALID"),
    ("C_SignInit", "CKR_SESSION_HANDLE_INVALID"),
    ("C_Sign", "CKR_SESSION_CLOSED"),
    ("C_SignInit", "CKR_OBJECT_HANDLE_INVALID"),
    ("C_SignInit", "CKR_KEY_HANDLE_INVALID"),
    ("C_SignInit", "CKR_OPERATION_ACTIVE"),
    ("C_Sign", "CKR_OPERATION_NOT_INITIALIZED"),
    ("C_Sign", "CKR_GENERAL_ERROR"),
    ("C_Sign", "CKR_FUNCTION_FAILED"),
    ("C_Sign", "CKR_HOST_MEMORY"),
    ("C_Sign", "CKR_FUNCTION_CANCELED"),
    ("C_Sign", "CKR_CANCEL"),
    ("C_Sign", "0x80000384"),
];

/// The token lacks a resource.
const SHORT: &[(&str, &str)] = &[
    ("C_Sign", "CKR_DEVICE_MEMORY"),
    ("C_SignInit", "CKR_SESSION_COUNT"),
];

/// The library has lost the token or is itself broken; only a fresh process helps.
const LOST: &[(&str, &str)] = &[
    ("C_Sign", "CKR_DEVICE_REMOVED"),
    ("C_Sign", "CKR_TOKEN_NOT_PRESENT"),
    ("C_SignInit", "CKR_SLOT_ID_INVALID"),
    ("C_Sign", "CKR_TOKEN_NOT_RECOGNIZED"),
    ("C_Sign", "CKR_CRYPTOKI_NOT_INITIALIZED"),
    ("C_Sign", "CKR_MUTEX_BAD"),
    ("C_SignInit", "CKR_USER_ANOTHER_ALREADY_LOGGED_IN"),
    ("C_SignInit", "CKR_SESSION_READ_ONLY_EXISTS"),
    ("C_SignInit", "CKR_SESSION_READ_WRITE_SO_EXISTS"),
    ("C_Sign", "CKR_FIPS_SELF_TEST_FAILED"),
];

/// Key, mechanism, policy or PIN is at fault: a person must act.
const REFUSED: &[(&str, &str)] = &[
    ("C_SignInit", "CKR_KEY_FUNCTION_NOT_PERMITTED"),
    ("C_SignInit", "CKR_KEY_TYPE_INCONSISTENT"),
    ("C_SignInit", "CKR_KEY_SIZE_RANGE"),
    ("C_SignInit", "CKR_CURVE_NOT_SUPPORTED"),
    ("C_SignInit", "CKR_FUNCTION_NOT_SUPPORTED"),
    ("C_Sign", "CKR_ACTION_PROHIBITED"),
    ("C_Sign", "CKR_DATA_LEN_RANGE"),
    ("C_Sign", "CKR_DATA_INVALID"),
    ("C_Sign", "CKR_ARGUMENTS_BAD"),
    ("C_SignInit", "CKR_SESSION_READ_ONLY"),
    ("C_SignInit", "CKR_TOKEN_WRITE_PROTECTED"),
    ("C_SignInit", "CKR_ATTRIBUTE_VALUE_INVALID"),
    ("C_SignInit", "CKR_TEMPLATE_INCONSISTENT"),
    ("C_Sign", "CKR_PIN_INCORRECT"),
    ("C_Sign", "CKR_PIN_LOCKED"),
    ("C_Sign", "CKR_PIN_EXPIRED"),
    ("C_Sign", "CKR_PIN_INVALID"),
    ("C_Sign", "CKR_PIN_LEN_RANGE"),
];

fn key(label: &str) -> TestKey {
    token(label)
        .generate_key("ca", &[1], KeyKind::P256)
        .unwrap()
}

/// Prints a recovery time. It is never asserted, because the machine may be busy.
fn report(row: &str, took: Duration) {
    println!("{row}: signs again after {} ms", took.as_millis());
}

/// Returns a healthy worker whose library fails the next `count` calls of `function` with `code`, and the name of this row.
async fn failing(test_key: &TestKey, function: &str, code: &str, count: u8) -> (Faulty, String) {
    let row = format!("{function} rv={code}");
    let faulty = Faulty::new(test_key).await;
    faulty.rules(&format!("{row} count={count}"));
    (faulty, row)
}

/// Asserts that the fault cost one session, and neither the process nor the login.
async fn cost_a_session(faulty: &Faulty, row: &str) {
    let stats = faulty.hsm.stats(soon()).await.unwrap();
    assert_eq!(stats.sessions_discarded, 1, "{row}");
    assert_eq!(faulty.hsm.tally().starts, 1, "{row}");
    assert_eq!(faulty.logins(), 1, "{row}");
}

/// Returns the errors of the library that no answer named.
async fn unreported(faulty: &Faulty) -> BTreeMap<String, u64> {
    faulty.hsm.stats(soon()).await.unwrap().unreported
}

/// Asserts that the fault cost one process, which ended for this reason, and one more login.
fn cost_a_process(faulty: &Faulty, reason: &str, row: &str) {
    let tally = faulty.hsm.tally();
    assert_eq!(tally.starts, 2, "{row}");
    assert_eq!(tally.ended.get(reason), Some(&1), "{row}: {tally:?}");
    assert_eq!(faulty.logins(), 2, "{row}");
}

#[tokio::test]
async fn after_a_session_error_a_new_session_signs_without_an_error() {
    let test_key = key("stale");
    for (function, code) in STALE {
        let (faulty, row) = failing(&test_key, function, code, 1).await;
        let started = Instant::now();
        let signature = faulty.sign().await.unwrap();
        assert!(verifies(&test_key, &signature), "{row}");
        report(&row, started.elapsed());
        cost_a_session(&faulty, &row).await;
        // No answer names the code.
        let name = TokenCode::name_of(code).to_owned();
        assert_eq!(
            unreported(&faulty).await,
            BTreeMap::from([(name, 1)]),
            "{row}"
        );
    }
}

#[tokio::test]
async fn a_session_error_on_a_fresh_session_costs_one_process_and_one_login() {
    let test_key = key("stale");
    for (function, code) in STALE {
        let (faulty, row) = failing(&test_key, function, code, 2).await;
        let error = faulty.sign().await.unwrap_err();
        assert!(
            matches!(error, HsmError::WorkerLost { .. }),
            "{row}: {error:?}"
        );
        report(&row, faulty.recovers(&row).await);
        cost_a_process(&faulty, "token-lost", &row);
    }
}

#[tokio::test]
async fn a_token_that_lacks_a_resource_is_retried_later_without_a_restart() {
    let test_key = key("short");
    for (function, code) in SHORT {
        let (faulty, row) = failing(&test_key, function, code, 1).await;
        let error = faulty.sign().await.unwrap_err();
        assert!(
            matches!(error, HsmError::TokenFailed(_)),
            "{row}: {error:?}"
        );
        assert_eq!(error.fault(), Fault::Passing, "{row}");
        report(&row, faulty.recovers(&row).await);
        cost_a_session(&faulty, &row).await;
        assert_eq!(unreported(&faulty).await, BTreeMap::new(), "{row}");
    }
}

#[tokio::test]
async fn a_lost_token_costs_one_process_and_one_login() {
    let test_key = key("lost");
    for (function, code) in LOST {
        let (faulty, row) = failing(&test_key, function, code, 1).await;
        let error = faulty.sign().await.unwrap_err();
        assert!(error.to_string().contains(code), "{row}: {error}");
        assert_eq!(error.fault(), Fault::Passing, "{row}");
        report(&row, faulty.recovers(&row).await);
        cost_a_process(&faulty, "token-lost", &row);
    }
}

#[tokio::test]
async fn a_refusal_is_reported_at_once_and_costs_only_a_session() {
    let test_key = key("refused");
    for (function, code) in REFUSED {
        let (faulty, row) = failing(&test_key, function, code, 1).await;
        let error = faulty.sign().await.unwrap_err();
        assert!(
            matches!(error, HsmError::TokenRefused(_)),
            "{row}: {error:?}"
        );
        assert!(error.to_string().contains(code), "{row}: {error}");
        assert_eq!(error.fault(), Fault::Mend, "{row}");
        report(&row, faulty.recovers(&row).await);
        cost_a_session(&faulty, &row).await;
    }
}

#[tokio::test]
async fn a_key_that_requires_its_pin_for_every_signature_is_refused_without_another_login() {
    let faulty = Faulty::new(&key("always")).await;
    faulty.rules("C_Sign rv=CKR_USER_NOT_LOGGED_IN");
    let error = faulty.sign().await.unwrap_err();
    assert!(
        matches!(error, HsmError::AlwaysAuthenticate(_)),
        "{error:?}"
    );
    assert_eq!(faulty.logins(), 1);
    assert_eq!(faulty.hsm.tally().starts, 1);
}

#[tokio::test]
async fn after_a_lost_login_a_fresh_process_logs_in_again() {
    let faulty = Faulty::new(&key("forgotten")).await;
    // The session does not say that the user is logged in, so the key does not require its PIN for every signature.
    faulty.rules(
        "C_Sign rv=CKR_USER_NOT_LOGGED_IN count=1\nC_GetSessionInfo rv=CKR_DEVICE_ERROR count=1",
    );
    let error = faulty.sign().await.unwrap_err();
    assert!(matches!(error, HsmError::WorkerLost { .. }), "{error:?}");
    report(
        "a forgotten login",
        faulty.recovers("a forgotten login").await,
    );
    cost_a_process(&faulty, "token-lost", "a forgotten login");
}

#[tokio::test]
async fn a_fresh_process_looks_for_a_token_that_returns_ok_and_shows_no_key() {
    let faulty = Faulty::new(&key("vanished")).await;
    faulty.rules("C_SignInit rv=CKR_OBJECT_HANDLE_INVALID count=1\nC_FindObjects nothing count=8");
    let error = faulty.sign().await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");
    faulty.rules("");
    faulty.recovers("no objects").await;
    let tally = faulty.hsm.tally();
    assert_eq!(tally.ended.get("key-vanished"), Some(&1), "{tally:?}");
}

#[tokio::test]
async fn a_crash_in_the_library_fails_only_the_requests_in_flight() {
    let test_key = key("crash");
    for action in ["segv", "abort", "exit=3"] {
        let row = format!("C_Sign {action}");
        let faulty = Faulty::new(&test_key).await;
        faulty.rules(&format!("{row} count=1"));
        let error = faulty.sign().await.unwrap_err();
        assert!(
            matches!(error, HsmError::WorkerLost { .. }),
            "{row}: {error:?}"
        );
        report(&row, faulty.recovers(&row).await);
        cost_a_process(&faulty, "crashed", &row);
    }
}

#[tokio::test]
async fn a_hang_in_the_library_ends_its_worker_and_disturbs_no_other_token() {
    let test_key = key("hang");
    let other = token("other");
    let other_key = other.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let other_hsm = served(&other);
    let theirs = other_hsm
        .find_key(&crate::fixture::selector(&other_key), soon())
        .await
        .unwrap();
    let faulty = Faulty::hanging_after(&test_key, Duration::from_secs(1)).await;
    faulty.rules("C_Sign hang count=1");
    let hanging = {
        let (hsm, key) = (faulty.hsm.clone(), faulty.key.clone());
        tokio::spawn(async move { sign(&hsm, &key).await })
    };
    let mut meanwhile = 0;
    while !hanging.is_finished() {
        let signature = sign(&other_hsm, &theirs).await.unwrap();
        assert!(verifies(&other_key, &signature));
        meanwhile += 1;
    }
    assert!(meanwhile > 0);
    let error = hanging.await.unwrap().unwrap_err();
    assert!(error.to_string().contains("hung"), "{error}");
    report("C_Sign hang", faulty.recovers("C_Sign hang").await);
    let tally = faulty.hsm.tally();
    assert_eq!(tally.ended.get("hung"), Some(&1), "{tally:?}");
    assert_eq!(other_hsm.tally().starts, 1);
}

#[tokio::test]
async fn a_caller_waits_no_longer_than_its_deadline_and_a_late_signature_is_dropped() {
    let faulty = Faulty::new(&key("slow")).await;
    faulty.rules("C_Sign delay_ms=1000 count=1");
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = faulty
        .hsm
        .sign(&faulty.key, P256, &[7; 32], deadline)
        .await
        .unwrap_err();
    assert!(matches!(error, HsmError::TimedOut), "{error:?}");
    while faulty.hsm.stats(soon()).await.unwrap().late == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(faulty.hsm.tally().starts, 1);
}

#[tokio::test]
async fn a_wrong_signature_of_the_token_is_returned_unverified() {
    let test_key = key("wrong");
    test_key
        .token()
        .generate_key("other", &[2], KeyKind::P256)
        .unwrap();
    for rule in ["C_Sign corrupt", "C_SignInit wrong_key=other"] {
        let faulty = Faulty::new(&test_key).await;
        faulty.rules(&format!("{rule} count=1"));
        // The client does not verify signatures; the caller must do so before it releases one.
        let signature = faulty.sign().await.unwrap();
        assert!(!verifies(&test_key, &signature), "{rule}");
        assert!(verifies(&test_key, &faulty.sign().await.unwrap()), "{rule}");
    }
}

#[tokio::test]
async fn a_token_behind_a_dead_network_is_awaited_without_a_login() {
    let faulty = Faulty::new(&key("network")).await;
    faulty.rules("* rv=CKR_DEVICE_ERROR");
    faulty.sign().await.unwrap_err();
    let awaiting = |state: &TokenState| matches!(state, TokenState::AwaitingToken { .. });
    until(&faulty.hsm, awaiting).await;
    while faulty.hsm.tally().ended.get("no-token") < Some(&3) {
        tokio::task::yield_now().await;
    }
    assert_eq!(faulty.logins(), 1);
    faulty.rules("");
    let started = Instant::now();
    until(&faulty.hsm, ready).await;
    report("every call rv=CKR_DEVICE_ERROR", started.elapsed());
    faulty.recovers("network").await;
    assert_eq!(faulty.logins(), 2);
}
