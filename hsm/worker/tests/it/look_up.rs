//! Limits of a look-up of a key: its deadline, the number of keys, and no effect on the signatures of others.

use std::{
    num::NonZeroU16,
    time::{Duration, Instant},
};

use hsm::{Fault, HsmError, KeySelector, Token, TokenSpec};
use softhsm_test_helpers::{Function, KeyKind, SoftwareKey, TestToken};

use crate::fixture::{Gate, faulty_spec, selector, sign, soon, token, verifies};

/// Puts `keys` keys with this label on the token.
fn crowd(token: &TestToken, label: &str, keys: u16) {
    let ids = (0..keys).map(|id| id.to_be_bytes().to_vec());
    let key = SoftwareKey::generate().unwrap();
    token.import_keys(label, ids, &key).unwrap();
}

fn by_label(label: &str) -> KeySelector {
    KeySelector {
        label: Some(label.into()),
        ..KeySelector::default()
    }
}

/// Calls that read objects.
const READING: [Function; 2] = [Function::C_FindObjectsInit, Function::C_GetAttributeValue];

#[tokio::test]
async fn a_look_up_ends_at_its_deadline_and_others_sign_meanwhile() {
    let token = token("slow");
    let test_key = token.generate_key("ca", &[1, 2, 3], KeyKind::P256).unwrap();
    crowd(&token, "crowd", 40);
    let module = token.with_faults().unwrap();
    let spec = TokenSpec {
        // The look-up lasts longer than this, but none of its calls does.
        hang_after: Duration::from_secs(1),
        sessions: NonZeroU16::new(2),
        ..faulty_spec(&token, &module)
    };
    let hsm = Token::start(spec, Gate::new(token.user_pin()));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    // All 40 keys would take 40 times four calls of 50 ms, which is eight seconds.
    module.rules("C_GetAttributeValue delay_ms=50").unwrap();
    let looking = {
        let (hsm, deadline) = (hsm.clone(), Instant::now() + Duration::from_secs(2));
        tokio::spawn(async move { hsm.find_key(&by_label("crowd"), deadline).await })
    };
    let mut meanwhile = 0;
    while !looking.is_finished() {
        assert!(verifies(&test_key, &sign(&hsm, &key).await.unwrap()));
        meanwhile += 1;
    }
    assert!(meanwhile > 0);
    let error = looking.await.unwrap().unwrap_err();
    assert!(matches!(error, HsmError::TimedOut), "{error:?}");
    assert_eq!(hsm.tally().starts, 1);
}

#[tokio::test]
async fn an_abandoned_look_up_does_not_run_on() {
    let token = token("abandoned");
    crowd(&token, "crowd", 40);
    let module = token.with_faults().unwrap();
    let spec = TokenSpec {
        sessions: NonZeroU16::new(1),
        ..faulty_spec(&token, &module)
    };
    let hsm = Token::start(spec, Gate::new(token.user_pin()));
    hsm.random(1, soon()).await.unwrap();
    module.rules("C_GetAttributeValue delay_ms=50").unwrap();
    let deadline = Instant::now() + Duration::from_millis(500);
    {
        let selector = by_label("crowd");
        let abandoned = hsm.find_key(&selector, deadline);
        let patience = Duration::from_millis(100);
        let given_up = tokio::time::timeout(patience, abandoned).await;
        assert!(given_up.is_err(), "{given_up:?}");
    }
    // The only session answers after the look-up has ended, so nothing is read after this.
    hsm.random(1, soon()).await.unwrap();
    let reads = || READING.map(|function| module.calls(function).unwrap());
    let ended = reads();
    assert!(ended[1] < 40, "{ended:?}");
    hsm.random(1, soon()).await.unwrap();
    assert_eq!(reads(), ended);
}

#[tokio::test]
async fn a_look_up_that_matches_too_many_keys_reads_none_and_says_what_to_do() {
    let token = token("crowd");
    let test_key = token.generate_key("ca", &[1, 2, 3], KeyKind::P256).unwrap();
    crowd(&token, "crowd", 501);
    let module = token.with_faults().unwrap();
    let hsm = Token::start(faulty_spec(&token, &module), Gate::new(token.user_pin()));
    hsm.random(1, soon()).await.unwrap();
    let before = module.calls(Function::C_GetAttributeValue).unwrap();
    let error = hsm.find_key(&by_label("crowd"), soon()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Mend, "{error:?}");
    assert_eq!(
        error.to_string(),
        "more than 500 private keys on the token match; name the key by label and id, so that fewer do"
    );
    assert_eq!(module.calls(Function::C_GetAttributeValue).unwrap(), before);
    // A key that label and id select is found among them, and another key still signs.
    let one_of_them = KeySelector {
        id: Some(vec![1, 0]),
        ..by_label("crowd")
    };
    let found = hsm.find_key(&one_of_them, soon()).await.unwrap();
    assert_eq!(found.name().id, [1, 0]);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    assert!(verifies(&test_key, &sign(&hsm, &key).await.unwrap()));
    assert_eq!(hsm.tally().starts, 1);
}
