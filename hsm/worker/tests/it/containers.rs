//! Outages of a network HSM and of a sidecar, each a container that is paused, killed and started again.

use std::time::{Duration, Instant};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use hsm::{Fault, Hash, HsmError, Key, Launch, LoginOutcome, Mechanism, Token, TokenSpec};
use softhsm_test_helpers::{KeyKind, NetworkHsm, Provider, Store, TestKey, TestToken};

use crate::fixture::{Gate, ready, selector, soon, spec, until, worker};

const MESSAGE: &[u8] = b"to be signed";
const P256: Mechanism = Mechanism::Ecdsa(Hash::Sha256);

fn token_and_key() -> (TestToken, TestKey) {
    let store = Store::of(Provider::SoftHsm).unwrap();
    let token = store.make_token("contained").unwrap();
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    (token, key)
}

/// The worker outside, the token behind a connection.
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

async fn sign(
    hsm: &Token,
    key: &Key,
    test_key: &TestKey,
    deadline: Instant,
) -> Result<(), HsmError> {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, MESSAGE);
    let signature = hsm.sign(key, P256, digest.as_ref(), deadline).await?;
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, test_key.public_octets())
        .verify(MESSAGE, &signature)
        .unwrap();
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_network_hsm_that_was_killed_signs_with_the_same_key_when_it_is_back() {
    let (token, test_key) = token_and_key();
    let far = token.as_network_hsm().await.unwrap();
    let gate = Gate::new(token.user_pin());
    let hsm = Token::start(over_the_network(&token, &far), gate.clone());
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    sign(&hsm, &key, &test_key, soon()).await.unwrap();

    far.container().kill().await.unwrap();
    let error = sign(&hsm, &key, &test_key, soon()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");

    far.container().restart().await.unwrap();
    until(&hsm, ready).await;
    sign(&hsm, &key, &test_key, soon()).await.unwrap();
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
async fn a_paused_network_hsm_costs_no_more_than_the_deadline() {
    let (token, test_key) = token_and_key();
    let far = token.as_network_hsm().await.unwrap();
    let hsm = Token::start(over_the_network(&token, &far), Gate::new(token.user_pin()));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    sign(&hsm, &key, &test_key, soon()).await.unwrap();

    far.container().pause().await.unwrap();
    let deadline = Instant::now() + Duration::from_millis(100);
    let error = sign(&hsm, &key, &test_key, deadline).await.unwrap_err();
    assert!(matches!(error, HsmError::TimedOut), "{error:?}");

    far.container().unpause().await.unwrap();
    sign(&hsm, &key, &test_key, soon()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_sidecar_that_was_killed_signs_with_the_same_key_when_it_is_back() {
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
    sign(&hsm, &key, &test_key, soon()).await.unwrap();

    sidecar.kill().await.unwrap();
    let error = sign(&hsm, &key, &test_key, soon()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");

    sidecar.restart().await.unwrap();
    until(&hsm, ready).await;
    sign(&hsm, &key, &test_key, soon()).await.unwrap();
}
