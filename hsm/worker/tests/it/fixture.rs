//! Tokens, gates and deadlines that tests share.

use std::{
    num::NonZeroU16,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey},
};
use hsm::{
    BoxFuture, Fault, Hash, HsmError, Key, KeySelector, Launch, LoginGate, LoginOutcome,
    LoginPermit, LoginRefused, Mechanism, Pin, Token, TokenInfo, TokenSelector, TokenSpec,
    TokenState,
};
use softhsm_test_helpers::{FaultyModule, Function, Store, TestKey, TestToken, device_from_env};

/// A gate that permits every login with the PIN it holds, and records the outcomes.
#[derive(Debug)]
pub(crate) struct Gate {
    pin: Mutex<Vec<u8>>,
    has_pin: bool,
    pub(crate) outcomes: Mutex<Vec<LoginOutcome>>,
}

impl Gate {
    pub(crate) fn new(pin: &str) -> Arc<Self> {
        Arc::new(Self {
            pin: Mutex::new(pin.into()),
            has_pin: true,
            outcomes: Mutex::default(),
        })
    }

    /// Returns the gate of a token that is configured without a PIN.
    pub(crate) fn without_pin() -> Arc<Self> {
        Arc::new(Self {
            pin: Mutex::default(),
            has_pin: false,
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
    fn has_pin(&self) -> bool {
        self.has_pin
    }

    fn permit<'a>(&'a self, _: &'a TokenInfo) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>> {
        let pin = Pin::new(self.pin.lock().unwrap().clone());
        Box::pin(async move {
            Ok(LoginPermit {
                pin,
                version: "1".into(),
            })
        })
    }

    fn withdraw<'a>(&'a self, _: &'a TokenInfo) -> BoxFuture<'a, ()> {
        Box::pin(async {})
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

/// Returns the configuration of a token. If the variable `TEST_DEVICE` names a device, the token is behind the rules of that
/// device, so that whole parts of this suite can run with it.
pub(crate) fn spec(token: &TestToken) -> TokenSpec {
    let Some(device) = device_from_env().unwrap() else {
        return plain_spec(token);
    };
    // The worker reads the rules whenever it starts, until the end of the test.
    let module = Box::leak(Box::new(token.with_faults().unwrap()));
    module.rules(device.rules).unwrap();
    TokenSpec {
        // Devices may share a serial number.
        token: TokenSelector::by_label(token.label()),
        ..faulty_spec(token, module)
    }
}

fn plain_spec(token: &TestToken) -> TokenSpec {
    TokenSpec {
        name: token.label().into(),
        launch: Launch::Child {
            program: worker(),
            module: token.module().into(),
            env: token.env(),
        },
        token: TokenSelector::by_serial(token.serial()),
        sessions: NonZeroU16::new(2),
        hang_after: Duration::from_secs(30),
    }
}

/// Returns a deadline that is far enough for a busy machine; no test waits until it passes.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}

pub(crate) fn token(label: &str) -> TestToken {
    Store::new().unwrap().make_token(label).unwrap()
}

/// Starts to serve a token with the right PIN.
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

/// Waits for a state, and panics after 60 s.
pub(crate) async fn until(token: &Token, wanted: impl FnMut(&TokenState) -> bool) -> TokenState {
    let mut state = token.state();
    let reached = tokio::time::timeout(Duration::from_secs(60), state.wait_for(wanted)).await;
    reached
        .unwrap_or_else(|_| panic!("still {:?}", token.state().borrow()))
        .unwrap()
        .clone()
}

pub(crate) const P256: Mechanism = Mechanism::Ecdsa(Hash::Sha256);
const MESSAGE: &[u8] = b"to be signed";

/// Signs the message with a P-256 key.
pub(crate) async fn sign(hsm: &Token, key: &Key) -> Result<Vec<u8>, HsmError> {
    sign_by(hsm, key, soon()).await
}

pub(crate) async fn sign_by(
    hsm: &Token,
    key: &Key,
    deadline: Instant,
) -> Result<Vec<u8>, HsmError> {
    let digest = digest::digest(&digest::SHA256, MESSAGE);
    hsm.sign(key, P256, digest.as_ref(), deadline).await
}

/// Returns whether an independent verifier accepts a signature of [`sign`].
pub(crate) fn verifies(key: &TestKey, signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.public_octets())
        .verify(MESSAGE, signature)
        .is_ok()
}

/// Token behind the fault-injecting library, with a worker and a key that has signed once.
pub(crate) struct Faulty {
    pub(crate) module: FaultyModule,
    pub(crate) gate: Arc<Gate>,
    pub(crate) hsm: Token,
    pub(crate) test_key: TestKey,
    pub(crate) key: Key,
}

impl Faulty {
    /// Starts a worker and makes one signature, so that every fault starts from a healthy worker.
    pub(crate) async fn new(test_key: &TestKey) -> Self {
        Self::hanging_after(test_key, Duration::from_secs(30)).await
    }

    pub(crate) async fn hanging_after(test_key: &TestKey, hang_after: Duration) -> Self {
        let module = test_key.token().with_faults().unwrap();
        let gate = Gate::new(test_key.token().user_pin());
        let spec = TokenSpec {
            hang_after,
            ..faulty_spec(test_key.token(), &module)
        };
        let hsm = Token::start(spec, Arc::<Gate>::clone(&gate));
        let key = hsm.find_key(&selector(test_key), soon()).await.unwrap();
        sign(&hsm, &key).await.unwrap();
        Self {
            module,
            gate,
            hsm,
            test_key: test_key.clone(),
            key,
        }
    }

    /// Makes the library fail by these rules from now on.
    pub(crate) fn rules(&self, rules: &str) {
        self.module.rules(rules).unwrap();
    }

    pub(crate) async fn sign(&self) -> Result<Vec<u8>, HsmError> {
        sign(&self.hsm, &self.key).await
    }

    /// Waits until the same key signs again, and asserts that every error until then is a passing one. Returns how long
    /// it took.
    pub(crate) async fn recovers(&self, after: &str) -> Duration {
        let started = Instant::now();
        loop {
            match self.sign().await {
                Ok(signature) => {
                    assert!(verifies(&self.test_key, &signature), "{after}");
                    return started.elapsed();
                }
                Err(error) => assert_eq!(error.fault(), Fault::Passing, "{after}: {error:?}"),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Returns the calls of `C_Login` by all workers so far.
    pub(crate) fn logins(&self) -> u64 {
        self.module.calls(Function::C_Login).unwrap()
    }
}

/// Returns the configuration of a token behind the fault-injecting library.
pub(crate) fn faulty_spec(token: &TestToken, module: &FaultyModule) -> TokenSpec {
    TokenSpec {
        launch: Launch::Child {
            program: worker(),
            module: module.module().into(),
            env: module.env(),
        },
        ..plain_spec(token)
    }
}

pub(crate) fn ready(state: &TokenState) -> bool {
    matches!(state, TokenState::Ready { .. })
}

/// Sends a signal, given as an option of `kill`.
pub(crate) fn signal(name: &str, pid: i32) {
    let sent = Command::new("kill")
        .args([name, &pid.to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    // A thread goes on until the kernel stops it.
    while name == "-STOP" && runs(pid) {
        std::thread::yield_now();
    }
}

/// Returns whether a thread of the process is neither stopped nor ended (proc_pid_stat(5)).
fn runs(pid: i32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
        state.is_some_and(|state| !state.starts_with(['T', 'Z', 'X']))
    })
}

/// Returns the process ids of a token's workers, without the listener of a sidecar.
pub(crate) fn workers(token: &TestToken) -> Vec<i32> {
    let (name, value) = token.env().pop_first().unwrap();
    let variable = format!("{name}={value}\0");
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let ours = |pid: &i32| {
        let of = |file: &str| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let holds = |octets: Vec<u8>, text: &str| {
            octets
                .windows(text.len())
                .any(|window| window == text.as_bytes())
        };
        holds(of("cmdline"), "pkcs11-hsm-worker\0serve") && holds(of("environ"), &variable)
    };
    pids.filter(ours).collect()
}
