//! What tokens in the field do differently: flags, logins and descriptions.

use std::{num::NonZeroU16, sync::Arc};

use hsm::{Fault, HsmError, LoginOutcome, Token, TokenSelector, TokenSpec, TokenState};
use softhsm_test_helpers::{FaultyModule, Function, Kept, KeyKind, TestKey, TestToken};

use crate::{
    fixture::{Gate, faulty_spec, ready, selector, sign, soon, token, until, verifies},
    injected_start::{refused, starting},
};

/// No `CKF_LOGIN_REQUIRED`.
const OPEN: &str = "C_GetTokenInfo clear=0x4";

/// `CKF_USER_PIN_INITIALIZED` is 0x8, `CKF_PROTECTED_AUTHENTICATION_PATH` 0x100.
#[tokio::test]
async fn flags_that_only_inform_do_not_forbid_a_login() {
    let token = token("informing");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    for rule in [
        "C_GetTokenInfo clear=0x8",
        "C_GetTokenInfo flags=0x100",
        "C_GetTokenInfo clear=0x8 flags=0x100",
    ] {
        let (module, gate, hsm) = starting(&token, rule);
        until(&hsm, ready).await;
        let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
        assert!(verifies(&test_key, &sign(&hsm, &key).await.unwrap()));
        assert_eq!(gate.outcomes(), [LoginOutcome::Accepted], "{rule}");
        assert_eq!(module.calls(Function::C_Login).unwrap(), 1, "{rule}");
    }
}

#[tokio::test]
async fn a_token_that_takes_its_pin_only_at_its_pad_is_refused_in_one_sentence_after_one_try() {
    let token = token("pad");
    for code in [
        "CKR_ARGUMENTS_BAD",
        "CKR_FUNCTION_CANCELED",
        "CKR_PIN_INCORRECT",
    ] {
        let rules = format!("C_GetTokenInfo flags=0x100\nC_Login rv={code}");
        let (module, gate, hsm) = starting(&token, &rules);
        let state = until(&hsm, refused).await;
        assert_eq!(
            state.to_string(),
            format!(
                "no login: C_Login returned {code}; the token has a PIN pad \
                 (CKF_PROTECTED_AUTHENTICATION_PATH): if it takes its PIN only there, it cannot be used here"
            )
        );
        let rejected = LoginOutcome::Rejected { locked: false };
        assert_eq!(gate.outcomes(), [rejected], "{code}");
        assert_eq!(module.calls(Function::C_Login).unwrap(), 1, "{code}");
    }
}

/// Returns a key that signs without a login, and one that does not.
fn open_and_closed(token: &TestToken) -> (TestKey, TestKey) {
    let open = token.generate_key_kept("open", &[1], KeyKind::P256, Kept::WITHOUT_LOGIN);
    let closed = token.generate_key("closed", &[2], KeyKind::P256);
    (open.unwrap(), closed.unwrap())
}

async fn signs(hsm: &Token, test_key: &TestKey) {
    let key = hsm.find_key(&selector(test_key), soon()).await.unwrap();
    assert!(verifies(test_key, &sign(hsm, &key).await.unwrap()));
}

fn logins(module: &FaultyModule) -> u64 {
    module.calls(Function::C_Login).unwrap()
}

#[tokio::test]
async fn without_login_required_a_key_signs_without_a_login() {
    let token = token("open");
    let (open, _) = open_and_closed(&token);
    let (module, gate, hsm) = starting(&token, OPEN);
    signs(&hsm, &open).await;
    assert!(hsm.is_public(soon()).await.unwrap());
    assert_eq!((gate.outcomes(), logins(&module)), (vec![], 0));
}

