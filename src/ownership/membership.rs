//! Keeps this replica's Lease and looks at those of the others.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::runtime::{
    WatchStreamExt as _,
    watcher::{self, Event, watcher},
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    Ownership,
    lease::{Member, Version},
    members::Reading,
    own_lease::{LeaseError, Leases, OwnLease, selector},
};
use crate::{metrics::LeaseRenewal, telemetry::Chain};

/// This replica's part in the membership: to be run.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Membership {
    pub(super) ownership: Arc<Ownership>,
    pub(super) own: OwnLease,
    pub(super) leases: Leases,
    /// The tokens that this replica can sign with now.
    pub(super) usable: watch::Receiver<BTreeSet<String>>,
    /// The time for people who look at the Lease.
    pub(super) clock: fn() -> Timestamp,
    /// UIDs of the Leases of which it was said that they cannot be read.
    pub(super) unreadable: HashSet<String>,
}

impl Membership {
    /// Takes part until `leave`, then deletes the Lease: the others take over what was this replica's at once. A call
    /// that is under way then is not waited for.
    pub async fn run(mut self, leave: CancellationToken) {
        let config = watcher::Config::default().labels(&selector());
        let mut events = std::pin::pin!(watcher(self.leases.api.clone(), config).default_backoff());
        let mut beat_at = Instant::now();
        loop {
            if beat_at <= Instant::now() {
                beat_at = tokio::select! {
                    next = self.beat() => next,
                    () = leave.cancelled() => break,
                };
            }
            tokio::select! {
                () = leave.cancelled() => break,
                Ok(()) = self.usable.changed() => beat_at = Instant::now(),
                Some(event) = events.next() => {
                    if self.take(event) {
                        beat_at = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(beat_at.into()) => {}
            }
        }
        self.ownership.update(|view| view.release());
        match self.own.give_back().await {
            Ok(true) => info!("gave the lease back"),
            Ok(false) => debug!("there is no lease to give back"),
            Err(failure) => {
                warn!(error = %Chain(&failure), "failed to give the lease back; it expires");
            }
        }
    }

    /// Renews and reads: this replica holds its Lease only when it has done both. Returns when to do so again.
    async fn beat(&mut self) -> Instant {
        let tokens = self.usable.borrow_and_update().clone();
        self.ownership.update(|view| view.lose_all_but(&tokens));
        let live = self.ownership.read(|view| view.own_is_live());
        let sent = Instant::now();
        let renewed = self.own.renew(&tokens, live, (self.clock)()).await;
        let reading = self.look().await;
        let taken_over = matches!(renewed, Err(LeaseError::TakenOver { .. }));
        let outcome = match (renewed, reading) {
            (Ok(()), Ok(reading)) => {
                self.ownership.update(|view| {
                    view.members.read(reading);
                    view.hold(sent, tokens);
                });
                Ok(())
            }
            (Err(failure), Ok(reading)) => {
                self.ownership.update(|view| {
                    view.members.read(reading);
                    if taken_over {
                        view.release();
                    }
                });
                Err(failure)
            }
            (_, Err(failure)) => Err(failure),
        };
        self.told(&outcome);
        let now = Instant::now();
        let duration = self.ownership.duration();
        if outcome.is_ok() {
            self.sweep().await;
            let next = sent + duration.renew_every();
            let expiry = self.ownership.read(|view| view.next_expiry());
            expiry.map_or(next, |expiry| expiry.min(next)).max(now)
        } else {
            now + duration.retry_after()
        }
    }

    fn told(&self, outcome: &Result<(), LeaseError>) {
        let renewal = match outcome {
            Ok(()) => LeaseRenewal::Renewed,
            Err(failure) => {
                if matches!(failure, LeaseError::TakenOver { .. }) {
                    error!(error = %Chain(failure), "signing nothing");
                } else {
                    warn!(error = %Chain(failure), "failed to renew the lease");
                }
                LeaseRenewal::Failed
            }
        };
        self.ownership.beaten(renewal);
    }

    async fn look(&mut self) -> Result<Reading, LeaseError> {
        let asked = Instant::now();
        let leases = self.leases.list().await?;
        let answered = Instant::now();
        let present: HashSet<&str> = leases
            .iter()
            .filter_map(|lease| lease.metadata.uid.as_deref())
            .collect();
        self.unreadable.retain(|uid| present.contains(uid.as_str()));
        let members = leases.iter().filter_map(|lease| self.member(lease));
        Ok(Reading {
            members: members.collect(),
            asked,
            answered,
        })
    }

    /// Takes in what the watch tells. Says whether this replica's own Lease was deleted.
    fn take(&mut self, event: Result<Event<Lease>, watcher::Error>) -> bool {
        match event {
            Ok(Event::Apply(lease) | Event::InitApply(lease)) => {
                if let Some(member) = self.member(&lease) {
                    let now = Instant::now();
                    self.ownership.update(|view| view.members.saw(member, now));
                }
                false
            }
            Ok(Event::Delete(lease)) => {
                let name = lease.metadata.name.as_deref().unwrap_or_default();
                if let Some(version) = Version::of(&lease) {
                    self.ownership
                        .update(|view| view.members.went(name, &version));
                }
                self.own.is_called(name)
            }
            Ok(Event::Init | Event::InitDone) => false,
            // What a watch misses, the next reading tells.
            Err(failure) => {
                debug!(error = %Chain(&failure), "the watch of leases was interrupted");
                false
            }
        }
    }

    fn member(&mut self, lease: &Lease) -> Option<Member> {
        match Member::read(lease) {
            Ok(member) => Some(member),
            Err(why) => {
                let uid = lease.metadata.uid.clone().unwrap_or_default();
                if self.unreadable.insert(uid) {
                    warn!(name = lease.metadata.name, error = %why, "left alone a lease that is no replica's");
                }
                None
            }
        }
    }

    /// Deletes Leases that nobody has renewed for long; those of pods go with their pods.
    async fn sweep(&self) {
        let abandoned: Vec<(String, Version)> = self.ownership.read(|view| {
            let abandoned = view.members.abandoned();
            let others = abandoned.filter(|member| !self.own.is_called(&member.name));
            others
                .map(|member| (member.name.clone(), member.version.clone()))
                .collect()
        });
        for (name, version) in abandoned {
            match self.leases.delete(&name, version).await {
                Ok(()) => info!(name, "deleted a lease that nobody renews"),
                // Renewed after all, or another replica was first.
                Err(failure) => debug!(error = %Chain(&failure), "a lease was not deleted"),
            }
        }
    }
}
