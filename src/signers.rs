//! The tokens of the operator's configuration, and the keys that their grants let an issuer use.

mod checkpoint_key;
mod find;
mod key;
pub mod limiter;
mod measured;
mod mechanism;
pub mod protection;
pub mod reload;
mod report;
mod reserved;
mod tokens;
mod turns;
mod ungranted;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use hsm::{HsmError, KeyName, KeySelector, Launch, Token, TokenSpec, TokenState};
use tokio::task::JoinHandle;
use tracing::info;

pub use self::{
    checkpoint_key::{CheckpointKey, NoCheckpointKey},
    find::NoKey,
    key::{GrantedKey, KeyTurn},
    mechanism::mechanism,
    report::TokenReport,
    reserved::ReservedKey,
    tokens::{ConfigChange, Tokens},
};
use self::{
    find::Narrowed,
    measured::{count, counts, measured},
    protection::Unprotected,
    turns::Turns,
    ungranted::Ungranted,
};
use crate::{
    config::{IssuerScope, Library, TokenConfig, TokenSelector},
    issuance::Fault,
    metrics::{Metrics, TokenFunction},
    pins::{TokenPin, source::PinSecret},
};

/// Deadline of one call to a worker. It covers the worker's queue and the PKCS#11 call together.
const SIGN_WITHIN: Duration = Duration::from_secs(10);

/// A token with the rules for its use.
#[derive(Debug)]
pub struct ConfiguredToken {
    version: TokenVersion,
    config: TokenConfig,
    running: Arc<Running>,
    /// The key that no issuer gets, whatever the grants say.
    reserved: Arc<ReservedKey>,
}

/// Identity of one token under one configuration. Each change of the token's configuration gives it a new version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenVersion(u64);

impl TokenVersion {
    fn new() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Self(LAST.fetch_add(1, Ordering::Relaxed))
    }
}

/// The part of a token that survives a change of its grants: the worker, the login and the queue for the token.
#[derive(Debug)]
struct Running {
    token: Token,
    pin: Arc<TokenPin>,
    turns: Arc<Turns>,
    counting: Mutex<Option<JoinHandle<()>>>,
    ungranted: Ungranted,
    /// When the worker was first seen starting or restarting; `None` in every other state, also while the worker waits for
    /// a PIN or for the token itself.
    starting: Mutex<Option<Instant>>,
}

impl ConfiguredToken {
    /// Starts a worker for one token. Returns at once; the token becomes ready in the background, if `pin` allows the login.
    /// No issuer gets the `reserved` key.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    #[must_use]
    pub fn start(
        config: &TokenConfig,
        worker: &Path,
        pin: TokenPin,
        reserved: &Arc<ReservedKey>,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let pin = Arc::new(pin);
        let token = Token::start(spec(config, worker), Arc::<TokenPin>::clone(&pin));
        let turns = Arc::<Turns>::default();
        let counting = tokio::spawn(count(
            config.name().to_owned(),
            token.clone(),
            Arc::clone(&turns),
            Arc::clone(metrics),
        ));
        Self {
            version: TokenVersion::new(),
            config: config.clone(),
            running: Arc::new(Running {
                token,
                pin,
                turns,
                counting: Mutex::new(Some(counting)),
                ungranted: Ungranted::default(),
                starting: Mutex::new(Some(Instant::now())),
            }),
            reserved: Arc::clone(reserved),
        }
    }

    /// Returns the same running token with the grants of another configuration.
    fn granted_by(&self, config: &TokenConfig) -> Self {
        Self {
            version: TokenVersion::new(),
            config: config.clone(),
            running: Arc::clone(&self.running),
            reserved: Arc::clone(&self.reserved),
        }
    }

    /// Drains and stops the worker, and removes the token from the metrics.
    async fn stop(&self, metrics: &Metrics) {
        let Running {
            token, counting, ..
        } = &*self.running;
        token.shutdown().await;
        let counting = counting.lock().take();
        if let Some(counting) = counting {
            // The task ends with the token. Wait for its last update, or it would restore the metrics removed below.
            drop(counting.await);
        }
        metrics.forget_token(self.name(), &counts(token));
    }

