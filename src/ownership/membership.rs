//! Renews this replica's Lease and reads those of the others.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Instant,
};

use futures::{StreamExt as _, future};
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
    archive::Archive,
    lease::{self, Content, Member, Version},
    members::Reading,
    own_lease::{LeaseError, Leases, OwnLease, selector},
};
use crate::{
    audit::SignedHead,
    metrics::LeaseRenewal,
    telemetry::{ErrorChain, RepeatFilter},
};

/// This replica's membership, which the caller must [`run`](Self::run).
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Membership {
    pub(super) ownership: Arc<Ownership>,
    pub(super) own: OwnLease,
    pub(super) leases: Leases,
    /// The tokens that this replica can sign with now.
    pub(super) usable: watch::Receiver<BTreeSet<String>>,
    /// The newest signed checkpoint of this replica's log.
    pub(super) head: watch::Receiver<Option<SignedHead>>,
    /// Where checkpoints of ended runs are kept; `None` if checkpoints are not signed.
    pub(super) archive: Option<Archive>,
    /// Gives the time that the Lease shows to people.
    pub(super) clock: fn() -> Timestamp,
    /// UIDs of Leases that were already logged as unreadable.
    pub(super) unreadable: HashSet<String>,
    /// The last failure of a renewal.
    pub(super) said: RepeatFilter,
}

impl Membership {
    /// Takes part until `leave`, then deletes the Lease, so that the other replicas take over this replica's share at
    /// once. Does not wait for a call that is in flight at that time.
    pub async fn run(mut self, leave: CancellationToken) {
        let config = watcher::Config::default().labels(&selector());
        // An `Init` comes before each list, also before a list that fails, and would reset the back-off.
        let events = watcher(self.leases.api.clone(), config)
            .filter(|event| future::ready(!matches!(event, Ok(Event::Init))));
        let mut events = std::pin::pin!(events.default_backoff());
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
        let last = self.head.borrow().clone();
        if let (Some(archive), Some(last)) = (&mut self.archive, last) {
            archive.add(last);
            archive.settle().await;
        }
        match self.own.give_back().await {
            Ok(true) => info!("gave the lease back"),
            Ok(false) => debug!("there is no lease to give back"),
            Err(failure) => {
                warn!(error = %ErrorChain(&failure), "failed to give the lease back; it will expire");
            }
        }
    }

    /// Renews this replica's Lease and reads all Leases. The replica holds its Lease only when both have succeeded.
    /// Returns when to do this again.
    async fn beat(&mut self) -> Instant {
        let tokens = self.usable.borrow_and_update().clone();
        self.ownership.update(|view| view.lose_all_but(&tokens));
        let live = self.ownership.read(|view| view.own_is_live());
        let head = self.head.borrow().clone();
        let content = Content {
            tokens: &tokens,
            head: head.as_ref(),
            now: (self.clock)(),
        };
        let sent = Instant::now();
        let renewed = self.own.renew(content, live, self.archive.as_mut()).await;
        let reading = self.look().await;
        let taken_over = matches!(renewed, Err(LeaseError::TakenOver { .. }));
        let mut gone = Vec::new();
        let outcome = match (renewed, reading) {
            (Ok(()), Ok(reading)) => {
                self.ownership.update(|view| {
                    gone = view.members.read(reading);
                    view.hold(sent, tokens);
                });
                Ok(())
            }
            (Err(failure), Ok(reading)) => {
                self.ownership.update(|view| {
                    gone = view.members.read(reading);
                    if taken_over {
                        view.release();
                    }
                });
                Err(failure)
            }
            (_, Err(failure)) => Err(failure),
        };
        // Kubernetes deletes a pod's Lease together with the pod, so the other replicas must archive its checkpoint.
        if let Some(archive) = &mut self.archive {
            gone.into_iter().for_each(|head| archive.add(head));
        }
        self.told(&outcome);
        let now = Instant::now();
        let duration = self.ownership.duration();
        if outcome.is_ok() {
            self.sweep().await;
            self.settle_archive().await;
            let next = sent + duration.renew_every();
            let expiry = self.ownership.read(|view| view.next_expiry());
            expiry.map_or(next, |expiry| expiry.min(next)).max(now)
        } else {
            now + duration.retry_after()
        }
    }

    fn told(&mut self, outcome: &Result<(), LeaseError>) {
        let renewal = match outcome {
            Ok(()) => {
                self.said.clear();
                LeaseRenewal::Renewed
            }
            Err(failure) => {
                // Renewals are tried every few seconds, so a failure is logged only if it is news.
                let text = ErrorChain(failure).to_string();
                let is_news = self.said.is_news(&text, Instant::now());
                let taken_over = matches!(failure, LeaseError::TakenOver { .. });
                match (is_news, taken_over) {
                    (false, _) => {}
                    (true, true) => error!(
                        error = text,
                        "another process has taken the lease; signing nothing"
                    ),
                    (true, false) => warn!(error = text, "failed to renew the lease"),
                }
                LeaseRenewal::Failed
            }
        };
        self.ownership.record_renewal(renewal);
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

    /// Takes in an event of the watch. Returns whether this replica's own Lease was deleted.
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
                if let (Some(archive), Some(head)) = (&mut self.archive, lease::head(&lease)) {
                    archive.add(head);
                }
                if let Some(version) = Version::of(&lease) {
                    self.ownership
                        .update(|view| view.members.went(name, &version));
                }
                self.own.is_called(name)
            }
            Ok(Event::Init | Event::InitDone) => false,
            // The next reading shows what the watch has missed.
            Err(failure) => {
                debug!(error = %ErrorChain(&failure), "the watch of leases was interrupted");
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
                    warn!(name = lease.metadata.name, error = %why, "ignoring a lease that is not a replica's");
                }
                None
            }
        }
    }

    /// Deletes abandoned Leases, once their checkpoints are archived. The Lease of a pod is deleted together with its pod.
    async fn sweep(&mut self) {
        let abandoned: Vec<Member> = self.ownership.read(|view| {
            let abandoned = view.members.abandoned();
            let others = abandoned.filter(|member| !self.own.is_called(&member.name));
            others.cloned().collect()
        });
        for Member {
            name,
            version,
            head,
            ..
        } in abandoned
        {
            if let (Some(archive), Some(head)) = (&mut self.archive, head) {
                archive.add(head);
                self.settle_archive().await;
                if self.archive.as_ref().is_some_and(Archive::is_waiting) {
                    continue;
                }
            }
            match self.leases.delete(&name, version).await {
                Ok(()) => info!(name, "deleted an abandoned lease"),
                // The Lease was renewed in the meantime, or another replica has deleted it.
                Err(failure) => debug!(error = %ErrorChain(&failure), "a lease was not deleted"),
            }
        }
    }

    /// Archives the waiting checkpoints, and takes in all checkpoints of the archive.
    async fn settle_archive(&mut self) {
        if let Some(archive) = &mut self.archive
            && let Some(heads) = archive.settle().await
        {
            self.ownership.archived(heads);
        }
    }
}
