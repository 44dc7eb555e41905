//! The register of revoked certificates: which certificates of each CA are revoked, and the CRLs that say so, as they are stored
//! in the cluster (docs/adr/0012-state-without-a-database.md).
//!
//! What is stored of one shard of a CA are a *head* and *chunks*. The head is written under compare-and-swap, after the chunks
//! that it lists. So every replica may change a register at any time; which one signs its CRLs is decided by ownership.

mod asked;
mod bundle;
mod change;
mod copies;
mod due;
mod entry;
mod error;
mod head;
mod import;
mod make;
mod published;
mod shard;
mod shelf;
mod sign;
mod sponsors;
mod store;
mod trouble;
mod watch;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::Client;
use parking_lot::Mutex;
use tokio::sync::watch as state;

use self::{
    asked::{AskedChange, ChangeOutcome},
    copies::Copies,
    shelf::{Published, Shelf},
    sign::CrlSigning,
    sponsors::Sponsors,
    store::Store,
};
pub use self::{
    asked::{Recorded, Released},
    bundle::{BundleInputs, BundleState, ChainCrls, OthersCrl},
    due::StateOlderThanPublished,
    entry::{Entry, RevocationRef},
    error::RegisterError,
    head::ShardKey,
    import::{ImportError, Imported, import},
    published::{FetchCrl, FetchError},
    sign::CrlState,
    sponsors::{CrlConflict, Sponsor},
    store::RegisterStoreError,
    trouble::CRL_BUG,
};
use crate::{
    api::IssuerName,
    audit::IssuanceLog,
    issuance::crl::{CaId, SerialNumber, Shards},
    metrics::Metrics,
    ownership::Ownership,
    pipeline::ReadyIssuer,
    server::{CrlSource, NotServed, ServedCrl},
};

/// Time limit for one CRL, from the read state to the served octets.
const DONE_WITHIN: Duration = Duration::from_secs(60);

/// The register of revoked certificates. All methods that change it return when the change is stored.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Register {
    /// `None` if the operator has not enabled CRLs.
    store: Option<Store>,
    shelf: Shelf,
    sponsors: Mutex<Sponsors<Arc<ReadyIssuer>>>,
    signing: CrlSigning,
    copies: Copies,
    /// Shards whose change could not be read yet.
    stale: Mutex<BTreeSet<ShardKey>>,
    changed: state::Sender<u64>,
    /// Whether every stored head has been read once.
    known: state::Sender<bool>,
    ownership: Arc<Ownership>,
    metrics: Arc<Metrics>,
    log: IssuanceLog,
    clock: fn() -> Timestamp,
}

/// What a register works with.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Surroundings {
    /// Client for the API server, and the controller's namespace; `None` if the operator has not enabled CRLs.
    pub store: Option<(Client, String)>,
    /// Reads published CRLs.
    pub fetch: FetchCrl,
    /// Which shards belong to this replica.
    pub ownership: Arc<Ownership>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The issuance log.
    pub log: IssuanceLog,
    /// The time.
    pub clock: fn() -> Timestamp,
}

/// The CRL that shows the present state of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublishedIn {
    /// The CRL number.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// The number of the shard.
    pub shard: u16,
}

impl Register {
    /// Creates a register that has read nothing yet; [`run`](Self::run) reads it and keeps it up to date.
    #[must_use]
    pub fn new(surroundings: Surroundings) -> Self {
        let Surroundings {
            store,
            fetch,
            ownership,
            metrics,
            log,
            clock,
        } = surroundings;
        Self {
            store: store.map(|(client, namespace)| Store::new(client, &namespace)),
            shelf: Shelf::default(),
            sponsors: Mutex::default(),
            signing: CrlSigning::new(fetch),
            copies: Copies::default(),
            stale: Mutex::default(),
            changed: state::Sender::new(0),
            known: state::Sender::new(false),
            ownership,
            metrics,
            log,
            clock,
        }
    }

