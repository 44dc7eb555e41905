//! Codes injected while the worker searches for the token, opens sessions and logs in.

use std::{sync::Arc, time::Duration};

use hsm::{Fault, LoginOutcome, Token, TokenSpec, TokenState};
use softhsm_test_helpers::{FaultyModule, Function, KeyKind, TestToken};

use crate::fixture::{
    Faulty, Gate, faulty_spec, ready, selector, sign, soon, token, until, verifies,
};

/// Starts a worker. The rules apply from its first call on.
pub(crate) fn starting(token: &TestToken, rules: &str) -> (FaultyModule, Arc<Gate>, Token) {
    let module = token.with_faults().unwrap();
    module.rules(rules).unwrap();
    let gate = Gate::new(token.user_pin());
    let spec = TokenSpec {
        hang_after: Duration::from_secs(1),
        ..faulty_spec(token, &module)
    };
    let hsm = Token::start(spec, Arc::<Gate>::clone(&gate));
    (module, gate, hsm)
}

fn awaiting(state: &TokenState) -> bool {
    matches!(state, TokenState::AwaitingToken { .. })
}

fn misconfigured(state: &TokenState) -> bool {
    matches!(state, TokenState::Misconfigured { .. })
}

pub(crate) fn refused(state: &TokenState) -> bool {
    matches!(state, TokenState::LoginRefused { .. })
}

#[tokio::test]
async fn a_token_that_cannot_be_reached_is_awaited_without_a_login() {
    let token = token("absent");
    for rule in [
        "C_Initialize rv=CKR_GENERAL_ERROR",
        "C_Initialize rv=CKR_DEVICE_ERROR",
        "C_Initialize rv=CKR_FUNCTION_FAILED",
        "C_Initialize rv=CKR_CRYPTOKI_ALREADY_INITIALIZED",
        "C_GetSlotList rv=CKR_DEVICE_REMOVED",
        "C_GetSlotList nothing",
        "C_GetTokenInfo rv=CKR_TOKEN_NOT_PRESENT",
        "C_GetTokenInfo rv=CKR_TOKEN_NOT_RECOGNIZED",
        "C_GetTokenInfo rv=CKR_GENERAL_ERROR",
        "C_GetTokenInfo flags=0x01000000", // CKF_ERROR_STATE
        "C_OpenSession rv=CKR_DEVICE_ERROR",
        "C_OpenSession rv=CKR_SESSION_COUNT",
    ] {
        let (module, gate, hsm) = starting(&token, rule);
        until(&hsm, awaiting).await;
        assert_eq!(module.calls(Function::C_Login).unwrap(), 0, "{rule}");
        module.rules("").unwrap();
        until(&hsm, ready).await;
        assert_eq!(gate.outcomes(), [LoginOutcome::Accepted], "{rule}");
    }
}

/// Happens when SoftHSM's token is read while another process logs in (see `hsm/README.md`).
#[tokio::test]
async fn a_token_that_three_searches_do_not_find_is_not_reported_as_absent() {
    let token = token("thrice");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    for rule in [
        "C_Initialize rv=CKR_GENERAL_ERROR count=3",
        // Each search makes three calls: the length, the list with too small a buffer, the list.
        "C_GetSlotList nothing count=9",
        "C_GetSlotList rv=CKR_DEVICE_REMOVED count=3",
        "C_OpenSession rv=CKR_SESSION_COUNT count=3",
    ] {
        let (module, gate, hsm) = starting(&token, rule);
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        assert!(verifies(&test_key, &sign(&hsm, &key).await.unwrap()));
        let tally = hsm.tally();
        assert_eq!(tally.starts, 4, "{rule}: {tally:?}");
        assert_eq!(tally.ended.get("no-token"), Some(&3), "{rule}: {tally:?}");
        assert_eq!(tally.entered.get("awaiting-token"), None, "{rule}");
        assert_eq!(gate.outcomes(), [LoginOutcome::Accepted], "{rule}");
        assert_eq!(module.calls(Function::C_Login).unwrap(), 1, "{rule}");
    }
}

#[tokio::test]
async fn a_library_that_cannot_work_as_we_use_it_is_a_misconfiguration() {
    let token = token("library");
    for code in [
        "CKR_CANT_LOCK",
        "CKR_NEED_TO_CREATE_THREADS",
        "CKR_ARGUMENTS_BAD",
    ] {
        let (_module, _gate, hsm) = starting(&token, &format!("C_Initialize rv={code}"));
        let state = until(&hsm, misconfigured).await;
        assert!(state.to_string().contains(code), "{state}");
    }
}

#[tokio::test]
async fn a_library_that_crashes_while_it_loads_is_started_again() {
    let token = token("crash");
    let (module, gate, hsm) = starting(&token, "C_Initialize segv count=3");
    until(&hsm, ready).await;
    assert_eq!(hsm.tally().ended.get("crashed"), Some(&3));
    assert_eq!(module.calls(Function::C_Initialize).unwrap(), 4);
    assert_eq!(gate.outcomes(), [LoginOutcome::Accepted]);
}

#[tokio::test]
async fn the_watchdog_ends_a_library_that_hangs_while_it_loads() {
    let token = token("hang");
    let (_module, gate, hsm) = starting(&token, "C_Initialize hang count=1");
    until(&hsm, ready).await;
    assert_eq!(hsm.tally().ended.get("hung"), Some(&1));
    assert_eq!(gate.outcomes(), [LoginOutcome::Accepted]);
}