#[tokio::test]
async fn a_key_that_is_missing_without_a_login_is_found_after_one_login_for_all() {
    let token = token("closed");
    let (open, closed) = open_and_closed(&token);
    for rules in [
        OPEN.to_owned(),
        // The login succeeds, and the state stays public.
        format!("{OPEN}\nC_GetSessionInfo public"),
        // The library does not tell the state.
        format!("{OPEN}\nC_GetSessionInfo rv=CKR_FUNCTION_NOT_SUPPORTED"),
    ] {
        let (module, gate, hsm) = starting(&token, &rules);
        signs(&hsm, &open).await;
        let error = hsm.find_key(&selector(&closed), soon()).await.unwrap_err();
        assert!(matches!(error, HsmError::KeyNotFound { .. }), "{error:?}");
        let (one, other) = tokio::join!(hsm.log_in(soon()), hsm.log_in(soon()));
        assert!(one.unwrap() && other.unwrap(), "{rules}");
        signs(&hsm, &closed).await;
        signs(&hsm, &open).await;
        assert_eq!(gate.outcomes(), [LoginOutcome::Accepted], "{rules}");
        assert_eq!(logins(&module), 1, "{rules}");
        assert_eq!(hsm.tally().starts, 1, "{rules}");
    }
}

#[tokio::test]
async fn a_worker_that_replaces_one_with_a_login_logs_in_by_itself() {
    let token = token("again");
    let (_, closed) = open_and_closed(&token);
    let (module, gate, hsm) = starting(&token, OPEN);
    assert!(hsm.log_in(soon()).await.unwrap());
    let key = hsm.find_key(&selector(&closed), soon()).await.unwrap();
    module
        .rules(&format!("{OPEN}\nC_Sign abort count=1"))
        .unwrap();
    sign(&hsm, &key).await.unwrap_err();
    assert!(verifies(&closed, &sign(&hsm, &key).await.unwrap()));
    assert_eq!(gate.outcomes(), [LoginOutcome::Accepted; 2]);
}

#[tokio::test]
async fn a_refused_login_leaves_the_keys_that_need_none_in_use() {
    let token = token("refusing");
    let (open, _) = open_and_closed(&token);
    for (code, outcome) in [
        (
            "CKR_PIN_INCORRECT",
            LoginOutcome::Rejected { locked: false },
        ),
        ("CKR_USER_PIN_NOT_INITIALIZED", LoginOutcome::NotTried),
        ("CKR_FUNCTION_NOT_SUPPORTED", LoginOutcome::NotTried),
        ("CKR_GENERAL_ERROR", LoginOutcome::Unknown),
    ] {
        let (module, gate, hsm) = starting(&token, &format!("{OPEN}\nC_Login rv={code}"));
        let error = hsm.log_in(soon()).await.unwrap_err();
        assert!(error.to_string().contains(code), "{error}");
        assert_eq!(error.fault(), Fault::Mend, "{code}");
        signs(&hsm, &open).await;
        assert_eq!(
            (gate.outcomes(), logins(&module)),
            (vec![outcome], 1),
            "{code}"
        );
        assert_eq!(hsm.tally().starts, 1, "{code}");
    }
}

#[tokio::test]
async fn a_key_that_is_shown_but_does_not_sign_without_a_login_needs_one() {
    let token = token("shown");
    let (open, _) = open_and_closed(&token);
    let rules = format!("{OPEN}\nC_SignInit rv=CKR_USER_NOT_LOGGED_IN count=1");
    let (module, _gate, hsm) = starting(&token, &rules);
    let key = hsm.find_key(&selector(&open), soon()).await.unwrap();
    let error = sign(&hsm, &key).await.unwrap_err();
    assert!(matches!(error, HsmError::NotLoggedIn), "{error:?}");
    assert!(hsm.log_in(soon()).await.unwrap());
    assert!(verifies(&open, &sign(&hsm, &key).await.unwrap()));
    assert_eq!((logins(&module), hsm.tally().starts), (1, 1));
}