    /// Returns whether the operator has enabled CRLs.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.store.is_some()
    }

    /// Records a revocation. It is stored when this returns, and on a published CRL within ten seconds if the token signs.
    ///
    /// # Errors
    /// [`RegisterError`]. After an error of the store, the entry may be stored all the same.
    pub async fn revoke(&self, ca: &CaId, entry: Entry) -> Result<Recorded, RegisterError> {
        let key = self.key(ca, entry.revoked.serial())?;
        match self.ask(&key, AskedChange::Revoke(entry)).await? {
            ChangeOutcome::Recorded(recorded) => Ok(recorded),
            ChangeOutcome::Released(_) | ChangeOutcome::Full => Err(RegisterError::Full(key)),
        }
    }

    /// Removes the entry of a certificate that is on hold; any other entry is final.
    ///
    /// # Errors
    /// As [`revoke`](Self::revoke).
    pub async fn release(
        &self,
        ca: &CaId,
        serial: &SerialNumber,
    ) -> Result<Released, RegisterError> {
        let key = self.key(ca, serial)?;
        match self.ask(&key, AskedChange::Release(*serial)).await? {
            ChangeOutcome::Released(released) => Ok(released),
            ChangeOutcome::Recorded(_) | ChangeOutcome::Full => Err(RegisterError::Full(key)),
        }
    }

    /// Returns the entry of a certificate, as this replica knows it.
    #[must_use]
    pub fn entry(&self, ca: &CaId, serial: &SerialNumber) -> Option<Entry> {
        let key = self.key(ca, serial).ok()?;
        self.shelf
            .look(&key, |stored| Some(stored.shard.get(serial)?.entry.clone()))
    }

    /// Returns the published CRL that shows the present state of a certificate: with its entry if it is revoked, and without one
    /// if it is not. `None` while there is no such CRL.
    #[must_use]
    pub fn published(&self, ca: &CaId, serial: &SerialNumber) -> Option<PublishedIn> {
        let key = self.key(ca, serial).ok()?;
        let changed = self.shelf.look(&key, |stored| {
            let kept = stored.shard.get(serial);
            Some(kept.map_or(stored.shard.head.released, |kept| kept.revision))
        })?;
        let Published { crl, .. } = self.shelf.served(&key)?;
        (crl.revision >= changed).then_some(PublishedIn {
            number: crl.number,
            this_update: crl.this_update,
            shard: key.shard,
        })
    }

    /// Returns a receiver of a count that changes whenever an entry or a published CRL has changed.
    #[must_use]
    pub fn changed(&self) -> state::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Returns whether every stored entry has been read once. Before that, [`entry`](Self::entry) and
    /// [`published`](Self::published) may know nothing of a revoked certificate.
    #[must_use]
    pub fn is_known(&self) -> bool {
        *self.known.borrow()
    }

    /// Notes which CAs an issuer has proved, with what it says about their CRLs.
    ///
    /// # Errors
    /// An issuer that was created earlier says something else.
    pub fn offer(
        &self,
        name: &IssuerName,
        cas: Vec<(CaId, Sponsor<Arc<ReadyIssuer>>)>,
    ) -> Result<(), CrlConflict> {
        let verdict = self.sponsors.lock().offer(name, cas);
        self.signing.wake();
        verdict
    }

    /// Notes that an issuer cannot sign at present. What it says about CRLs still counts.
    pub fn rest(&self, name: &IssuerName) {
        self.sponsors.lock().rest(name);
    }

    /// Forgets an issuer that is deleted or makes no CRLs any more. What is stored stays.
    pub fn withdraw(&self, name: &IssuerName) {
        self.sponsors.lock().withdraw(name);
        self.want_bundle(name, None);
    }

    /// Returns the snapshots with which an issuer makes CRLs: one for each CA that it uses, such as both during a rollover.
    #[must_use]
    pub fn authorities(&self, name: &IssuerName) -> Vec<Arc<ReadyIssuer>> {
        self.sponsors.lock().of(name)
    }

    /// Returns the shard of a certificate.
    fn key(&self, ca: &CaId, serial: &SerialNumber) -> Result<ShardKey, RegisterError> {
        if self.store.is_none() {
            return Err(RegisterError::Disabled);
        }
        let shards = self.shards(ca).ok_or(RegisterError::UnknownCa(*ca))?;
        Ok(ShardKey {
            ca: *ca,
            shard: shards.of(serial),
        })
    }

    /// Returns the number of shards of a CA: as its issuers say, or as it is stored.
    fn shards(&self, ca: &CaId) -> Option<Shards> {
        if let Some(rules) = self.sponsors.lock().rules(ca) {
            return Some(rules.shards());
        }
        let keys = self.shelf.keys();
        let key = keys.iter().find(|key| key.ca == *ca)?;
        let shards = self
            .shelf
            .look(key, |stored| Some(stored.shard.head.shards))?;
        Shards::try_from(shards).ok()
    }

    /// Tells those who wait for a change.
    fn tell(&self) {
        self.changed
            .send_modify(|count| *count = count.wrapping_add(1));
        self.signing.wake();
    }
}

impl CrlSource for Register {
    fn find(&self, ca: &str, shard: &str) -> Result<Arc<ServedCrl>, NotServed> {
        let unknown = NotServed::Unknown;
        let ca = ca.parse().map_err(|_| unknown)?;
        let number: u16 = shard.parse().map_err(|_| unknown)?;
        if number.to_string() != shard {
            return Err(unknown);
        }
        let key = ShardKey { ca, shard: number };
        match self.shelf.served(&key) {
            // A restored backup has an older CRL, which would un-revoke certificates.
            Some(_) if self.shelf.is_older_served(&key) => Err(NotServed::NotYet),
            Some(published) => Ok(published.octets),
            None if !self.is_known() => Err(NotServed::NotYet),
            None => Err(unknown),
        }
    }
}

#[cfg(test)]
mod tests;
