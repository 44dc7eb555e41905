//! The tokens of the operator's configuration, which may change while the controller runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use parking_lot::{Mutex, MutexGuard};

use futures::future::join_all;
use hsm::TokenState;
use tokio::sync::watch;
use tracing::info;

use super::{ConfiguredToken, ReservedKey};
use crate::{
    audit::{IssuanceLog, note::NotePublicKey},
    config::{Config, PinSource, TokenConfig},
    metrics::Metrics,
    pins::{
        TokenPin,
        place::ReportedIdentities,
        source::{Named, PinOrigin, PinSecret, Secrets},
        store::{PinStore, SecretStore},
    },
};

/// Every token of the present configuration, each with its worker.
#[derive(Debug)]
pub struct Tokens {
    by_name: watch::Sender<BTreeMap<String, Arc<ConfiguredToken>>>,
    /// Signals every change of a token's state and of the configuration.
    changed: watch::Sender<()>,
    /// Tokens that a new configuration stopped and that are still draining.
    ending: Mutex<Vec<Arc<ConfiguredToken>>>,
    starter: Starter,
}

/// Settings that every token starts with.
#[derive(Debug)]
struct Starter {
    worker: PathBuf,
    secrets: Secrets,
    /// Namespace of the controller, which holds the PIN record and the operator's PIN Secrets.
    namespace: String,
    /// Name of this replica in the PIN record.
    holder: String,
    metrics: Arc<Metrics>,
    log: IssuanceLog,
    /// What the tokens report of themselves, for the PIN record.
    reported: Arc<ReportedIdentities>,
    reserved: Arc<ReservedKey>,
}

/// Changes that a new configuration made, by token name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ConfigChange {
    /// Tokens that are new or whose worker needed a new configuration.
    pub started: BTreeSet<String>,
    /// Tokens that were removed or whose worker needed a new configuration.
    pub stopped: BTreeSet<String>,
    /// Tokens of which only the rules for their use changed: grants and required key attributes.
    pub regranted: BTreeSet<String>,
}

impl Tokens {
    /// Starts a worker for every token. Returns at once; the tokens become ready in the background.
    ///
    /// `namespace` is the controller's own, which holds the PIN record and the operator's PIN Secrets. `holder` names
    /// this replica in the PIN record.
    #[must_use]
    pub fn start(
        config: &Config,
        worker: &Path,
        secrets: &Secrets,
        namespace: &str,
        holder: &str,
        metrics: &Arc<Metrics>,
        log: &IssuanceLog,
    ) -> Self {
        let tokens = Self {
            by_name: watch::Sender::new(BTreeMap::new()),
            changed: watch::Sender::new(()),
            ending: Mutex::default(),
            starter: Starter {
                worker: worker.to_owned(),
                secrets: secrets.clone(),
                namespace: namespace.to_owned(),
                holder: holder.to_owned(),
                metrics: Arc::clone(metrics),
                log: log.clone(),
                reported: Arc::default(),
                reserved: Arc::new(ReservedKey::new(config.checkpoints())),
            },
        };
        config.tokens().for_each(|config| tokens.add(config));
        tokens
    }