#[tokio::test]
async fn a_rejected_pin_is_tried_once_and_ends_no_process() {
    let token = token("rejected");
    for (code, locked) in [
        ("CKR_PIN_INCORRECT", false),
        ("CKR_PIN_LOCKED", true),
        ("CKR_PIN_EXPIRED", false),
        ("CKR_PIN_LEN_RANGE", false),
        ("CKR_PIN_INVALID", false),
    ] {
        let (module, gate, hsm) = starting(&token, &format!("C_Login rv={code}"));
        until(&hsm, refused).await;
        let error = hsm.random(1, soon()).await.unwrap_err();
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(error.fault(), Fault::Mend, "{code}");
        assert_eq!(
            gate.outcomes(),
            [LoginOutcome::Rejected { locked }],
            "{code}"
        );
        assert_eq!(module.calls(Function::C_Login).unwrap(), 1, "{code}");
        assert_eq!(hsm.tally().starts, 1, "{code}");
    }
}

#[tokio::test]
async fn a_token_without_a_user_pin_costs_no_try() {
    let token = token("unset");
    let (module, gate, hsm) = starting(&token, "C_Login rv=CKR_USER_PIN_NOT_INITIALIZED");
    until(&hsm, refused).await;
    assert_eq!(gate.outcomes(), [LoginOutcome::NotTried]);
    assert_eq!(module.calls(Function::C_Login).unwrap(), 1);
}

#[tokio::test]
async fn a_pin_is_not_tried_when_its_flags_say_final_try_locked_or_to_be_changed() {
    let token = token("flags");
    // CKF_USER_PIN_FINAL_TRY, _LOCKED, _TO_BE_CHANGED.
    for flag in [0x20000, 0x40000, 0x80000] {
        let (module, gate, hsm) = starting(&token, &format!("C_GetTokenInfo flags={flag}"));
        until(&hsm, refused).await;
        assert_eq!(gate.outcomes(), [LoginOutcome::NotTried], "{flag:x}");
        assert_eq!(module.calls(Function::C_Login).unwrap(), 0, "{flag:x}");
        module.rules("").unwrap();
        hsm.retry_login();
        until(&hsm, ready).await;
    }
}

#[tokio::test]
async fn a_login_with_an_unknown_outcome_is_recorded_before_the_next_one() {
    let token = token("unclear");
    for rule in [
        "rv=CKR_GENERAL_ERROR",
        "rv=CKR_DEVICE_ERROR",
        "segv",
        "hang",
    ] {
        let (module, gate, hsm) = starting(&token, &format!("C_Login {rule} count=1"));
        until(&hsm, ready).await;
        let outcomes = [LoginOutcome::Unknown, LoginOutcome::Accepted];
        assert_eq!(gate.outcomes(), outcomes, "{rule}");
        assert_eq!(module.calls(Function::C_Login).unwrap(), 2, "{rule}");
        assert_eq!(hsm.tally().starts, 2, "{rule}");
    }
}

#[tokio::test]
async fn a_token_that_fails_before_it_is_given_the_pin_costs_no_try_and_is_awaited() {
    let token = token("before");
    // The token has a key, because on a token without keys one more call checks whether the token is still present.
    token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let (module, _gate, hsm) = starting(&token, "");
    until(&hsm, ready).await;
    // The last call reads the flags; the calls before it read each slot.
    let earlier = module.calls(Function::C_GetTokenInfo).unwrap() - 1;
    let rule = format!("C_GetTokenInfo rv=CKR_GENERAL_ERROR skip={earlier} count=1");
    let (module, gate, hsm) = starting(&token, &rule);
    until(&hsm, ready).await;
    let outcomes = [LoginOutcome::NotTried, LoginOutcome::Accepted];
    assert_eq!(gate.outcomes(), outcomes);
    assert_eq!(module.calls(Function::C_Login).unwrap(), 1);
}

#[tokio::test]
async fn an_existing_login_is_accepted_when_the_session_confirms_it() {
    let token = token("already");
    let rule = "C_Login rv=CKR_USER_ALREADY_LOGGED_IN after_call";
    let (_module, gate, hsm) = starting(&token, rule);
    until(&hsm, ready).await;
    assert_eq!(gate.outcomes(), [LoginOutcome::Accepted]);
}

#[tokio::test]
async fn a_pool_short_of_sessions_serves_with_those_it_has_and_grows_back() {
    let token = token("short");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    for code in [
        "CKR_SESSION_COUNT",
        "CKR_DEVICE_MEMORY",
        "CKR_ARGUMENTS_BAD",
    ] {
        // Only the anchor and one session can be opened.
        let (module, _gate, hsm) = starting(&token, &format!("C_OpenSession rv={code} skip=2"));
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        assert!(verifies(&test_key, &sign(&hsm, &key).await.unwrap()));
        assert_eq!(hsm.stats(soon()).await.unwrap().sessions, 1, "{code}");
        module.rules("").unwrap();
        while hsm.stats(soon()).await.unwrap().sessions < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hsm.tally().starts, 1, "{code}");
    }
}

#[tokio::test]
async fn a_token_with_one_session_signs_on_it_and_discards_it_only_with_the_process() {
    let token = token("single");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let faulty = Faulty::new(&test_key).await;
    faulty.rules("C_GetTokenInfo max_sessions=1\nC_Sign abort count=1");
    faulty.sign().await.unwrap_err();
    faulty.recovers("single session").await;
    assert_eq!(faulty.hsm.stats(soon()).await.unwrap().sessions, 1);
    let opened = faulty.module.calls(Function::C_OpenSession).unwrap();
    faulty.rules("C_GetTokenInfo max_sessions=1\nC_Sign rv=CKR_DEVICE_ERROR count=1");
    faulty.sign().await.unwrap_err();
    faulty.recovers("single session").await;
    assert_eq!(
        faulty.module.calls(Function::C_OpenSession).unwrap(),
        opened + 1,
        "one session per process"
    );
    assert_eq!(faulty.gate.outcomes(), [LoginOutcome::Accepted; 3]);
}
