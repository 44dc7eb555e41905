//! Sharing of work among several replicas, without a leader.
//!
//! Each replica renews one Lease that also lists the tokens it can sign with now ([`Membership`]). Every object with a
//! UID, such as a request or an issuer, belongs to one replica: the winner of rendezvous hashing of the UID among the
//! live replicas that list the issuer's token ([`Ownership::owns`]). Two replicas whose views differ for a moment may
//! both sign; the preconditions of the status write let only one certificate be published.

mod archive;
mod duration;
mod lease;
mod listed;
mod members;
mod membership;
mod own_lease;
mod rendezvous;
mod state;
mod view;

use std::{
    collections::{BTreeSet, HashSet},
    num::NonZeroUsize,
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;

use jiff::Timestamp;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{info, warn};

use self::{
    archive::{Archive, ArchivePace},
    lease::Draft,
    own_lease::{Leases, OwnLease},
    view::View,
};
pub use self::{
    duration::{LeaseDuration, LeaseDurationError},
    listed::{ListedReplica, replica_selector},
    membership::Membership,
    state::ReplicaState,
};
use crate::{
    audit::SignedHead,
    metrics::{LeaseRenewal, Metrics},
    telemetry::RepeatFilter,
};

/// Identity of this replica, and its settings as a member.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Must differ from the identity of every other replica.
    pub identity: String,
    /// The controller's namespace, which holds the Leases.
    pub namespace: String,
    /// The pod that the replica runs in, if the pod is in the same namespace. The pod then owns the Lease, which is
    /// deleted with it.
    pub pod: Option<OwnPod>,
    /// How long its Lease is valid after a renewal.
    pub duration: LeaseDuration,
}

/// The pod that a replica runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPod {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// View of the live replicas, this one included, and of the objects that this replica owns. It owns none until its
/// Lease is stored and the Leases of all others have been read.
#[derive(Debug)]
pub struct Ownership {
    duration: LeaseDuration,
    /// Held for look-ups only, never across an await.
    view: Mutex<View>,
    /// The last checkpoints of runs that have ended, as far as the archive knows them.
    archived: watch::Receiver<Vec<SignedHead>>,
    changes: watch::Sender<()>,
    held: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

/// What a replica tells the others.
#[derive(Debug)]
pub struct Announcement {
    /// The tokens that it can sign with now.
    pub usable: watch::Receiver<BTreeSet<String>>,
    /// The newest signed checkpoint of its issuance log, once there is one. `None` if its checkpoints are not signed: it then
    /// keeps no checkpoints of others either.
    pub head: Option<watch::Receiver<Option<SignedHead>>>,
}

impl Ownership {
    /// Creates the ownership of a replica that is not yet a member, and its [`Membership`], which the caller must run.
    /// `clock` gives the time that the Lease shows to people.
    #[must_use]
    pub fn new(
        client: Client,
        replica: Replica,
        told: Announcement,
        clock: fn() -> Timestamp,
        metrics: Arc<Metrics>,
    ) -> (Arc<Self>, Membership) {
        let Replica {
            identity,
            namespace,
            pod,
            duration,
        } = replica;
        let answer_within = duration.answer_within();
        let Announcement { usable, head } = told;
        let archive = head.as_ref().map(|_| {
            let maps = Api::namespaced(client.clone(), &namespace);
            let pace = ArchivePace {
                answer_within,
                retry_after: duration.retry_after(),
                read_every: duration.archive_read_every(),
            };
            Archive::new(maps, pace, clock)
        });
        let (archive, archived) = archive.unzip();
        let leases = Leases {
            api: Api::namespaced(client, &namespace),
            answer_within,
        };
        let draft = Draft {
            name: lease::name(&identity),
            namespace,
            identity,
            pod,
            duration,
        };
        let ownership = Arc::new(Self {
            duration,
            view: Mutex::new(View::new(draft.name.clone(), duration)),
            archived: archived.unwrap_or_else(|| watch::channel(Vec::new()).1),
            changes: watch::Sender::new(()),
            held: watch::Sender::new(false),
            metrics,
        });
        let membership = Membership {
            ownership: Arc::clone(&ownership),
            own: OwnLease::new(draft, leases.clone()),
            leases,
            usable,
            head: head.unwrap_or_else(|| watch::channel(None).1),
            archive,
            clock,
            unreadable: HashSet::new(),
            said: RepeatFilter::default(),
        };
        (ownership, membership)
    }

