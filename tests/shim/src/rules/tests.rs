//! Tests of the language of rules.

use std::time::Duration;

use super::{Action, Change, Rules, RulesError, change::TokenChange};
use crate::Function;

fn firing(line: &str) -> Vec<u64> {
    let rules: Rules = line.parse().unwrap();
    let (_, rule) = rules.about(Function::C_Sign, None).next().unwrap();
    (0..12).filter(|nth| rule.fires(*nth)).collect()
}

fn action(line: &str) -> Action {
    line.parse::<Rules>().unwrap().0[0].action.clone()
}

fn refused(text: &str) -> RulesError {
    text.parse::<Rules>().unwrap_err()
}

#[test]
fn conditions_select_the_calls_on_which_a_rule_fires() {
    assert_eq!(
        firing("C_Sign hang"),
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    );
    assert_eq!(firing("C_Sign hang count=2"), [0, 1]);
    assert_eq!(firing("C_Sign hang every=4"), [3, 7, 11]);
    assert_eq!(firing("C_Sign hang every=3 count=2"), [2, 5]);
    assert_eq!(firing("C_Sign hang skip=5 every=3 count=2"), [7, 10]);
}

#[test]
fn a_code_is_given_by_name_or_number() {
    for (text, code) in [
        ("CKR_DEVICE_ERROR", 0x30),
        ("0x80000384", 0x8000_0384),
        ("5", 5),
    ] {
        let after_call = false;
        assert_eq!(
            action(&format!("C_Sign rv={text}")),
            Action::Answer { code, after_call }
        );
    }
    let after_call = true;
    assert_eq!(
        action("C_Sign after_call rv=5"),
        Action::Answer {
            code: 5,
            after_call
        }
    );
}

#[test]
fn one_rule_may_change_all_parts_of_token_information() {
    let expected = TokenChange {
        clear: 4,
        set: 0x60000,
        sessions: Some(2),
        label: Some(b"a\0b".to_vec()),
        serial: Some(Vec::new()),
        model: Some(b"a model".to_vec()),
        clock: None,
    };
    assert_eq!(
        action(
            "C_GetTokenInfo flags=0x40000 max_sessions=2 flags=0x20000 clear=4 label=a%00b serial= model=a%20model"
        ),
        Action::Change(Change::Token(expected))
    );
}

#[test]
fn a_delay_can_precede_an_action() {
    let rules: Rules = "C_Sign delay_ms=200 abort".parse().unwrap();
    assert_eq!(rules.0[0].delay, Duration::from_millis(200));
    assert_eq!(rules.0[0].action, Action::Abort);
}

#[test]
fn a_star_means_every_function_and_comments_are_ignored() {
    let rules: Rules = "# the network is gone\n\n* rv=CKR_DEVICE_ERROR # for ever\nC_Sign hang"
        .parse()
        .unwrap();
    assert_eq!(rules.about(Function::C_Login, None).count(), 1);
    let places: Vec<_> = rules
        .about(Function::C_Sign, None)
        .map(|(place, _)| place)
        .collect();
    assert_eq!(places, [0, 1]);
}

#[test]
fn a_line_that_is_not_a_rule_is_refused_with_its_number() {
    assert_eq!(refused("C_Sign hang\nC_Sing hang").line, 2);
    for wrong in [
        "C_Sign",
        "C_Sign hung",
        "C_Sign hang=1",
        "C_Sign rv=CKR_NOTHING",
        "C_Sign rv",
        "C_Sign hang abort",
        "C_Sign every=0 hang",
        "C_Sign after_call",
        "C_Sign hang after_call",
        "C_Login corrupt",
        "* corrupt",
        "C_SignFinal length=1",
        "C_Sign too_small",
        "C_Sign wrong_key=ca",
        "C_Sign_length corrupt",
        "C_Encrypt hang",
        "C_Sign hide=CKA_SENSITIVE",
        "C_GetAttributeValue hide=CKA_NOTHING",
        "C_GetTokenInfo serial=12345678901234567",
        "C_Sign mechanism=CKM_ECDSA hang",
        "C_SignInit mechanism=CKM_NOTHING hang",
        "C_GetTokenInfo read_only clear=4",
        "C_Login public",
    ] {
        refused(wrong);
    }
}

#[test]
fn a_rule_may_be_about_one_mechanism_or_about_read_only_sessions() {
    let rules: Rules =
        "C_SignInit mechanism=CKM_ECDSA hang\nC_OpenSession read_only hang\nC_SignInit abort"
            .parse()
            .unwrap();
    let places = |function, detail| {
        let about = rules.about(function, Some(detail));
        about.map(|(place, _)| place).collect::<Vec<_>>()
    };
    assert_eq!(
        places(Function::C_SignInit, cryptoki_sys::CKM_ECDSA),
        [0, 2]
    );
    assert_eq!(
        places(Function::C_SignInit, cryptoki_sys::CKM_RSA_PKCS),
        [2]
    );
    // CKF_SERIAL_SESSION alone, and with CKF_RW_SESSION.
    assert_eq!(places(Function::C_OpenSession, 4), [1]);
    assert_eq!(places(Function::C_OpenSession, 6), [0_usize; 0]);
}
