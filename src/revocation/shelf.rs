//! What this replica knows of every shard: its entries, the CRL that it serves, and the highest number that it has seen.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, oneshot};

use super::{
    RegisterError,
    asked::{AskedChange, ChangeOutcome},
    due::{StateOlderThanPublished, check_age},
    head::{ShardKey, StoredCrl},
    store::StoredShard,
};
use crate::{issuance::crl::CaId, server::ServedCrl};

/// All known shards. The lock is never held across an await.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    known: Mutex<BTreeMap<ShardKey, Known>>,
    lines: Mutex<HashMap<ShardKey, Arc<ShardLine>>>,
}

/// What is known of one shard.
#[derive(Clone, Debug, Default)]
struct Known {
    stored: Option<StoredShard>,
    served: Option<Published>,
    /// The highest number on any CRL that this replica has served or found at the URL.
    seen: Option<u64>,
}

/// A CRL as it is served, with what is stored about it.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) crl: StoredCrl,
    pub(super) octets: Arc<ServedCrl>,
}

/// The line of those who want to change the entries of one shard. Each in turn does what is asked by all.
#[derive(Debug, Default)]
pub(super) struct ShardLine {
    pub(super) turn: Turn<()>,
    pub(super) waiting: Mutex<Vec<WaitingChange>>,
}

/// One who waits, and what is asked.
#[derive(Debug)]
pub(super) struct WaitingChange {
    pub(super) asked: AskedChange,
    pub(super) done: oneshot::Sender<Result<ChangeOutcome, RegisterError>>,
}

impl Shelf {
    /// Returns the line of a shard.
    pub(super) fn line(&self, key: &ShardKey) -> Arc<ShardLine> {
        Arc::clone(self.lines.lock().entry(*key).or_default())
    }

    /// Returns the shard as it was last known to be stored.
    pub(super) fn stored(&self, key: &ShardKey) -> Option<StoredShard> {
        self.known.lock().get(key)?.stored.clone()
    }

    /// Returns the keys of all known shards.
    pub(super) fn keys(&self) -> Vec<ShardKey> {
        self.known.lock().keys().copied().collect()
    }

    /// Reads one thing of a stored shard.
    pub(super) fn look<T>(
        &self,
        key: &ShardKey,
        look: impl FnOnce(&StoredShard) -> Option<T>,
    ) -> Option<T> {
        look(self.known.lock().get(key)?.stored.as_ref()?)
    }

    /// Takes a shard as it is stored now; `None` if it is gone.
    pub(super) fn store(&self, key: &ShardKey, stored: Option<StoredShard>) {
        let mut known = self.known.lock();
        if stored.is_none() && !known.contains_key(key) {
            return;
        }
        known.entry(*key).or_default().stored = stored;
    }

    /// Serves a CRL, unless a newer one is served. Returns whether it is served now.
    pub(super) fn serve(&self, key: &ShardKey, published: Published) -> bool {
        let mut known = self.known.lock();
        let known = known.entry(*key).or_default();
        let number = published.crl.number;
        let newer = known
            .served
            .as_ref()
            .is_none_or(|served| served.crl.number < number);
        if newer {
            known.seen = known.seen.max(Some(number));
            known.served = Some(published);
        }
        newer
    }

    /// Returns the CRL that is served.
    pub(super) fn served(&self, key: &ShardKey) -> Option<Published> {
        self.known.lock().get(key)?.served.clone()
    }

    /// Returns whether the CRL that is served is older than one that this replica has seen.
    pub(super) fn is_older_served(&self, key: &ShardKey) -> bool {
        let known = self.known.lock();
        let Some(known) = known.get(key) else {
            return false;
        };
        let served = known.served.as_ref().map(|served| served.crl.number);
        served < known.seen
    }

    /// Notes the number of a CRL that was found at the URL.
    pub(super) fn saw(&self, key: &ShardKey, number: u64) {
        let mut known = self.known.lock();
        let known = known.entry(*key).or_default();
        known.seen = known.seen.max(Some(number));
    }

    /// Checks that the stored state is not older than any CRL that this replica has seen.
    pub(super) fn check_age(&self, key: &ShardKey) -> Result<(), StateOlderThanPublished> {
        let known = self.known.lock();
        let Some(known) = known.get(key) else {
            return Ok(());
        };
        let head = known.stored.as_ref().map(|stored| &stored.shard.head);
        check_age(head, known.seen)
    }

    /// Returns the first thisUpdate and the first nextUpdate of the CRLs of a CA, and their entries; `None` without a CRL.
    pub(super) fn times(&self, ca: &CaId) -> Option<(Timestamp, Timestamp, usize)> {
        let known = self.known.lock();
        let of_ca = known.iter().filter(|(key, _)| key.ca == *ca);
        let crls = of_ca.filter_map(|(_, known)| Some(&known.served.as_ref()?.crl));
        crls.fold(None, |times, crl| {
            let (this, next, entries) = times.unwrap_or((crl.this_update, crl.next_update, 0));
            Some((
                this.min(crl.this_update),
                next.min(crl.next_update),
                entries + crl.entries,
            ))
        })
    }
}
