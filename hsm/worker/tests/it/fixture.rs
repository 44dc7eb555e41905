//! Tokens, gates and deadlines that tests share.

use std::{
    num::NonZeroU16,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use hsm::{
    BoxFuture, KeySelector, Launch, LoginGate, LoginOutcome, LoginPermit, LoginRefused, Pin, Token,
    TokenInfo, TokenSelector, TokenSpec, TokenState,
};
use softhsm_test_helpers::{SoftHsm, TestKey, TestToken};

/// Gives the PIN that it holds and notes everything.
#[derive(Debug)]
pub(crate) struct Gate {
    pin: Mutex<Vec<u8>>,
    pub(crate) outcomes: Mutex<Vec<LoginOutcome>>,
}

impl Gate {
    pub(crate) fn new(pin: &str) -> Arc<Self> {
        Arc::new(Self {
            pin: Mutex::new(pin.into()),
            outcomes: Mutex::default(),
        })
    }

    pub(crate) fn set_pin(&self, pin: &str) {
        *self.pin.lock().unwrap() = pin.into();
    }

    pub(crate) fn outcomes(&self) -> Vec<LoginOutcome> {
        self.outcomes.lock().unwrap().clone()
    }
}

impl LoginGate for Gate {
    fn permit<'a>(&'a self, _: &'a TokenInfo) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>> {
        let pin = Pin::new(self.pin.lock().unwrap().clone());
        Box::pin(async move {
            Ok(LoginPermit {
                pin,
                version: "1".into(),
            })
        })
    }

    fn record<'a>(
        &'a self,
        _: &'a TokenInfo,
        version: &'a str,
        outcome: LoginOutcome,
    ) -> BoxFuture<'a, ()> {
        assert_eq!(version, "1");
        self.outcomes.lock().unwrap().push(outcome);
        Box::pin(async {})
    }
}

pub(crate) fn worker() -> PathBuf {
    env!("CARGO_BIN_EXE_pkcs11-hsm-worker").into()
}

pub(crate) fn spec(token: &TestToken) -> TokenSpec {
    TokenSpec {
        name: token.label().into(),
        launch: Launch::Child {
            program: worker(),
            module: token.module().into(),
            env: token.env(),
        },
        token: TokenSelector::Serial(token.serial().into()),
        sessions: NonZeroU16::new(2),
        hang_after: Duration::from_secs(30),
    }
}

/// Long enough for a busy machine; no test waits for it to pass.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn token(label: &str) -> TestToken {
    SoftHsm::new().unwrap().make_token(label).unwrap()
}

/// A token served with the right PIN.
pub(crate) fn served(token: &TestToken) -> Token {
    Token::start(spec(token), Gate::new(token.user_pin()))
}

pub(crate) fn selector(key: &TestKey) -> KeySelector {
    KeySelector {
        label: Some(key.label().into()),
        id: Some(key.id().into()),
        public_key: Some(key.spki_der()),
    }
}

/// Waits for a state.
pub(crate) async fn until(token: &Token, wanted: impl FnMut(&TokenState) -> bool) -> TokenState {
    let mut state = token.state();
    let reached = tokio::time::timeout(Duration::from_secs(60), state.wait_for(wanted)).await;
    reached
        .unwrap_or_else(|_| panic!("still {:?}", token.state().borrow()))
        .unwrap()
        .clone()
}

pub(crate) fn ready(state: &TokenState) -> bool {
    matches!(state, TokenState::Ready { .. })
}

/// Sends a signal, named as `kill` wants it.
pub(crate) fn signal(name: &str, pid: i32) {
    let sent = Command::new("kill")
        .args([name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
}

/// The worker processes of a module environment, by process id; a sidecar's listener is none.
pub(crate) fn workers(token: &TestToken) -> Vec<i32> {
    let configuration = format!("SOFTHSM2_CONF={}", token.env()["SOFTHSM2_CONF"]);
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let of = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let holds = |octets: Vec<u8>, text: &str| {
            octets
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        holds(of("cmdline"), "pkcs11-hsm-worker\0serve") && holds(of("environ"), &configuration)
    };
    pids.filter(ours).collect()
}
