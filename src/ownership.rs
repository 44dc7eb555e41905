//! Who does what among several replicas, without a leader.
//!
//! Each replica renews one Lease that also lists the tokens it can sign with now ([`Membership`]). Whatever has a UID,
//! a request or an issuer, belongs to the replica that wins rendezvous hashing of the UID among the live ones that list
//! the issuer's token ([`Ownership::owns`]). Two replicas that see different things for a moment may both sign: the
//! preconditions of the status write let one certificate out.

mod duration;
mod lease;
mod members;
mod membership;
mod own_lease;
mod rendezvous;
mod view;

use std::{
    collections::{BTreeSet, HashSet},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use jiff::Timestamp;
use kube::{Api, Client};
use tokio::sync::watch;
use tracing::{info, warn};

pub use self::{
    duration::{LeaseDuration, LeaseDurationError},
    membership::Membership,
};
use self::{
    lease::Draft,
    own_lease::{Leases, OwnLease},
    view::View,
};
use crate::metrics::{LeaseRenewal, Metrics};

/// What a replica is called and how it takes part.
#[derive(Clone, Debug)]
pub struct Replica {
    /// Different from every other replica's.
    pub identity: String,
    /// The controller's namespace: there lie the Leases.
    pub namespace: String,
    /// The pod that it runs in, where that is in the same namespace: the Lease goes with it.
    pub pod: Option<Pod>,
    /// How long its Lease counts.
    pub duration: LeaseDuration,
}

/// The pod that a replica runs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
}

/// What this replica knows of itself and the others. Before its Lease is stored and all others have been read, it owns
/// nothing.
#[derive(Debug)]
pub struct Ownership {
    duration: LeaseDuration,
    /// Held for look-ups only, never across an await.
    view: Mutex<View>,
    changes: watch::Sender<()>,
    held: watch::Sender<bool>,
    metrics: Arc<Metrics>,
}

impl Ownership {
    /// A replica that has not begun to take part, and its part to be run. `usable` are the tokens that it can sign with,
    /// and `clock` tells the time that is shown to people.
    #[must_use]
    pub fn new(
        client: Client,
        replica: Replica,
        usable: watch::Receiver<BTreeSet<String>>,
        clock: fn() -> Timestamp,
        metrics: Arc<Metrics>,
    ) -> (Arc<Self>, Membership) {
        let Replica {
            identity,
            namespace,
            pod,
            duration,
        } = replica;
        let leases = Leases {
            api: Api::namespaced(client, &namespace),
            answer_within: duration.answer_within(),
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
            changes: watch::Sender::new(()),
            held: watch::Sender::new(false),
            metrics,
        });
        let membership = Membership {
            ownership: Arc::clone(&ownership),
            own: OwnLease::new(draft, leases.clone()),
            leases,
            usable,
            clock,
            unreadable: HashSet::new(),
        };
        (ownership, membership)
    }

    /// Whether this replica acts for the object with this UID: its Lease holds, and it wins among the live replicas that
    /// list the token; among all of them where none does, or none is known. To be asked right before acting: a process
    /// that was stopped meanwhile learns of it here.
    #[must_use]
    pub fn owns(&self, token: Option<&str>, uid: &str) -> bool {
        self.read(|view| view.owns(token, uid, Instant::now()))
    }

    /// Whether this replica's Lease holds: it may finish what it has begun.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.read(|view| view.holds(Instant::now()))
    }

    /// How many live replicas share the work of a token; this one takes one part of so many.
    #[must_use]
    pub fn share(&self, token: &str) -> NonZeroUsize {
        self.read(|view| view.share(token))
    }

    /// Changes whenever something may belong to another replica than before.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Whether this replica's Lease holds, as it was last noticed.
    #[must_use]
    pub fn held(&self) -> watch::Receiver<bool> {
        self.held.subscribe()
    }

    fn duration(&self) -> LeaseDuration {
        self.duration
    }

    fn read<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&self.lock())
    }

    /// Changes the view, and tells whoever listens if something may belong to another now.
    fn update(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.lock();
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

    /// A renewal was tried.
    fn beaten(&self, renewal: LeaseRenewal) {
        self.metrics.lease_renewed(renewal);
        let holds = self.holds();
        self.metrics.lease_held(holds);
        let changed = self.held.send_if_modified(|held| {
            let changed = *held != holds;
            *held = holds;
            changed
        });
        match (changed, holds) {
            (true, true) => info!("holds its lease"),
            (true, false) => warn!("does not hold its lease; signing nothing"),
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

    fn lock(&self) -> MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
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