    /// Name by which issuers refer to the token.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.name()
    }

    /// Identity of this token under its present configuration.
    #[must_use]
    pub const fn version(&self) -> TokenVersion {
        self.version
    }

    /// Handle of the token's worker.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.running.token
    }

    /// Retries a refused login. The PIN gate decides whether the PIN has really changed.
    pub fn pin_may_have_changed(&self) {
        if matches!(
            *self.running.token.state().borrow(),
            TokenState::LoginRefused { .. }
        ) {
            self.running.token.retry_login();
        }
    }

    /// Returns the time until which callers wait for a starting worker. They wait as long as a signature would wait. Until
    /// that time the token is not reported as unusable. `None` if no worker is starting, or if the time has passed.
    #[must_use]
    pub fn starts_until(&self) -> Option<Instant> {
        let now = Instant::now();
        let until = self.running.starting(now)? + SIGN_WITHIN;
        (now < until).then_some(until)
    }

    /// Configuration of the token.
    #[must_use]
    pub const fn config(&self) -> &TokenConfig {
        &self.config
    }

    /// Returns whether issuers of this scope provide the PIN.
    #[must_use]
    pub fn takes_pin_from(&self, owner: IssuerScope<'_>) -> bool {
        self.config.pin().is_from(owner)
    }

    /// Returns whether the grants depend on the labels of namespaces.
    #[must_use]
    pub fn selects_namespaces(&self) -> bool {
        self.config.selects_namespaces()
    }

    /// Records the PIN Secret that an issuer names.
    ///
    /// # Errors
    /// Another issuer of the token names a different Secret; the error is that Secret.
    pub fn name_pin_secret(&self, issuer: &str, secret: &PinSecret) -> Result<(), PinSecret> {
        self.running.pin.name_secret(issuer, secret)
    }

    /// Finds the one key that matches `selector`. A token that requires no login is searched without one first; the login
    /// follows only if no granted key is found. A grant must let `owner` use it with the issuing certificate that has
    /// this SHA-256, and the key must be protected as the operator requires, and not sign checkpoints. `issuer` is the name
    /// under which the issuer queues for the token.
    ///
    /// # Errors
    /// [`NoKey`]. A key outside the grants is reported exactly like a key that does not exist.
    pub async fn find_key(
        &self,
        owner: IssuerScope<'_>,
        issuer: &str,
        selector: &KeySelector,
        certificate: &[u8; 32],
        metrics: &Arc<Metrics>,
    ) -> Result<GrantedKey, NoKey> {
        let find = || self.find_granted_key(owner, issuer, selector);
        let key = self.find_with_login(metrics, find).await?;
        let name = key.name();
        let public = selector.public_key.as_deref();
        if public.is_some_and(|public| self.reserved.is(public, &name)) {
            return Err(NoKey::Reserved(name.to_string()));
        }
        let grant = self
            .config
            .grant(owner, &name.label, &name.id, certificate)
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
            limits: grant.limits().clone(),
            revokes_any: grant.revokes_any(),
            grant_sha256: grant.sha256().map(Into::into),
            key,
            metrics: Arc::clone(metrics),
        })
    }

    /// Finds a key without a login first, if the token requires none, and with a login if that finds no key.
    async fn find_with_login<F>(
        &self,
        metrics: &Metrics,
        find: impl Fn() -> F,
    ) -> Result<hsm::Key, HsmError>
    where
        F: Future<Output = Result<hsm::Key, HsmError>>,
    {
        let deadline = Instant::now() + SIGN_WITHIN;
        let token = &self.running.token;
        let was_public = token.is_public(deadline).await?;
        let find = || measured(metrics, self.name(), TokenFunction::FindKey, find());
        let log_in = || token.log_in(deadline);
        match find().await {
            Err(
                HsmError::KeyNotFound { .. } | HsmError::KeysHidden { .. } | HsmError::NotLoggedIn,
            ) if was_public && log_in().await? => find().await,
            found => found,
        }
    }

    /// Finds a granted key, without a check of the issuing certificate or of the key's protection.
    async fn find_granted_key(
        &self,
        owner: IssuerScope<'_>,
        issuer: &str,
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
            Ok(key) if granted(&key.name()) => {
                self.running.ungranted.forget(issuer);
                Ok(key)
            }
            // Grants look at the label and id only, so keys with the same label and id are all granted or all not granted.
            Ok(key) => {
                // The issuer's status must not tell its author that the key exists; the operator's log may.
                if self.running.ungranted.is_news(issuer, &key.name()) {
                    info!(token = self.config.name(), key = %key.name(), %owner,
                        "the key exists, but no grant of the token covers it for this issuer");
                }
                Err(find::none())
            }
            Err(Narrowed::One(_)) => Err(find::none()),
            Err(Narrowed::Failed(failure)) => Err(failure),
        }
    }
}

impl Running {
    /// Returns when the worker was first seen starting, and updates that time at `now`; `None` if it is not starting.
    fn starting(&self, now: Instant) -> Option<Instant> {
        let starts = match *self.token.state().borrow() {
            TokenState::Starting | TokenState::Restarting { .. } => true,
            TokenState::AwaitingToken { .. }
            | TokenState::LoginRefused { .. }
            | TokenState::Ready { .. }
            | TokenState::Misconfigured { .. }
            | TokenState::Stopped => false,
        };
        let mut starting = self.starting.lock();
        *starting = starts.then(|| starting.unwrap_or(now));
        *starting
    }
}

/// Returns who must act on an error of a token. A violation of our own protocol counts as passing, because the worker ends
/// and a new worker replaces it.
#[must_use]
pub fn fault(error: &HsmError) -> Fault {
    match error.fault() {
        hsm::Fault::Mend => Fault::Issuer,
        hsm::Fault::Passing | hsm::Fault::Bug => Fault::Passing,
    }
}

/// Returns how the worker of a library is started; `worker` is the program, for a library that is a file.
#[must_use]
pub fn launch(library: &Library, worker: &Path) -> Launch {
    match library {
        Library::Path { path, env } => Launch::Child {
            program: worker.to_owned(),
            module: path.clone(),
            env: env.clone(),
        },
        Library::Socket(socket) => Launch::Sidecar {
            socket: socket.clone(),
        },
    }
}

/// Returns what finds a configured token among the tokens of its library.
#[must_use]
pub fn selector(config: &TokenConfig) -> hsm::TokenSelector {
    match config.selector() {
        TokenSelector::Label(label) => hsm::TokenSelector::by_label(label),
        TokenSelector::Serial(serial) => hsm::TokenSelector::by_serial(serial),
        TokenSelector::SlotDescription(text) => hsm::TokenSelector {
            slot_description: Some(text.clone()),
            ..hsm::TokenSelector::default()
        },
        TokenSelector::SlotId(id) => hsm::TokenSelector {
            slot_id: Some(*id),
            ..hsm::TokenSelector::default()
        },
    }
}

fn spec(config: &TokenConfig, worker: &Path) -> TokenSpec {
    TokenSpec {
        name: config.name().to_owned(),
        launch: launch(&config.module().library, worker),
        token: selector(config),
        sessions: config.sessions(),
        hang_after: config.hang_after(),
    }
}
