//! Who signs: the tokens of the operator's configuration, and what each lets whom sign.

mod find;
mod key;
pub mod limiter;
mod mechanism;
pub mod protection;
pub mod reload;
mod tokens;
mod turns;

use std::{
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use hsm::{HsmError, KeyName, KeySelector, Launch, Token, TokenSpec, TokenState};
use tokio::task::JoinHandle;

use self::{find::Narrowed, protection::Unprotected, turns::Turns};
pub use self::{
    find::NoKey,
    key::{GrantedKey, KeyTurn},
    tokens::{Change, Tokens},
};
use crate::{
    config::{IssuerScope, Library, TokenConfig, TokenSelector},
    issuance::Fault,
    metrics::{Metrics, TokenCounts},
    pins::{TokenPin, source::PinSecret},
};

/// One deadline covers the queue and the PKCS#11 call.
const SIGN_WITHIN: Duration = Duration::from_secs(10);

/// A token with the rules for its use.
#[derive(Debug)]
pub struct ConfiguredToken {
    version: TokenVersion,
    config: TokenConfig,
    running: Arc<Running>,
}

/// One token under one configuration: another one has another version, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenVersion(u64);

impl TokenVersion {
    fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// What stays of a token when other rules for its use come into force: worker, login, and who waits for it.
#[derive(Debug)]
struct Running {
    token: Token,
    pin: Arc<TokenPin>,
    turns: Arc<Turns>,
    counting: Mutex<Option<JoinHandle<()>>>,
    /// Since when the worker that is to stand next has been starting; `None` while one stands, or the token wants something.
    starting: Mutex<Option<Instant>>,
}

impl ConfiguredToken {
    /// Starts a worker for one token. Returns at once; the token becomes ready on its own, if `pin` lets it.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(
        config: &TokenConfig,
        worker: &Path,
        pin: TokenPin,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let pin = Arc::new(pin);
        let token = Token::start(spec(config, worker), Arc::<TokenPin>::clone(&pin));
        let counting = tokio::spawn(count(
            config.name().to_owned(),
            token.clone(),
            Arc::clone(metrics),
        ));
        Self {
            version: TokenVersion::new(),
            config: config.clone(),
            running: Arc::new(Running {
                token,
                pin,
                turns: Arc::default(),
                counting: Mutex::new(Some(counting)),
                starting: Mutex::new(Some(Instant::now())),
            }),
        }
    }

    /// The same running token under other rules.
    fn granted_by(&self, config: &TokenConfig) -> Self {
        Self {
            version: TokenVersion::new(),
            config: config.clone(),
            running: Arc::clone(&self.running),
        }
    }

    /// Lets the worker finish what it has begun and end, and counts the token no more.
    async fn stop(&self, metrics: &Metrics) {
        let Running {
            token, counting, ..
        } = &*self.running;
        token.shutdown().await;
        let counting = counting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(counting) = counting {
            // It ends with the token; what it counts last must not be left behind.
            drop(counting.await);
        }
        metrics.forget_token(self.name(), &counts(token));
    }

    /// The name that issuers use.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.name()
    }

    /// Which token under which configuration this is.
    #[must_use]
    pub const fn version(&self) -> TokenVersion {
        self.version
    }

    /// The worker's side of it.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.running.token
    }

    /// Asks the PIN's gate again if no login stands: it knows whether the PIN is another one than before.
    pub fn pin_may_have_changed(&self) {
        if matches!(
            *self.running.token.state().borrow(),
            TokenState::LoginRefused { .. }
        ) {
            self.running.token.retry_login();
        }
    }

    /// Until when a worker that is starting is waited for, as a signature would wait for it; `None` when none is, or not any
    /// more. Until then nobody need be told that the token cannot be used.
    #[must_use]
    pub fn starts_until(&self) -> Option<Instant> {
        let now = Instant::now();
        let until = self.running.starting(now)? + SIGN_WITHIN;
        (now < until).then_some(until)
    }

    /// What the operator's configuration says of it.
    #[must_use]
    pub const fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// Whether issuers of this scope bring the PIN.
    #[must_use]
    pub fn takes_pin_from(&self, owner: IssuerScope<'_>) -> bool {
        self.config.pin().is_from(owner)
    }

    /// Whether its grants depend on the labels of namespaces.
    #[must_use]
    pub fn selects_namespaces(&self) -> bool {
        self.config.selects_namespaces()
    }

    /// Takes the PIN Secret that an issuer names.
    ///
    /// # Errors
    /// The Secret that another issuer of the token names, if it is a different one.
    pub fn name_pin_secret(&self, issuer: &str, secret: &PinSecret) -> Result<(), PinSecret> {
        self.running.pin.name_secret(issuer, secret)
    }

    /// Finds the one key that `selector` means, that a grant lets `owner` use under the issuing certificate with this
    /// SHA-256, and that is kept as the operator requires. `issuer` names the issuer among all those that queue for the
    /// token.
    ///
    /// # Errors
    /// [`NoKey`]. A key outside the grants is reported exactly as one that does not exist.
    pub async fn find_key(
        &self,
        owner: IssuerScope<'_>,
        issuer: &str,
        selector: &KeySelector,
        certificate: &[u8; 32],
        metrics: &Arc<Metrics>,
    ) -> Result<GrantedKey, NoKey> {
        let key = self.find_granted_key(owner, selector).await?;
        let name = key.name();
        let limits = self
            .config
            .limits(owner, &name.label, &name.id, certificate)
            .ok_or_else(|| NoKey::Certificate(name.to_string()))?;
        let broken = protection::broken(&key.attributes(), self.config.key_rules());
        if !broken.is_empty() {
            return Err(NoKey::Unprotected(Unprotected { key: name, broken }));
        }
        Ok(GrantedKey {
            token: self.running.token.clone(),
            token_name: self.name().into(),
            issuer: issuer.into(),
            turns: Arc::clone(&self.running.turns),
            id: name.id,
            limits: limits.clone(),
            key,
            metrics: Arc::clone(metrics),
        })
    }

    /// The key, whatever the issuing certificate and however it is kept.
    async fn find_granted_key(
        &self,
        owner: IssuerScope<'_>,
        selector: &KeySelector,
    ) -> Result<hsm::Key, HsmError> {
        let granted = |name: &KeyName| self.config.may_use(owner, &name.label, &name.id);
        let narrowed = |failure| find::narrowed(failure, granted);
        let token = &self.running.token;
        let deadline = Instant::now() + SIGN_WITHIN;
        let found = match token.find_key(selector, deadline).await.map_err(narrowed) {
            Err(Narrowed::One(name)) => {
                let named = KeySelector {
                    label: Some(name.label),
                    id: Some(name.id),
                    ..selector.clone()
                };
                token.find_key(&named, deadline).await.map_err(narrowed)
            }
            found => found,
        };
        match found {
            Ok(key) if granted(&key.name()) => Ok(key),
            // By label and id all keys are granted or none is.
            Ok(_) | Err(Narrowed::One(_)) => Err(find::none()),
            Err(Narrowed::Failed(failure)) => Err(failure),
        }
    }
}

