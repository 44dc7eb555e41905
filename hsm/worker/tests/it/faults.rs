//! What the caller sees when worker, module or token fail.

use std::{
    io::{Read, Write},
    num::NonZeroU16,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::BytesMut;
use hsm::{
    Fault, Hash, HsmError, KeySelector, Launch, Mechanism, Pin, Token, TokenSelector, TokenSpec,
    TokenState,
    protocol::{
        Answer, Ask, Failure, FromWorker, Hello, HelloReply, Inbox, Request, Wanted, append,
        append_hello,
    },
};
use softhsm_test_helpers::{KeyKind, TestToken};

use crate::fixture::{Gate, selector, served, soon, spec, token, until, worker, workers};

const P256: Mechanism = Mechanism::Ecdsa(Hash::Sha256);

fn ready(state: &TokenState) -> bool {
    matches!(state, TokenState::Ready { .. })
}

fn signal(name: &str, pid: i32) {
    let sent = Command::new("kill")
        .args([name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn a_killed_worker_is_replaced_and_the_same_key_signs_on() {
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
    // The queue is full: the second pair of four is answered only after the first.
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
async fn a_worker_that_stands_still_is_killed_and_replaced() {
    let token = token("stopped");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let patience = TokenSpec {
        hang_after: Duration::from_secs(2),
        ..spec(&token)
    };
    let hsm = Token::start(patience, Gate::new(token.user_pin()));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let first = workers(&token);
    // Its own watchdog stands still too, so only the supervisor can end it.
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
    let token = token("away");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();

    token.softhsm().take_away().unwrap();
    let error = hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Passing, "{error:?}");
    until(&hsm, |state| {
        matches!(state, TokenState::AwaitingToken { .. })
    })
    .await;

    token.softhsm().give_back().unwrap();
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
            token: TokenSelector::Label("unknown".into()),
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

/// A worker without our client, and the test's end of its socket.
struct Alone {
    child: Child,
    socket: UnixStream,
    inbox: Inbox,
}

impl Alone {
    fn start(token: &TestToken) -> Self {
        let (socket, theirs) = UnixStream::pair().unwrap();
        let mut command = Command::new(worker());
        command
            .arg("serve")
            .arg("--module")
            .arg(token.module())
            .env_clear()
            .envs(token.env());
        let child = command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        Self {
            child,
            socket,
            inbox: Inbox::default(),
        }
    }

    fn greet(&mut self, token: &TestToken) {
        let mut out = BytesMut::new();
        let selector = TokenSelector::Serial(token.serial().into());
        append_hello(
            &mut out,
            &Hello {
                token: selector,
                sessions: NonZeroU16::new(1),
                hang_after_ms: 30_000,
            },
        )
        .unwrap();
        self.socket.write_all(&out).unwrap();
        while self.inbox.hello::<HelloReply>().unwrap().is_none() {
            self.read();
        }
    }

    fn send(&mut self, id: u32, ask: Ask) {
        let mut out = BytesMut::new();
        append(&mut out, &Request { id, ask }).unwrap();
        self.socket.write_all(&out).unwrap();
    }

    fn next(&mut self) -> FromWorker {
        loop {
            if let Some(frame) = self.inbox.frame().unwrap() {
                return frame;
            }
            self.read();
        }
    }

    fn ask(&mut self, ask: Ask) -> Result<Answer, Failure> {
        self.send(1, ask);
        match self.next() {
            FromWorker::Response { id: 1, outcome } => outcome,
            other @ (FromWorker::Response { .. } | FromWorker::Ending(_)) => panic!("{other:?}"),
        }
    }

    fn read(&mut self) {
        let mut octets = [0; 4096];
        let length = self.socket.read(&mut octets).unwrap();
        assert_ne!(length, 0, "the worker closed the socket");
        self.inbox.extend(&octets[..length]);
    }
}

#[test]
fn an_expired_job_never_reaches_the_token() {
    let token = token("expired");
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let mut alone = Alone::start(&token);
    alone.greet(&token);
    alone
        .ask(Ask::Login(Pin::new(token.user_pin().into())))
        .unwrap();
    let Ok(Answer::Key(found)) = alone.ask(Ask::FindKey(Wanted::Selected(selector(&key)))) else {
        panic!("no key")
    };
    let sign = |deadline_ms| Ask::Sign {
        key: found.number,
        mechanism: P256,
        deadline_ms,
        payload: vec![7; 32],
    };
    assert!(alone.ask(sign(60_000)).is_ok());
    assert_eq!(alone.ask(sign(0)).unwrap_err(), Failure::Expired);
    let Ok(Answer::Stats(stats)) = alone.ask(Ask::Stats) else {
        panic!("no stats")
    };
    assert_eq!((stats.signatures, stats.expired, stats.late), (1, 1, 0));
}

#[test]
fn nothing_is_signed_before_a_login() {
    let token = token("login");
    let mut alone = Alone::start(&token);
    alone.greet(&token);
    let wanted = Wanted::Selected(KeySelector::default());
    assert_eq!(
        alone.ask(Ask::FindKey(wanted)).unwrap_err(),
        Failure::NotLoggedIn
    );
}

#[test]
fn a_client_that_sends_beyond_its_credit_is_cut_off() {
    let token = token("credit");
    let mut alone = Alone::start(&token);
    alone.greet(&token);
    // One session grants two places.
    let mut out = BytesMut::new();
    for id in 0..10_000 {
        append(
            &mut out,
            &Request {
                id,
                ask: Ask::Describe,
            },
        )
        .unwrap();
    }
    // The worker may end before it has read everything.
    drop(alone.socket.write_all(&out));
    assert_eq!(alone.child.wait().unwrap().code(), Some(73));
}

#[test]
fn the_end_of_the_socket_ends_the_worker() {
    let token = token("eof");
    let Alone {
        mut child,
        socket,
        inbox: _,
    } = Alone::start(&token);
    drop(socket);
    assert!(child.wait().unwrap().success());
}

#[test]
fn octets_that_are_not_the_protocol_end_the_worker_with_a_code_of_its_own() {
    let token = token("hostile");
    let mut alone = Alone::start(&token);
    alone.socket.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    assert_eq!(alone.child.wait().unwrap().code(), Some(73));
}