#[tokio::test]
async fn a_token_that_requires_no_login_is_used_without_a_pin() {
    let token = token("none");
    let (open, closed) = open_and_closed(&token);
    let module = token.with_faults().unwrap();
    module.rules(OPEN).unwrap();
    let spec = TokenSpec {
        sessions: NonZeroU16::new(1),
        ..faulty_spec(&token, &module)
    };
    let gate = Gate::without_pin();
    let hsm = Token::start(spec, Arc::<Gate>::clone(&gate));
    signs(&hsm, &open).await;
    assert!(!hsm.log_in(soon()).await.unwrap());
    let error = hsm.find_key(&selector(&closed), soon()).await.unwrap_err();
    assert!(matches!(error, HsmError::KeyNotFound { .. }), "{error:?}");
    assert_eq!((gate.outcomes(), logins(&module)), (vec![], 0));
}

/// Starts a worker behind these rules, for the token that the selector finds.
fn selecting(token: &TestToken, rules: &str, selector: TokenSelector) -> (FaultyModule, Token) {
    let module = token.with_faults().unwrap();
    module.rules(rules).unwrap();
    let spec = TokenSpec {
        token: selector,
        ..faulty_spec(token, &module)
    };
    let hsm = Token::start(spec, Gate::new(token.user_pin()));
    (module, hsm)
}

#[tokio::test]
async fn a_label_is_found_however_it_is_padded_and_whatever_characters_it_has() {
    let token = token("padded");
    for (reported, label) in [
        ("signing", "signing"),
        ("signing%00", "signing"),
        ("signing%00%00garbage", "signing"),
        ("%20signing", " signing"),
        ("signing%20key", "signing key"),
        ("Z\u{fc}rich-\u{1f512}", "Z\u{fc}rich-\u{1f512}"),
    ] {
        let rules = format!("C_GetTokenInfo label={reported}");
        let (_module, hsm) = selecting(&token, &rules, TokenSelector::by_label(label));
        let TokenState::Ready { info } = until(&hsm, ready).await else {
            panic!("{reported}")
        };
        assert_eq!(info.label, label, "{reported}");
    }
}

#[tokio::test]
async fn tokens_without_labels_and_of_one_serial_number_are_told_apart_by_their_slots() {
    let store = softhsm_test_helpers::Store::new().unwrap();
    let tokens = ["one", "two"].map(|label| store.make_token(label).unwrap());
    let keys = [&tokens[0], &tokens[1]]
        .map(|token| token.generate_key("ca", &[1], KeyKind::P256).unwrap());
    let alike = "C_GetTokenInfo label= serial=0000000000000000";
    let misconfigured = |state: &TokenState| matches!(state, TokenState::Misconfigured { .. });
    let (_module, hsm) = selecting(
        &tokens[0],
        alike,
        TokenSelector::by_serial("0000000000000000"),
    );
    let state = until(&hsm, misconfigured).await.to_string();
    assert!(
        state.contains("select one by slotDescription or slotId: slot "),
        "{state}"
    );
    let (_module, hsm) = selecting(&tokens[0], alike, TokenSelector::by_label("one"));
    let absent = |state: &TokenState| matches!(state, TokenState::AwaitingToken { .. });
    let absent = until(&hsm, absent).await.to_string();
    assert!(
        absent.contains("a token without a label in slot "),
        "{absent}"
    );
    for (token, key) in tokens.iter().zip(&keys) {
        let (_module, hsm) = selecting(token, "", TokenSelector::by_serial(token.serial()));
        let TokenState::Ready { info } = until(&hsm, ready).await else {
            panic!("ready")
        };
        let by_id = TokenSelector {
            slot_id: Some(info.slot.id),
            ..TokenSelector::default()
        };
        let by_description = TokenSelector {
            slot_description: Some(info.slot.description.clone()),
            ..TokenSelector::default()
        };
        for selector in [by_id, by_description] {
            let (_module, hsm) = selecting(token, alike, selector);
            signs(&hsm, key).await;
        }
    }
}