impl Running {
    /// Since when its worker has been starting, as was noticed at `now` or before.
    fn starting(&self, now: Instant) -> Option<Instant> {
        let starts = match *self.token.state().borrow() {
            TokenState::Starting | TokenState::Restarting { .. } => true,
            TokenState::AwaitingToken { .. }
            | TokenState::LoginRefused { .. }
            | TokenState::Ready { .. }
            | TokenState::Misconfigured { .. }
            | TokenState::Stopped => false,
        };
        let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        *starting = starts.then(|| starting.unwrap_or(now));
        *starting
    }
}

/// Keeps the metrics of a token until it is stopped.
async fn count(name: String, token: Token, metrics: Arc<Metrics>) {
    let mut state = token.state();
    loop {
        let stopped = *state.borrow_and_update() == TokenState::Stopped;
        metrics.token(&name, &counts(&token));
        if stopped || state.changed().await.is_err() {
            return;
        }
    }
}

fn counts(token: &Token) -> TokenCounts {
    let state = token.state().borrow().name();
    let tally = token.tally();
    TokenCounts {
        state,
        entered: tally.entered,
        ended: tally.ended,
    }
}

/// Who has to act when a token gives no answer. A rule of ours that broke on the way to it ends the worker, and a new
/// one begins anew.
#[must_use]
pub fn fault(error: &HsmError) -> Fault {
    match error.fault() {
        hsm::Fault::Mend => Fault::Issuer,
        hsm::Fault::Passing | hsm::Fault::Bug => Fault::Passing,
    }
}

fn spec(config: &TokenConfig, worker: &Path) -> TokenSpec {
    TokenSpec {
        name: config.name().to_owned(),
        launch: match &config.module().library {
            Library::Path { path, env } => Launch::Child {
                program: worker.to_owned(),
                module: path.clone(),
                env: env.clone(),
            },
            Library::Socket(socket) => Launch::Sidecar {
                socket: socket.clone(),
            },
        },
        token: match config.selector() {
            TokenSelector::Label(label) => hsm::TokenSelector::Label(label.clone()),
            TokenSelector::Serial(serial) => hsm::TokenSelector::Serial(serial.clone()),
        },
        sessions: config.sessions(),
        hang_after: config.hang_after(),
    }
}
