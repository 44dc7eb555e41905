//! What tokens in the field do differently: flags, logins and descriptions.

use hsm::LoginOutcome;
use softhsm_test_helpers::{Function, KeyKind};

use crate::{
    fixture::{ready, selector, sign, soon, token, until, verifies},
    injected_start::{refused, starting},
};

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
                "no login: C_Login returned {code}; the token has a pad of its own \
                 (CKF_PROTECTED_AUTHENTICATION_PATH): if it takes its PIN only there, it cannot be used here"
            )
        );
        let rejected = LoginOutcome::Rejected { locked: false };
        assert_eq!(gate.outcomes(), [rejected], "{code}");
        assert_eq!(module.calls(Function::C_Login).unwrap(), 1, "{code}");
    }
}
