//! Tokens that cannot do what the plan asks: each says why, and the same plan goes on where it can.

use softhsm_test_helpers::KeyKind;

use crate::fixture::{Ceremony, PLAN, error_of};

#[test]
fn a_key_with_a_planned_label_stops_the_ceremony_before_anything_is_made() {
    let ceremony = Ceremony::new();
    ceremony
        .token
        .generate_key("audit-2026", &[9], KeyKind::P256)
        .unwrap();
    ceremony.approve(&["ada", "bob"]);
    let said = error_of(&ceremony.execute());
    assert!(
        said.contains("another key on the token has this label"),
        "{said}"
    );
    assert!(!ceremony.out("root-key.pub.pem").exists());
}

#[test]
fn a_full_token_says_so_and_the_same_plan_goes_on_once_there_is_room() {
    let mut ceremony = Ceremony::new();
    ceremony.approve(&["ada", "bob"]);
    let faulty = ceremony.token.with_faults().unwrap();
    faulty
        .rules("C_GenerateKeyPair rv=CKR_DEVICE_MEMORY skip=1 count=1")
        .unwrap();
    ceremony.through(faulty.module(), faulty.env());
    let said = error_of(&ceremony.execute());
    assert!(said.contains("the token is full"), "{said}");
    assert!(ceremony.out("root-key.pub.pem").exists());
    assert_eq!(ceremony.execute().status.code(), Some(3));
    ceremony.approve(&["ada", "bob"]);
    assert_eq!(ceremony.execute().status.code(), Some(0));
    ceremony.ok("verify", &[]);
}

#[test]
fn a_token_without_the_mechanism_says_so_before_anything_is_made() {
    let plan = PLAN.replace(
        "algorithm: Ed25519, label: partner",
        "algorithm: ML-DSA-65, label: partner",
    );
    let ceremony = Ceremony::of(&plan);
    ceremony.approve(&["ada", "bob"]);
    let said = error_of(&ceremony.execute());
    assert!(said.contains("the token has no mechanism"), "{said}");
    assert!(!ceremony.out("root-key.pub.pem").exists());
}

#[test]
fn a_token_that_would_give_the_key_away_is_found_when_its_attributes_are_read_back() {
    let mut ceremony = Ceremony::new();
    ceremony.approve(&["ada", "bob"]);
    let faulty = ceremony.token.with_faults().unwrap();
    faulty
        .rules("C_GetAttributeValue hide_private=CKA_NEVER_EXTRACTABLE")
        .unwrap();
    ceremony.through(faulty.module(), faulty.env());
    let said = error_of(&ceremony.execute());
    assert!(
        said.contains("does not say that it is NEVER_EXTRACTABLE"),
        "{said}"
    );
    assert!(!ceremony.out("root-key.pub.pem").exists());
}

#[test]
fn a_wrong_signature_of_the_token_is_never_written() {
    let mut ceremony = Ceremony::new();
    ceremony.approve(&["ada", "bob"]);
    assert_eq!(ceremony.execute().status.code(), Some(3));
    ceremony.approve(&["ada", "bob"]);
    let faulty = ceremony.token.with_faults().unwrap();
    faulty.rules("C_Sign corrupt count=1").unwrap();
    ceremony.through(faulty.module(), faulty.env());
    let said = error_of(&ceremony.execute());
    assert!(said.contains("the signature is wrong"), "{said}");
    assert!(!ceremony.out("root.pem").exists());
    assert_eq!(ceremony.execute().status.code(), Some(0));
    ceremony.ok("verify", &[]);
}

#[test]
fn a_wrong_pin_is_tried_once() {
    let mut ceremony = Ceremony::new();
    ceremony.approve(&["ada", "bob"]);
    let faulty = ceremony.token.with_faults().unwrap();
    faulty.rules("C_Login rv=CKR_PIN_INCORRECT").unwrap();
    ceremony.through(faulty.module(), faulty.env());
    let said = error_of(&ceremony.execute());
    assert!(said.contains("refuses the PIN"), "{said}");
    assert_eq!(
        faulty
            .calls(softhsm_test_helpers::Function::C_Login)
            .unwrap(),
        1
    );
}
