//! Who signs: the tokens of the operator's configuration, and a key on one of them as a [`Signer`].

mod mechanism;
mod turns;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hsm::{HsmError, Key, KeySelector, Launch, Token, TokenSpec, TokenState};
use kube::Client;

use self::{
    mechanism::mechanism,
    turns::{Lane, NoTurn, Turns},
};
use crate::{
    config::{Config, IssuerScope, Library, Limits, PinSource, TokenConfig, TokenSelector},
    issuance::{Fault, SignError, Signature, Signer, SigningInput},
    metrics::{Metrics, SignOutcome, TokenCounts},
    pins::{
        TokenPin,
        source::{PinOrigin, PinSecret},
        store::PinStore,
    },
};

/// One deadline covers the queue and the PKCS#11 call.
const SIGN_WITHIN: Duration = Duration::from_secs(10);
/// Turns at a token without a worker.
const WAITING_FOR_A_WORKER: usize = 8;

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

/// A private key that a grant covers.
#[derive(Clone, Debug)]
pub struct GrantedKey {
    token: Token,
    token_name: Arc<str>,
    issuer: Arc<str>,
    turns: Arc<Turns>,
    id: Vec<u8>,
    key: Key,
    limits: Limits,
    metrics: Arc<Metrics>,
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
        client: &Client,
        namespace: &str,
        holder: &str,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let store = PinStore::new(client.clone(), namespace);
        let by_name = config.tokens().map(|config| {
            let pin = Arc::new(TokenPin::new(
                client.clone(),
                store.clone(),
                origin(config.pin(), namespace),
                holder.to_owned(),
                u32::from(config.max_rejected_logins().get()),
            ));
            let token = Token::start(spec(config, worker), Arc::<TokenPin>::clone(&pin));
            tokio::spawn(count(
                config.name().to_owned(),
                token.clone(),
                Arc::clone(metrics),
            ));
            (
                config.name().to_owned(),
                Arc::new(ConfiguredToken {
                    config: config.clone(),
                    token,
                    pin,
                    turns: Arc::default(),
                }),
            )
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

impl GrantedKey {
    /// The key as the token describes it.
    #[must_use]
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Its `CKA_ID`.
    #[must_use]
    pub fn id(&self) -> &[u8] {
        &self.id
    }

    /// How far its grant goes.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Name of the token it lies on.
    #[must_use]
    pub fn token_name(&self) -> &str {
        &self.token_name
    }

    /// Random octets of the token that the key lies on.
    ///
    /// # Errors
    /// As [`Token::random`]; [`HsmError::WrongAnswer`] if there are not as many as asked for.
    pub async fn random<const N: usize>(&self) -> Result<[u8; N], HsmError> {
        let len = u16::try_from(N).map_err(|_| HsmError::WrongAnswer)?;
        let octets = self.token.random(len, Instant::now() + SIGN_WITHIN).await?;
        octets.try_into().map_err(|_| HsmError::WrongAnswer)
    }

    /// The key for the requests of one namespace, which take turns with those of others.
    #[must_use]
    pub fn for_requests_of<'a>(&'a self, namespace: &'a str) -> QueuedKey<'a> {
        QueuedKey {
            key: self,
            namespace,
        }
    }
}

/// A key and the queue in which one namespace's requests wait for it.
///
/// *Guarantees*: one deadline of ten seconds covers the queue and the token; a full queue is an error at once.
#[derive(Clone, Copy, Debug)]
pub struct QueuedKey<'a> {
    key: &'a GrantedKey,
    namespace: &'a str,
}

impl QueuedKey<'_> {
    async fn in_turn(&self, input: &SigningInput, deadline: Instant) -> Result<Vec<u8>, HsmError> {
        let key = self.key;
        let lane = Lane {
            issuer: Arc::clone(&key.issuer),
            namespace: self.namespace.to_owned(),
        };
        // While no worker stands, those who wait for it wait there, where its state is known.
        let places = key.token.credit().map_or(WAITING_FOR_A_WORKER, usize::from);
        let turn = key.turns.take(lane, places, deadline).await;
        let _turn = turn.map_err(|why| match why {
            NoTurn::Overloaded => HsmError::Overloaded,
            NoTurn::TimedOut => HsmError::TimedOut,
        })?;
        key.token
            .sign(
                &key.key,
                mechanism(input.algorithm()),
                input.payload(),
                deadline,
            )
            .await
    }
}

impl Signer for QueuedKey<'_> {
    fn sign(&self, input: SigningInput) -> hsm::BoxFuture<'_, Result<Signature, SignError>> {
        Box::pin(async move {
            let started = Instant::now();
            let signed = self.in_turn(&input, started + SIGN_WITHIN).await;
            self.key.metrics.signed(
                &self.key.token_name,
                outcome(signed.as_ref().err()),
                started.elapsed(),
            );
            signed.map(Signature::from_octets).map_err(|error| {
                if fault(&error) == Fault::Issuer {
                    SignError::issuer(error)
                } else {
                    SignError::passing(error)
                }
            })
        })
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

fn outcome(error: Option<&HsmError>) -> SignOutcome {
    match error {
        None => SignOutcome::Signed,
        Some(HsmError::TimedOut) => SignOutcome::TimedOut,
        Some(HsmError::Overloaded) => SignOutcome::Overloaded,
        Some(_) => SignOutcome::Failed,
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

fn origin(source: &PinSource, namespace: &str) -> PinOrigin {
    match source {
        PinSource::File(path) => PinOrigin::File(path.clone()),
        PinSource::Secret { name, key } => PinOrigin::Secret(PinSecret {
            namespace: namespace.to_owned(),
            name: name.clone(),
            key: key.clone(),
        }),
        PinSource::ClusterIssuers | PinSource::IssuersIn(_) => {
            PinOrigin::Issuers(std::sync::Mutex::default())
        }
    }
}
