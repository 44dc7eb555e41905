//! Copies of CRLs for those who publish them elsewhere: one ConfigMap for each CRL, and one for the bundle of a chain.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::ConfigMap};
use parking_lot::Mutex;
use tokio::time::sleep;
use tracing::info;

use super::{
    Register,
    bundle::{BundleInputs, BundleState, ChainCrls},
    head::ShardKey,
    store::{RegisterStoreError, Store},
};
use crate::{
    api::IssuerName,
    issuance::{crl::CaId, pem},
    metrics::CrlFailure,
    telemetry::{ErrorChain, log_seldom},
};

/// Most octets of a CRL, DER and PEM together, in a copy. A ConfigMap holds 1 MiB.
const COPY_OCTETS: usize = 1_000_000;
/// How often copies are compared if nothing changes.
const COMPARE_EVERY: Duration = Duration::from_secs(5);
/// Keys of the copies.
const DER: &str = "crl.der";
const PEM: &str = "crl.pem";
const BUNDLE: &str = "ca-crl.pem";

/// What is known of the copies.
#[derive(Debug, Default)]
pub(super) struct Copies {
    /// The number of the CRL in each copy that this replica has written.
    written: Mutex<BTreeMap<ShardKey, u64>>,
    /// The wanted bundles, and the state of each.
    bundles: Mutex<BTreeMap<String, Wanted>>,
}

/// A bundle that an issuer wants.
#[derive(Clone, Debug)]
struct Wanted {
    ca: CaId,
    chain: Arc<ChainCrls>,
    /// The text that this replica has written.
    written: Option<String>,
}

impl Register {
    /// Notes which bundle an issuer wants; `None` if it wants none. Returns the state of the bundle.
    pub fn want_bundle(
        &self,
        name: &IssuerName,
        wanted: Option<(CaId, Arc<ChainCrls>)>,
    ) -> Option<BundleState> {
        let mut bundles = self.copies.bundles.lock();
        let Some((ca, chain)) = wanted else {
            bundles.remove(&name.to_string());
            return None;
        };
        let before = bundles.get(&name.to_string());
        let same = before.filter(|before| before.ca == ca && before.chain == chain);
        let written = same.and_then(|same| same.written.clone());
        let state = match chain.bundle(self.own(&ca), (self.clock)()) {
            Ok(_) => BundleState::Complete,
            Err(why) => BundleState::Incomplete(why),
        };
        let wanted = Wanted { ca, chain, written };
        bundles.insert(name.to_string(), wanted);
        drop(bundles);
        self.tell();
        Some(state)
    }

    /// Returns the bundle that an issuer wants if it is made of the same chain and CRLs.
    #[must_use]
    pub fn known_bundle(&self, name: &IssuerName, inputs: &BundleInputs) -> Option<Arc<ChainCrls>> {
        let bundles = self.copies.bundles.lock();
        let known = &bundles.get(&name.to_string())?.chain;
        (known.inputs() == inputs).then(|| Arc::clone(known))
    }

    /// Returns the CRL of a CA with one shard in PEM, with its end.
    fn own(&self, ca: &CaId) -> Option<(String, Timestamp)> {
        let served = self.shelf.served(&ShardKey { ca: *ca, shard: 0 })?;
        let whole = served.crl.partition.is_empty();
        let pem = pem::encode("X509 CRL", served.octets.der());
        whole.then_some((pem, served.crl.next_update))
    }

    /// Writes copies when they are due.
    pub(super) async fn publish_copies(&self, store: &Store) {
        let mut changed = self.changed();
        loop {
            for key in self.shelf.keys() {
                if self.ownership.owns(None, &key.uid())
                    && let Err(error) = self.copy(store, &key).await
                {
                    self.metrics.crl_failed(CrlFailure::Copy);
                    let error = ErrorChain(&error).to_string();
                    log_seldom!(warn, &error, ca = %key.ca, shard = key.shard, error,
                                 "failed to write the copy of a CRL");
                }
            }
            self.write_bundles(store).await;
            self.catch_up(store).await;
            tokio::select! {
                Ok(()) = changed.changed() => {}
                () = sleep(COMPARE_EVERY) => {}
            }
        }
    }

    async fn copy(&self, store: &Store, key: &ShardKey) -> Result<(), RegisterStoreError> {
        let Some(served) = self.shelf.served(key) else {
            return Ok(());
        };
        let number = served.crl.number;
        if self.copies.written.lock().get(key) == Some(&number) {
            return Ok(());
        }
        let der = served.octets.der();
        let pem = pem::encode("X509 CRL", der);
        let name = format!("pkcs11-issuer-crl-published-{}-{}", key.ca, key.shard);
        if der.len() + pem.len() > COPY_OCTETS {
            info!(ca = %key.ca, shard = key.shard, octets = der.len(),
                  "this CRL is too large for a copy in a ConfigMap; fetch it over HTTP, or use more shards");
            // Whoever publishes the copy must not go on with an old CRL unnoticed.
            store.delete(&[name]).await?;
        } else {
            let set = |map: &mut ConfigMap| {
                let binary = map.binary_data.get_or_insert_default();
                binary.insert(DER.to_owned(), ByteString(der.to_vec()));
                let data = map.data.get_or_insert_default();
                data.insert(PEM.to_owned(), pem.clone());
            };
            if !store.put(&name, set).await? {
                return Ok(());
            }
        }
        self.copies.written.lock().insert(*key, number);
        Ok(())
    }

    async fn write_bundles(&self, store: &Store) {
        let all = self.copies.bundles.lock().clone();
        let mut incomplete = 0;
        for (issuer, wanted) in all {
            let bundle = wanted.chain.bundle(self.own(&wanted.ca), (self.clock)());
            incomplete += usize::from(bundle.is_err());
            let Ok(bundle) = bundle else {
                continue;
            };
            let key = ShardKey {
                ca: wanted.ca,
                shard: 0,
            };
            if wanted.written.as_ref() == Some(&bundle) || !self.ownership.owns(None, &key.uid()) {
                continue;
            }
            let name = format!("pkcs11-issuer-crl-bundle-{}", wanted.ca);
            let set = |map: &mut ConfigMap| {
                let data = map.data.get_or_insert_default();
                data.insert(BUNDLE.to_owned(), bundle.clone());
            };
            match store.put(&name, set).await {
                Ok(true) => {
                    if let Some(known) = self.copies.bundles.lock().get_mut(&issuer) {
                        known.written = Some(bundle);
                    }
                }
                Ok(false) => {}
                Err(error) => {
                    self.metrics.crl_failed(CrlFailure::Copy);
                    let error = ErrorChain(&error).to_string();
                    log_seldom!(
                        warn,
                        &error,
                        issuer,
                        error,
                        "failed to write a bundle of CRLs"
                    );
                }
            }
        }
        self.metrics.crl_bundles_incomplete(incomplete);
    }
}
