//! Outages of a network HSM and of a sidecar. Each is a container that is paused, killed and started again.

use std::time::{Duration, Instant};

use hsm::{Fault, HsmError, Launch, LoginOutcome, Token, TokenSpec};
use softhsm_test_helpers::{KeyKind, NetworkHsm, Provider, Store, TestKey, TestToken};

use crate::{
    fixture::{Gate, ready, selector, sign, sign_by, soon, spec, until, verifies, worker},
    load::{Load, median, served},
};

fn token_and_key() -> (TestToken, TestKey) {
    let store = Store::of(Provider::SoftHsm).unwrap();
    let token = store.make_token("contained").unwrap();
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    (token, key)
}

/// Returns the configuration of a worker outside the container, with the token behind a connection.
fn over_the_network(token: &TestToken, far: &NetworkHsm) -> TokenSpec {
    TokenSpec {
        launch: Launch::Child {
            program: worker(),
            module: far.module().into(),
            env: far.env(),
        },
        ..spec(token)
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_network_hsm_that_was_killed_signs_with_the_same_key_after_its_restart() {
    let (token, test_key) = token_and_key();
    let far = token.as_network_hsm().await.unwrap();
    let gate = Gate::new(token.user_pin());
    let hsm = Token::start(over_the_network(&token, &far), gate.clone());
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let signature = sign(&hsm, &key).await.unwrap();
    assert!(verifies(&test_key, &signature));

    far.container().kill().await.unwrap();
    let error = sign(&hsm, &key).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");

    far.container().restart().await.unwrap();
    until(&hsm, ready).await;
    let signature = sign(&hsm, &key).await.unwrap();
    assert!(verifies(&test_key, &signature));
    let outcomes = gate.outcomes();
    assert!(
        outcomes
            .iter()
            .all(|outcome| *outcome == LoginOutcome::Accepted),
        "{outcomes:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_request_to_a_paused_network_hsm_ends_at_its_deadline() {
    let (token, test_key) = token_and_key();
    let far = token.as_network_hsm().await.unwrap();
    let hsm = Token::start(over_the_network(&token, &far), Gate::new(token.user_pin()));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let signature = sign(&hsm, &key).await.unwrap();
    assert!(verifies(&test_key, &signature));

    far.container().pause().await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = sign_by(&hsm, &key, deadline).await.unwrap_err();
    assert!(matches!(error, HsmError::TimedOut), "{error:?}");

    far.container().unpause().await.unwrap();
    let signature = sign(&hsm, &key).await.unwrap();
    assert!(verifies(&test_key, &signature));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_sidecar_that_was_killed_signs_with_the_same_key_after_its_restart() {
    let (token, test_key) = token_and_key();
    let sidecar = token.as_sidecar().await.unwrap();
    let beside = TokenSpec {
        launch: Launch::Sidecar {
            socket: sidecar.socket().into(),
        },
        ..spec(&token)
    };
    let hsm = Token::start(beside, Gate::new(token.user_pin()));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let signature = sign(&hsm, &key).await.unwrap();
    assert!(verifies(&test_key, &signature));

    sidecar.kill().await.unwrap();
    let error = sign(&hsm, &key).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");

    sidecar.restart().await.unwrap();
    until(&hsm, ready).await;
    let signature = sign(&hsm, &key).await.unwrap();
    assert!(verifies(&test_key, &signature));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_network_hsm_that_is_paused_and_killed_under_load_signs_after_every_return() {
    let (token, test_key) = token_and_key();
    let far = token.as_network_hsm().await.unwrap();
    let (hsm, key, gate) = served(&test_key, over_the_network(&token, &far)).await;
    let load = Load::on(&hsm, &key, &test_key);
    let (mut after_pause, mut after_kill) = (Vec::new(), Vec::new());
    for round in 0..10 {
        load.goes_on().await;
        if round % 2 == 0 {
            far.container().pause().await.unwrap();
            tokio::time::sleep(Duration::from_millis(100 * round)).await;
            far.container().unpause().await.unwrap();
        } else {
            far.container().kill().await.unwrap();
            until(&hsm, |state| !ready(state)).await;
            far.container().restart().await.unwrap();
        }
        let returned = Instant::now();
        load.goes_on().await;
        let times = if round % 2 == 0 {
            &mut after_pause
        } else {
            &mut after_kill
        };
        times.push(returned.elapsed());
    }
    let (signed, failed) = load.ends().await;
    let (after_pause, after_kill) = (median(after_pause), median(after_kill));
    println!(
        "5 pauses and 5 kills of the container: signing again after {} and {} ms (medians); {signed} signatures, \
         {failed} errors",
        after_pause.as_millis(),
        after_kill.as_millis()
    );
    assert!(failed > 0, "no request met a fault");
    assert!(after_pause < Duration::from_secs(1), "{after_pause:?}");
    assert!(after_kill < Duration::from_secs(1), "{after_kill:?}");
    let accepted = |outcome: &LoginOutcome| *outcome == LoginOutcome::Accepted;
    assert!(gate.outcomes().iter().all(accepted));
}
