//! Who signs: the tokens of the operator's configuration, and what each lets whom sign.

mod key;
mod mechanism;
mod turns;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{HsmError, KeySelector, Launch, Token, TokenSpec, TokenState};

pub use self::key::{GrantedKey, QueuedKey};
use self::turns::Turns;
use crate::{
    config::{Config, IssuerScope, Library, PinSource, TokenConfig, TokenSelector},
    issuance::Fault,
    metrics::{Metrics, TokenCounts},
    pins::{
        TokenPin,
        source::{PinOrigin, PinSecret, Secrets},
        store::{PinStore, SecretStore},
    },
};

/// One deadline covers the queue and the PKCS#11 call.
const SIGN_WITHIN: Duration = Duration::from_secs(10);

/// Every token of the configuration, each with its worker.
#[derive(Debug)]
pub struct Tokens {
    by_name: BTreeMap<String, Arc<ConfiguredToken>>,
}

/// A token with the rules for its use.
#[derive(Debug)]
pub struct ConfiguredToken {
    config: TokenConfig,
    token: Token,
    pin: Arc<TokenPin>,
    turns: Arc<Turns>,
}

impl Tokens {
    /// Starts a worker for every token. Returns at once; the tokens become ready on their own.
    ///
    /// `namespace` is the controller's own: there lie the PIN record and the operator's PIN Secrets. `holder` names
    /// this replica in the PIN record.
    #[must_use]
    pub fn start(
        config: &Config,
        worker: &Path,
        secrets: &Secrets,
        namespace: &str,
        holder: &str,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let store = SecretStore::new(secrets, namespace);
        let by_name = config.tokens().map(|config| {
            let pin = TokenPin::new(
                PinStore::Secret(Box::new(store.clone())),
                origin(config.pin(), secrets, namespace),
                holder.to_owned(),
                u32::from(config.max_rejected_logins().get()),
            );
            let token = ConfiguredToken::start(config, worker, pin, metrics);
            (config.name().to_owned(), Arc::new(token))
        });
        Self {
            by_name: by_name.collect(),
        }
    }

    /// The token of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<ConfiguredToken>> {
        self.by_name.get(name)
    }

    /// The names of those that can be signed with now.
    #[must_use]
    pub fn usable(&self) -> BTreeSet<String> {
        let usable = self
            .iter()
            .filter(|token| matches!(*token.token().state().borrow(), TokenState::Ready { .. }));
        usable.map(|token| token.name().to_owned()).collect()
    }

    /// All tokens.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<ConfiguredToken>> {
        self.by_name.values()
    }

    /// Lets every worker finish what it has begun, and end.
    pub async fn shutdown(&self) {
        futures::future::join_all(self.iter().map(|token| token.token.shutdown())).await;
    }
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
        tokio::spawn(count(
            config.name().to_owned(),
            token.clone(),
            Arc::clone(metrics),
        ));
        Self {
            config: config.clone(),
            token,
            pin,
            turns: Arc::default(),
        }
    }

    /// The name that issuers use.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.name()
    }

    /// The worker's side of it.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// Asks the PIN's gate again if no login stands: it knows whether the PIN is another one than before.
    pub fn pin_may_have_changed(&self) {
        if matches!(
            *self.token.state().borrow(),
            TokenState::LoginRefused { .. }
        ) {
            self.token.retry_login();
        }
    }

    /// Whether issuers of this scope bring the PIN.
    #[must_use]
    pub fn takes_pin_from(&self, owner: IssuerScope<'_>) -> bool {
        self.config.pin().is_from(owner)
    }

    /// Takes the PIN Secret that an issuer names.
    ///
    /// # Errors
    /// The Secret that another issuer of the token has named, if it is a different one.
    pub fn name_pin_secret(&self, secret: &PinSecret) -> Result<(), PinSecret> {
        self.pin.name_secret(secret)
    }

    /// Finds the one key that `selector` means and that a grant lets `owner` use. `issuer` names the issuer among all
    /// those that queue for the token.
    ///
    /// # Errors
    /// As [`Token::find_key`]. A key outside the grants is reported exactly as one that does not exist.
    pub async fn find_key(
        &self,
        owner: IssuerScope<'_>,
        issuer: &str,
        selector: &KeySelector,
        metrics: &Arc<Metrics>,
    ) -> Result<GrantedKey, HsmError> {
        let limits = |name: &hsm::KeyName| self.config.may_use(owner, &name.label, &name.id);
        let granted = |name: &hsm::KeyName| limits(name).is_some();
        match self
            .token
            .find_key(selector, Instant::now() + SIGN_WITHIN)
            .await
        {
            Ok(key) => match limits(&key.name()) {
                Some(limits) => Ok(GrantedKey {
                    token: self.token.clone(),
                    token_name: self.name().into(),
                    issuer: issuer.into(),
                    turns: Arc::clone(&self.turns),
                    id: key.name().id,
                    limits: limits.clone(),
                    key,
                    metrics: Arc::clone(metrics),
                }),
                None => Err(HsmError::KeyNotFound {
                    differing: Vec::new(),
                }),
            },
            Err(HsmError::KeyNotFound { mut differing }) => {
                differing.retain(granted);
                Err(HsmError::KeyNotFound { differing })
            }
            Err(HsmError::SeveralKeys { mut matching }) => {
                matching.retain(granted);
                Err(match matching.is_empty() {
                    true => HsmError::KeyNotFound {
                        differing: Vec::new(),
                    },
                    false => HsmError::SeveralKeys { matching },
                })
            }
            Err(other) => Err(other),
        }
    }
}

/// Keeps the metrics of a token until it is stopped.
async fn count(name: String, token: Token, metrics: Arc<Metrics>) {
    let mut state = token.state();
    loop {
        let now = state.borrow_and_update().clone();
        let tally = token.tally();
        metrics.token(
            &name,
            &TokenCounts {
                state: now.name(),
                entered: tally.entered,
                ended: tally.ended,
            },
        );
        if now == TokenState::Stopped || state.changed().await.is_err() {
            return;
        }
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

fn origin(source: &PinSource, secrets: &Secrets, namespace: &str) -> PinOrigin {
    match source {
        PinSource::File { path, .. } => PinOrigin::File(path.clone()),
        PinSource::Secret { name, key } => PinOrigin::Secret(
            secrets.clone(),
            PinSecret {
                namespace: namespace.to_owned(),
                name: name.clone(),
                key: key.clone(),
            },
        ),
        PinSource::ClusterIssuers | PinSource::IssuersIn(_) => {
            PinOrigin::Issuers(secrets.clone(), std::sync::Mutex::default())
        }
    }
}
