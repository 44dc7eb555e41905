//! Follows the stored heads: every replica knows all entries and serves all CRLs.

use std::{collections::BTreeSet, pin::pin, sync::Arc, time::Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::{
    WatchStreamExt as _,
    watcher::{self, Event, watcher},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    Register,
    head::{ShardKey, StoredCrl},
    shelf::Published,
    store::{HEAD_LABEL, RegisterStoreError, Store, StoredShard, key_of, read_head},
};
use crate::{
    metrics::CrlTimes,
    server::ServedCrl,
    telemetry::{ErrorChain, RepeatFilter, log_seldom},
};

impl Register {
    /// Follows the stored heads until `stop`.
    pub(super) async fn follow(&self, store: &Store, stop: &CancellationToken) {
        let config = watcher::Config::default().labels(HEAD_LABEL);
        let events = watcher(store.api().clone(), config).default_backoff();
        let mut events = pin!(events);
        let mut listed = BTreeSet::new();
        let mut said = RepeatFilter::default();
        self.metrics.watches("ConfigMap");
        while let Some(Some(event)) = stop.run_until_cancelled(events.next()).await {
            match event {
                Ok(Event::Init) => listed = self.shelf.keys().into_iter().collect(),
                Ok(Event::InitApply(map)) => {
                    if let Some(key) = key_of(&map) {
                        listed.remove(&key);
                    }
                    self.saw(store, &map).await;
                }
                Ok(Event::InitDone) => {
                    for key in &listed {
                        self.gone(store, key).await;
                    }
                    if !self.known.send_replace(true) {
                        info!(
                            shards = self.shelf.keys().len(),
                            "every stored CRL is known"
                        );
                    }
                    said.clear();
                }
                Ok(Event::Apply(map)) => self.saw(store, &map).await,
                Ok(Event::Delete(map)) => {
                    if let Some(key) = key_of(&map) {
                        self.gone(store, &key).await;
                    }
                }
                Err(error) => {
                    self.metrics.watch_failed("ConfigMap");
                    let text = ErrorChain(&error).to_string();
                    if said.is_news(&text, Instant::now()) {
                        warn!(error = text, "failed to watch the stored CRLs");
                    }
                }
            }
        }
    }

    /// Takes a head as the watch shows it.
    async fn saw(&self, store: &Store, map: &ConfigMap) {
        let Some(key) = key_of(map) else {
            return;
        };
        let taken = async {
            let line = self.shelf.line(&key);
            let _turn = line.turn.lock().await;
            let seen = read_head(map)?;
            let edition = |stored: &StoredShard| Some(stored.shard.head.edition);
            match self.shelf.look(&key, edition) {
                // An event about a write of ours.
                Some(known) if known == seen.head.edition => {}
                // An old event, or a restored backup.
                Some(known) if known > seen.head.edition => {
                    self.take_stored(store, &key).await?;
                }
                Some(_) | None => {
                    let known = self.shelf.stored(&key);
                    let known = known.as_ref().map(|known| &known.shard);
                    match store.join(&key, seen, known).await {
                        Ok(stored) => self.shelf.store(&key, Some(stored)),
                        // A chunk of an older head may be deleted already.
                        Err(_) => {
                            self.take_stored(store, &key).await?;
                        }
                    }
                }
            }
            if self.serve_stored(store, &key).await.is_ok() {
                return Ok(());
            }
            // A newer CRL may have been stored since the event, and the chunks of this one deleted.
            self.take_stored(store, &key).await?;
            self.serve_stored(store, &key).await
        };
        self.told(&key, taken.await);
    }

    /// Handles a head that the watch does not show any more.
    async fn gone(&self, store: &Store, key: &ShardKey) {
        let taken = async {
            let line = self.shelf.line(key);
            let _turn = line.turn.lock().await;
            self.take_stored(store, key).await.map(drop)
        };
        self.told(key, taken.await);
    }

    /// Reads again what could not be read when it changed.
    pub(super) async fn catch_up(&self, store: &Store) {
        let stale = std::mem::take(&mut *self.stale.lock());
        for key in stale {
            let taken = async {
                let line = self.shelf.line(&key);
                let _turn = line.turn.lock().await;
                self.take_stored(store, &key).await?;
                self.serve_stored(store, &key).await
            };
            self.told(&key, taken.await);
        }
    }

    fn told(&self, key: &ShardKey, taken: Result<(), RegisterStoreError>) {
        if let Err(error) = taken {
            let error = ErrorChain(&error).to_string();
            log_seldom!(warn, &error, ca = %key.ca, shard = key.shard, error,
                         "failed to read the stored state of a CRL");
            self.stale.lock().insert(*key);
        }
        self.show(&key.ca);
        self.tell();
    }

    /// Reads a shard as it is stored now, and keeps it.
    pub(super) async fn take_stored(
        &self,
        store: &Store,
        key: &ShardKey,
    ) -> Result<Option<StoredShard>, RegisterStoreError> {
        let known = self.shelf.stored(key);
        let known = known.as_ref().map(|known| &known.shard);
        let stored = store.shard(key, known).await?;
        self.shelf.store(key, stored.clone());
        Ok(stored)
    }

    /// Serves the CRL that is stored, unless it is served already.
    pub(super) async fn serve_stored(
        &self,
        store: &Store,
        key: &ShardKey,
    ) -> Result<(), RegisterStoreError> {
        let crl = |stored: &StoredShard| stored.shard.head.crl.clone();
        let Some(crl) = self.shelf.look(key, crl) else {
            return Ok(());
        };
        let served = self.shelf.served(key);
        if served.is_some_and(|served| served.crl.number >= crl.number) {
            return Ok(());
        }
        let der = store.crl(&crl).await?;
        self.serve(key, crl, der);
        Ok(())
    }

    /// Serves a CRL that is stored.
    pub(super) fn serve(&self, key: &ShardKey, crl: StoredCrl, der: Vec<u8>) {
        let octets = ServedCrl::new(der, &crl.sha256, crl.this_update, crl.next_update);
        let octets = Arc::new(octets);
        self.shelf.serve(key, Published { crl, octets });
        self.show(&key.ca);
        self.tell();
    }

    /// Shows the CRLs of a CA in the metrics.
    fn show(&self, ca: &crate::issuance::crl::CaId) {
        let times = self.shelf.times(ca).map(|(this, next, entries)| CrlTimes {
            this_update: this.as_second(),
            next_update: next.as_second(),
            entries,
        });
        self.metrics.crl(&ca.to_string(), times);
    }
}
