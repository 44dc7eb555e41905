//! What the caller sees when the worker, the module or the token fails.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{Fault, Hash, HsmError, Launch, Mechanism, Token, TokenSelector, TokenSpec, TokenState};
use softhsm_test_helpers::{KeyKind, Provider, Store};

use crate::fixture::{
    Gate, ready, selector, served, signal, soon, spec, token, until, worker, workers,
};

const P256: Mechanism = Mechanism::Ecdsa(Hash::Sha256);

#[tokio::test]
async fn a_killed_worker_is_replaced_and_the_same_key_signs_again() {
    let token = token("killed");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
    let first = workers(&token);
    signal("-KILL", first[0]);
    until(&hsm, |state| !ready(state)).await;
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
    assert_ne!(workers(&token), first);
}

#[tokio::test]
async fn a_request_in_flight_fails_at_once_when_the_worker_is_killed() {
    let token = token("in-flight");
    let test_key = token.generate_key("ca", &[1], KeyKind::Rsa4096).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (hsm, key) = (hsm.clone(), key.clone());
            tokio::spawn(async move {
                hsm.sign(&key, Mechanism::RsaPkcs1(Hash::Sha256), &[7; 32], soon())
                    .await
            })
        })
        .collect();
    // The queue is full: two sessions work on the first two of four requests, and the other two wait.
    tokio::task::yield_now().await;
    signal("-KILL", workers(&token)[0]);
    let mut lost = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.fault(), Fault::Passing, "{error:?}");
                lost += usize::from(matches!(error, HsmError::WorkerLost { .. }));
            }
        }
    }
    assert!(lost > 0, "no request was in flight");
}

#[tokio::test]
async fn a_stopped_worker_is_killed_and_replaced() {
    let token = token("stopped");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let patience = TokenSpec {
        hang_after: Duration::from_secs(2),
        ..spec(&token)
    };
    let hsm = Token::start(patience, Gate::new(token.user_pin()));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let first = workers(&token);
    // The worker's watchdog is stopped too, so only the supervisor can end the worker.
    signal("-STOP", first[0]);
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = hsm.sign(&key, P256, &[7; 32], deadline).await.unwrap_err();
    assert!(matches!(error, HsmError::TimedOut), "{error:?}");
    until(&hsm, |state| !ready(state)).await;
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
    assert_ne!(workers(&token), first);
}

#[tokio::test]
async fn a_token_that_comes_back_signs_with_the_same_key() {
    // Not Kryoptic, which keeps an opened token open when its file is moved.
    let store = Store::of(Provider::SoftHsm).unwrap();
    let token = store.make_token("away").unwrap();
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();

    token.store().take_away().unwrap();
    let error = hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");
    until(&hsm, |state| {
        matches!(state, TokenState::AwaitingToken { .. })
    })
    .await;

    token.store().give_back().unwrap();
    until(&hsm, ready).await;
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
}

#[tokio::test]
async fn a_missing_module_is_a_misconfiguration() {
    let token = token("module");
    let mut spec = spec(&token);
    spec.launch = Launch::Child {
        program: worker(),
        module: "/nonexistent.so".into(),
        env: token.env(),
    };
    let hsm = Token::start(spec, Gate::new("unused"));
    let state = until(&hsm, |state| {
        matches!(state, TokenState::Misconfigured { .. })
    })
    .await;
    assert!(state.to_string().contains("/nonexistent.so"), "{state}");
    assert_eq!(
        hsm.random(1, soon()).await.unwrap_err().fault(),
        Fault::Mend
    );
}

#[tokio::test]
async fn a_missing_worker_program_is_a_misconfiguration() {
    let token = token("program");
    let mut spec = spec(&token);
    spec.launch = Launch::Child {
        program: PathBuf::from("/nonexistent"),
        module: token.module().into(),
        env: token.env(),
    };
    let hsm = Token::start(spec, Gate::new("unused"));
    until(&hsm, |state| {
        matches!(state, TokenState::Misconfigured { .. })
    })
    .await;
}

#[tokio::test]
async fn an_unknown_token_is_awaited_and_no_pin_is_tried() {
    let token = token("known");
    let gate = Gate::new(token.user_pin());
    let hsm = Token::start(
        TokenSpec {
            token: TokenSelector::by_label("unknown"),
            ..spec(&token)
        },
        Arc::<Gate>::clone(&gate),
    );
    let state = until(&hsm, |state| {
        matches!(state, TokenState::AwaitingToken { .. })
    })
    .await;
    assert!(state.to_string().contains("\"known\""), "{state}");
    assert_eq!(gate.outcomes(), []);
}

#[tokio::test]
async fn shutting_down_ends_the_worker() {
    let token = token("shutdown");
    let hsm = served(&token);
    until(&hsm, ready).await;
    assert_eq!(workers(&token).len(), 1);
    hsm.shutdown().await;
    assert!(workers(&token).is_empty());
    assert!(matches!(
        hsm.random(1, soon()).await.unwrap_err(),
        HsmError::Unavailable { .. }
    ));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_worker() {
    let token = token("dropped");
    let hsm = served(&token);
    until(&hsm, ready).await;
    let mut state = hsm.state();
    drop(hsm);
    state
        .wait_for(|state| *state == TokenState::Stopped)
        .await
        .unwrap();
    assert!(workers(&token).is_empty());
}
