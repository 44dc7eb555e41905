//! A PIN is tried once and appears nowhere.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, Mutex},
};

use hsm::{
    BoxFuture, Fault, LoginGate, LoginOutcome, LoginPermit, LoginRefused, Pin, Token, TokenInfo,
    TokenState,
};
use tokio::sync::Notify;

use crate::fixture::{Gate, soon, spec, token, until, workers};

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_again_only_when_asked() {
    let token = token("pin");
    let gate = Gate::new("not the pin");
    let hsm = Token::start(spec(&token), Arc::<Gate>::clone(&gate));
    until(&hsm, |state| {
        matches!(state, TokenState::LoginRefused { .. })
    })
    .await;
    let rejected = LoginOutcome::Rejected { locked: false };
    let error = hsm.random(1, soon()).await.unwrap_err();
    assert_eq!(error.fault(), Fault::Mend);
    assert!(error.to_string().contains("CKR_PIN_INCORRECT"), "{error}");
    assert_eq!(gate.outcomes(), [rejected]);

    gate.set_pin(token.user_pin());
    hsm.retry_login();
    until(&hsm, |state| matches!(state, TokenState::Ready { .. })).await;
    assert_eq!(gate.outcomes(), [rejected, LoginOutcome::Accepted]);
    assert_eq!(hsm.stats(soon()).await.unwrap().logins, 2);
}

#[tokio::test]
async fn the_pin_is_in_no_argument_and_no_environment() {
    let token = token("pin");
    let hsm = Token::start(spec(&token), Gate::new(token.user_pin()));
    until(&hsm, |state| matches!(state, TokenState::Ready { .. })).await;
    let pid = workers(&token)[0];
    let process = |file: &str| {
        String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{file}")).unwrap()).into_owned()
    };
    assert!(process("cmdline").contains("serve"), "cmdline was not read");
    assert!(!process("cmdline").contains(token.user_pin()));
    let (name, value) = token.env().pop_first().unwrap();
    assert_eq!(
        process("environ").trim_end_matches('\0'),
        format!("{name}={value}")
    );
}

#[tokio::test]
async fn the_worker_inherits_no_descriptor_of_the_client() {
    let token = token("descriptors");
    let hsm = Token::start(spec(&token), Gate::new(token.user_pin()));
    until(&hsm, |state| matches!(state, TokenState::Ready { .. })).await;
    let pid = workers(&token)[0];
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets: Vec<_> = descriptors
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .collect();
    let foreign: Vec<_> = targets
        .iter()
        .filter(|target| {
            let target = target.to_string_lossy();
            target.starts_with("anon_inode") || target.starts_with("/proc")
        })
        .collect();
    assert!(foreign.is_empty(), "{foreign:?}");
    // Standard input and its duplicates are one socket.
    let sockets: BTreeSet<_> = targets
        .iter()
        .filter(|target| target.to_string_lossy().starts_with("socket"))
        .collect();
    assert!(sockets.len() <= 1, "{targets:?}");
}

/// A gate that answers only when the test lets it, and records the calls of `withdraw` and `record` in order.
#[derive(Default)]
struct Hesitant {
    asked: Notify,
    answer: Notify,
    /// The token to stop at the moment of the answer.
    stopped: Mutex<Option<Token>>,
    told: Mutex<Vec<String>>,
}

impl LoginGate for Hesitant {
    fn permit<'a>(&'a self, _: &'a TokenInfo) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>> {
        Box::pin(async move {
            self.asked.notify_one();
            self.answer.notified().await;
            let stopped = self.stopped.lock().unwrap().take().unwrap();
            tokio::select! {
                biased;
                () = stopped.shutdown() => {}
                () = std::future::ready(()) => {}
            }
            Ok(LoginPermit {
                pin: Pin::new(b"not the pin".to_vec()),
                version: "1".into(),
            })
        })
    }

    fn withdraw<'a>(&'a self, _: &'a TokenInfo) -> BoxFuture<'a, ()> {
        self.told.lock().unwrap().push("withdraw".to_owned());
        Box::pin(async {})
    }

    fn record<'a>(
        &'a self,
        _: &'a TokenInfo,
        version: &'a str,
        outcome: LoginOutcome,
    ) -> BoxFuture<'a, ()> {
        let told = format!("{version}: {outcome:?}");
        self.told.lock().unwrap().push(told);
        Box::pin(async {})
    }
}

#[tokio::test]
async fn a_permit_that_is_pending_when_the_token_stops_is_withdrawn() {
    let token = token("pin");
    let gate = Arc::new(Hesitant::default());
    let hsm = Token::start(spec(&token), Arc::<Hesitant>::clone(&gate));
    gate.asked.notified().await;
    hsm.shutdown().await;
    assert_eq!(*gate.told.lock().unwrap(), ["withdraw"]);
}

#[tokio::test]
async fn a_permit_granted_at_the_moment_of_the_stop_is_recorded_as_not_tried() {
    let token = token("pin");
    let gate = Arc::new(Hesitant::default());
    let hsm = Token::start(spec(&token), Arc::<Hesitant>::clone(&gate));
    gate.asked.notified().await;
    *gate.stopped.lock().unwrap() = Some(hsm.clone());
    gate.answer.notify_one();
    let stopped = |state: &TokenState| *state == TokenState::Stopped;
    drop(hsm.state().wait_for(stopped).await);
    assert_eq!(*gate.told.lock().unwrap(), ["1: NotTried"]);
}
