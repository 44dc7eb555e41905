//! What the caller sees when worker, module or token fail.

use std::{
    io::Write,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use hsm::{Fault, Hash, HsmError, Launch, Mechanism, Token, TokenSelector, TokenState};
use softhsm_test_helpers::KeyKind;

use crate::fixture::{Gate, selector, served, soon, spec, token, until, worker, workers};

const P256: Mechanism = Mechanism::Ecdsa(Hash::Sha256);

fn ready(state: &TokenState) -> bool {
    matches!(state, TokenState::Ready { .. })
}

fn kill(pid: i32) {
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
    assert!(killed.success());
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_the_same_key_signs_on() {
    let token = token("killed");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
    let first = workers(&token);
    kill(first[0]);
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
            tokio::spawn(async move { hsm.sign(&key, Mechanism::RsaPkcs1(Hash::Sha256), &[7; 32], soon()).await })
        })
        .collect();
    // The queue is full: the second pair of four is answered only after the first.
    tokio::task::yield_now().await;
    kill(workers(&token)[0]);
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
async fn an_expired_job_never_reaches_the_token() {
    let token = token("expired");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    // Sent with no time left: the deadline passes before a session looks at it.
    let error = hsm.sign(&key, P256, &[7; 32], Instant::now() + Duration::from_micros(1)).await.unwrap_err();
    assert!(matches!(error, HsmError::TimedOut | HsmError::Overloaded), "{error:?}");
    assert_eq!(error.fault(), Fault::Passing);
    assert_eq!(hsm.stats(soon()).await.unwrap().signatures, 0);
}

#[tokio::test]
async fn a_token_that_comes_back_signs_with_the_same_key() {
    let token = token("away");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();

    token.softhsm().take_away().unwrap();
    let error = hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");
    until(&hsm, |state| matches!(state, TokenState::AwaitingToken { .. })).await;

    token.softhsm().give_back().unwrap();
    until(&hsm, ready).await;
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
}

#[tokio::test]
async fn a_missing_module_is_a_misconfiguration() {
    let token = token("module");
    let mut spec = spec(&token);
    spec.launch = Launch::Child { program: worker(), module: "/nonexistent.so".into(), env: token.env() };
    let hsm = Token::start(spec, Gate::new("unused"));
    let state = until(&hsm, |state| matches!(state, TokenState::Misconfigured { .. })).await;
    assert!(state.to_string().contains("/nonexistent.so"), "{state}");
    assert_eq!(hsm.random(1, soon()).await.unwrap_err().fault(), Fault::Mend);
}

#[tokio::test]
async fn a_missing_worker_program_is_a_misconfiguration() {
    let token = token("program");
    let mut spec = spec(&token);
    spec.launch =
        Launch::Child { program: PathBuf::from("/nonexistent"), module: token.module().into(), env: token.env() };
    let hsm = Token::start(spec, Gate::new("unused"));
    until(&hsm, |state| matches!(state, TokenState::Misconfigured { .. })).await;
}

#[tokio::test]
async fn an_unknown_token_is_awaited_and_no_pin_is_tried() {
    let token = token("known");
    let gate = Gate::new(token.user_pin());
    let hsm = Token::start(
        hsm::TokenSpec { token: TokenSelector::Label("unknown".into()), ..spec(&token) },
        std::sync::Arc::clone(&gate) as _,
    );
    let state = until(&hsm, |state| matches!(state, TokenState::AwaitingToken { .. })).await;
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
    assert!(matches!(hsm.random(1, soon()).await.unwrap_err(), HsmError::Unavailable { .. }));
}

#[tokio::test]
async fn dropping_the_last_handle_ends_the_worker() {
    let token = token("dropped");
    let hsm = served(&token);
    until(&hsm, ready).await;
    let mut state = hsm.state();
    drop(hsm);
    state.wait_for(|state| *state == TokenState::Stopped).await.unwrap();
    assert!(workers(&token).is_empty());
}

fn worker_alone(token: &softhsm_test_helpers::TestToken) -> (std::process::Child, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut command = Command::new(worker());
    command.arg("serve").arg("--module").arg(token.module()).env_clear().envs(token.env());
    let child = command.stdin(Stdio::from(OwnedFd::from(theirs))).spawn().unwrap();
    (child, ours)
}

#[test]
fn the_end_of_the_socket_ends_the_worker() {
    let token = token("eof");
    let (mut child, socket) = worker_alone(&token);
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn octets_that_are_not_the_protocol_end_the_worker_with_a_code_of_its_own() {
    let token = token("hostile");
    let (mut child, mut socket) = worker_alone(&token);
    socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(73));
}