    /// Returns whether this replica acts for the object with this UID: its Lease holds, and it wins among the live
    /// replicas that list the token. If no replica lists the token, or `token` is `None`, it must win among all live
    /// replicas. Ask right before acting, because the Lease may have run out while the process was suspended.
    #[must_use]
    pub fn owns(&self, token: Option<&str>, uid: &str) -> bool {
        self.read(|view| view.owns(token, uid, Instant::now()))
    }

    /// Returns whether this replica's Lease holds, so that it may finish what it has begun.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.read(|view| view.holds(Instant::now()))
    }

    /// Returns how many live replicas share the work of a token. This replica does one of that many parts.
    #[must_use]
    pub fn share(&self, token: &str) -> NonZeroUsize {
        self.read(|view| view.share(token))
    }

    /// Returns a receiver that changes whenever an object may belong to another replica than before.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Returns a receiver of whether this replica's Lease holds, as of the last attempt to renew it.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    /// Returns the newest signed checkpoints of other replicas' logs, as their Leases show them, and the last ones of runs that
    /// have ended, if this replica signs checkpoints itself. Their signatures are not verified.
    #[must_use]
    pub fn heads(&self) -> Vec<SignedHead> {
        let mut heads = self.read(|view| view.heads().cloned().collect::<Vec<_>>());
        heads.extend(self.archived.borrow().iter().cloned());
        heads
    }

    fn duration(&self) -> LeaseDuration {
        self.duration
    }

    fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.view.lock())
    }

    /// Changes the view, and notifies listeners if objects may now belong to another replica.
    fn update(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.lock();
        let held = view.holds(Instant::now());
        let before = shares(&view);
        change(&mut view);
        let after = shares(&view);
        let regained = !held && view.holds(Instant::now());
        if before != after {
            info!(
                replicas = after.len(),
                "the replicas or their tokens have changed"
            );
            self.count(&before, &after);
        }
        drop(view);
        if regained || before != after {
            self.changes.send_replace(());
        }
    }

    /// Counts the outcome of a renewal. If this replica has gained or lost its Lease, publishes and logs it.
    fn record_renewal(&self, renewal: LeaseRenewal) {
        self.metrics.lease_renewed(renewal);
        let holds = self.holds();
        self.metrics.lease_held(holds);
        let changed = self.held.send_if_modified(|held| {
            let changed = *held != holds;
            *held = holds;
            changed
        });
        match (changed, holds) {
            (true, true) => info!("this replica now holds its lease"),
            (true, false) => warn!("this replica no longer holds its lease; signing nothing"),
            (false, _) => {}
        }
    }

    fn count(&self, before: &Shares, after: &Shares) {
        self.metrics.replicas(after.len());
        let tokens: BTreeSet<&String> = before
            .iter()
            .chain(after)
            .flat_map(|(_, tokens)| tokens)
            .collect();
        for token in tokens {
            let listing = after.iter().filter(|(_, tokens)| tokens.contains(token));
            self.metrics.token_replicas(token, listing.count());
        }
    }
}

/// The live replicas, each with the tokens that it lists.
type Shares = Vec<(String, BTreeSet<String>)>;

fn shares(view: &View) -> Shares {
    let replicas = view.replicas().into_iter();
    replicas
        .map(|(name, tokens)| (name.to_owned(), tokens.clone()))
        .collect()
}
