//! The tokens of the operator's configuration, which may change while we run.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use futures::future::join_all;
use hsm::TokenState;
use tokio::sync::watch;
use tracing::info;

use super::ConfiguredToken;
use crate::{
    config::{Config, PinSource, TokenConfig},
    metrics::Metrics,
    pins::{
        TokenPin,
        source::{Named, PinOrigin, PinSecret, Secrets},
        store::{PinStore, SecretStore},
    },
};

/// Every token of the configuration that is in force, each with its worker.
#[derive(Debug)]
pub struct Tokens {
    by_name: watch::Sender<BTreeMap<String, Arc<ConfiguredToken>>>,
    /// Told of every change of any token's state, and of the configuration.
    changed: watch::Sender<()>,
    /// Those that another configuration has stopped and that have not ended yet.
    ending: Mutex<Vec<Arc<ConfiguredToken>>>,
    starter: Starter,
}

/// What every token is started with.
#[derive(Debug)]
struct Starter {
    worker: PathBuf,
    secrets: Secrets,
    /// The controller's own: there lie the PIN record and the operator's PIN Secrets.
    namespace: String,
    /// This replica in the PIN record.
    holder: String,
    metrics: Arc<Metrics>,
}

/// What another configuration has changed, by the names of tokens.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// They were not there before, or are other ones now.
    pub started: BTreeSet<String>,
    /// They are not there any more, or were other ones.
    pub stopped: BTreeSet<String>,
    /// Only the rules for their use are others: grants, and what keys must be like.
    pub regranted: BTreeSet<String>,
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
            },
        };
        config.tokens().for_each(|config| tokens.add(config));
        tokens
    }

    /// The token of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<ConfiguredToken>> {
        self.by_name.borrow().get(name).cloned()
    }

    /// All tokens as they are now.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<ConfiguredToken>> {
        self.by_name.borrow().values().cloned().collect()
    }

    /// The names of those that can be signed with now.
    #[must_use]
    pub fn usable(&self) -> BTreeSet<String> {
        let all = self.all();
        let usable = all
            .iter()
            .filter(|token| matches!(*token.token().state().borrow(), TokenState::Ready { .. }));
        usable.map(|token| token.name().to_owned()).collect()
    }

    /// Changes whenever a token does: its state, who may use it, whether it is there.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The issuer uses this token alone, or none any more: it has no say about the PINs of others.
    pub fn forget_issuer(&self, issuer: &str, but: Option<&str>) {
        for token in self.all() {
            if Some(token.name()) != but {
                token.running.pin.forget_issuer(issuer);
            }
        }
    }

    /// Puts another configuration in force. A token that is configured as before keeps its worker and its login,
    /// whatever the rules for its use are now; any other is stopped when it has finished what it has begun, and started as it is
    /// configured now. Nothing is started before all that end have ended: it may be the same token under another name,
    /// and one token has one login of ours.
    ///
    /// Not to be called twice at a time.
    pub async fn take_up(&self, config: &Config) -> Change {
        let mut change = Change::default();
        let mut kept = BTreeMap::new();
        let mut ended = Vec::new();
        for token in self.all() {
            let name = token.name().to_owned();
            match config.token(&name) {
                Some(now) if *now == token.config => {
                    kept.insert(name, token);
                }
                Some(now) if now.has_the_worker_of(&token.config) => {
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
            info!(stopping = ?change.stopped, "the configuration has changed; tokens finish what they have begun");
        }
        self.by_name.send_replace(kept);
        self.ending().extend(ended.iter().map(Arc::clone));
        join_all(ended.iter().map(|token| token.stop(&self.starter.metrics))).await;
        self.ending().clear();
        for token in config.tokens() {
            if self.get(token.name()).is_none() {
                change.started.insert(token.name().to_owned());
                self.add(token);
            }
        }
        self.changed.send_replace(());
        change
    }

    /// Gives no more turns at any token: whoever waits for one is told at once, and what has begun is finished.
    pub fn close_turns(&self) {
        for token in self.running() {
            token.running.turns.close();
        }
    }

    /// Lets every worker finish what it has begun, and end; those too that another configuration has stopped.
    pub async fn shutdown(&self) {
        let running = self.running();
        join_all(running.iter().map(|token| token.token().shutdown())).await;
    }

    /// The names of those whose workers have not ended.
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
        self.ending.lock().unwrap_or_else(PoisonError::into_inner)
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
        );
        ConfiguredToken::start(config, &self.worker, pin, &self.metrics)
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
            PinSource::ClusterIssuers | PinSource::IssuersIn(_) => {
                PinOrigin::Issuers(self.secrets.clone(), Named::default())
            }
        }
    }
}