    /// Returns the token with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<ConfiguredToken>> {
        self.by_name.borrow().get(name).cloned()
    }

    /// Returns all tokens of the present configuration.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ConfiguredToken>> {
        self.by_name.borrow().values().cloned().collect()
    }

    /// Returns the names of the tokens that can sign now.
    #[must_use]
    pub fn usable(&self) -> BTreeSet<String> {
        let all = self.all();
        let usable = all
            .iter()
            .filter(|token| matches!(*token.token().state().borrow(), TokenState::Ready { .. }));
        usable.map(|token| token.name().to_owned()).collect()
    }

    /// Subscribes to changes of tokens: state, grants, addition and removal.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Notes the public key that signs checkpoints. Issuers with this key stop signing with the look that follows at once.
    pub fn reserve(&self, public: NotePublicKey) {
        if self.starter.reserved.learn(public) {
            self.changed.send_replace(());
        }
    }

    /// Withdraws the PIN Secrets that the issuer named for every token except `but`, which is the token it uses now, and
    /// forgets which keys it named there.
    pub fn forget_issuer(&self, issuer: &str, but: Option<&str>) {
        for token in self.all() {
            if Some(token.name()) != but {
                token.running.pin.forget_issuer(issuer);
                token.running.ungranted.forget(issuer);
            }
        }
    }

    /// Applies a new configuration. A token keeps its worker and its login if at most the rules for its use changed. Every
    /// other token is drained, stopped and started with the new configuration. No token starts before all stopped tokens
    /// have ended: a new name may refer to the same token, and the controller has only one login to a token at a time.
    ///
    /// Calls must not overlap.
    pub async fn apply_config(&self, config: &Config) -> ConfigChange {
        let mut change = ConfigChange::default();
        let mut kept = BTreeMap::new();
        let mut ended = Vec::new();
        for token in self.all() {
            let name = token.name().to_owned();
            match config.token(&name) {
                Some(now) if *now == token.config => {
                    kept.insert(name, token);
                }
                Some(now) if now.fits_the_worker_of(&token.config) => {
                    change.regranted.insert(name.clone());
                    kept.insert(name, Arc::new(token.granted_by(now)));
                }
                Some(_) | None => {
                    change.stopped.insert(name);
                    ended.push(token);
                }
            }
        }
        if !change.stopped.is_empty() {
            info!(stopping = ?change.stopped, "the configuration has changed; draining tokens");
        }
        self.by_name.send_replace(kept);
        self.ending().extend(ended.iter().map(Arc::clone));
        join_all(ended.iter().map(|token| token.stop(&self.starter.metrics))).await;
        self.ending().clear();
        for token in &ended {
            self.starter.reported.forget(token.name());
        }
        for token in config.tokens() {
            if self.get(token.name()).is_none() {
                change.started.insert(token.name().to_owned());
                self.add(token);
            }
        }
        self.changed.send_replace(());
        change
    }

    /// Stops giving turns at every token. Waiting requests fail at once; running signatures finish.
    pub fn close_turns(&self) {
        for token in self.running() {
            token.running.turns.close();
        }
    }

    /// Drains and stops every worker, including workers that an earlier configuration change is still stopping.
    pub async fn shutdown(&self) {
        let running = self.running();
        join_all(running.iter().map(|token| token.token().shutdown())).await;
    }

    /// Returns the names of the tokens whose workers have not ended.
    #[must_use]
    pub fn unended(&self) -> BTreeSet<String> {
        let running = self.running().into_iter();
        running
            .filter(|token| *token.token().state().borrow() != TokenState::Stopped)
            .map(|token| token.name().to_owned())
            .collect()
    }

    fn running(&self) -> Vec<Arc<ConfiguredToken>> {
        let mut running = self.all();
        running.extend(self.ending().iter().map(Arc::clone));
        running
    }

    fn ending(&self) -> MutexGuard<'_, Vec<Arc<ConfiguredToken>>> {
        self.ending.lock()
    }

    fn add(&self, config: &TokenConfig) {
        let token = self.starter.start(config);
        let mut state = token.token().state();
        let changed = self.changed.clone();
        let running = Arc::clone(&token.running);
        tokio::spawn(async move {
            // An error means that the token was stopped.
            while state.changed().await.is_ok() {
                running.starting(Instant::now());
                changed.send_replace(());
            }
        });
        self.by_name.send_modify(|tokens| {
            tokens.insert(config.name().to_owned(), Arc::new(token));
        });
    }
}

impl Starter {
    fn start(&self, config: &TokenConfig) -> ConfiguredToken {
        let pin = TokenPin::new(
            PinStore::Secret(Box::new(SecretStore::new(&self.secrets, &self.namespace))),
            self.origin(config.pin()),
            self.holder.clone(),
            u32::from(config.max_rejected_logins().get()),
        )
        .beside(config.name(), &self.reported)
        .logging(&self.log, config.name());
        ConfiguredToken::start(config, &self.worker, pin, &self.reserved, &self.metrics)
    }

    fn origin(&self, source: &PinSource) -> PinOrigin {
        match source {
            PinSource::File { path, .. } => PinOrigin::File(path.clone()),
            PinSource::Secret { name, key } => PinOrigin::Secret(
                self.secrets.clone(),
                PinSecret {
                    namespace: self.namespace.clone(),
                    name: name.clone(),
                    key: key.clone(),
                },
            ),
            PinSource::None => PinOrigin::None,
            PinSource::ClusterIssuers | PinSource::IssuersIn(_) => {
                PinOrigin::Issuers(self.secrets.clone(), Named::default())
            }
        }
    }
}
