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
use tokio::{
    sync::{oneshot, watch},
    time::Instant as Deadline,
};
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
    /// Takes part until `leave` says by when to have left, or is dropped. Then archives the last checkpoint and deletes the
    /// Lease, so that the other replicas take over this replica's share at once. If the checkpoint cannot be archived, the
    /// Lease stays, shows it, and lists no token, which also hands over the share. Does not wait for a call that is in flight
    /// when it is told to leave.
    pub async fn run(mut self, mut leave: oneshot::Receiver<Deadline>) {
        let config = watcher::Config::default().labels(&selector());
        // An `Init` comes before each list, also before a list that fails, and would reset the back-off.
        let events = watcher(self.leases.api.clone(), config)
            .filter(|event| future::ready(!matches!(event, Ok(Event::Init))));
        let mut events = std::pin::pin!(events.default_backoff());
        let mut beat_at = Instant::now();
        let by = loop {
            if beat_at <= Instant::now() {
                beat_at = tokio::select! {
                    next = self.beat() => next,
                    by = &mut leave => break by,
                };
            }
            tokio::select! {
                by = &mut leave => break by,
                Ok(()) = self.usable.changed() => beat_at = Instant::now(),
                Some(event) = events.next() => {
                    if self.take(event) {
                        beat_at = Instant::now();
                    }
                }
                () = tokio::time::sleep_until(beat_at.into()) => {}
            }
        };
        self.leave(by.unwrap_or_else(|_| Deadline::now())).await;
    }

    async fn leave(mut self, by: Deadline) {
        self.ownership.update(|view| view.release());
        let last = self.head.borrow().clone();
        if let (Some(archive), Some(last)) = (&mut self.archive, last) {
            archive.add(last.clone());
            // The other half is for the Lease.
            let now = Deadline::now();
            let half = now + by.saturating_duration_since(now) / 2;
            if !archive.settle_before(half).await {
                return self.leave_behind(&last).await;
            }
        }
        match self.own.give_back().await {
            Ok(true) => info!("gave the lease back"),
            Ok(false) => debug!("there is no lease to give back"),
            Err(failure) => {
                warn!(error = %ErrorChain(&failure), "failed to give the lease back; it will expire");
            }
        }
    }

    /// Writes the last checkpoint into the Lease, for the replicas that will delete or take it over. They archive it first.
    async fn leave_behind(&mut self, last: &SignedHead) {
        let content = Content {
            tokens: &BTreeSet::new(),
            head: Some(last),
            now: (self.clock)(),
        };
        match self.own.renew_held(content).await {
            Ok(true) => warn!("left the lease with the last checkpoint, which is not archived"),
            Ok(false) => warn!("the last checkpoint is neither archived nor in a lease of ours"),
            Err(failure) => {
                warn!(error = %ErrorChain(&failure), "the last checkpoint is neither archived nor in the lease");
            }
        }
    }

    /// Renews this replica's Lease and reads all Leases. The replica holds its Lease only when both have succeeded.
    /// Returns when to do this again.
    async fn beat(&mut self) -> Instant {
        let tokens = self.usable.borrow_and_update().clone();
        self.ownership.update(|view| view.lose_all_but(&tokens));
        let live = self.ownership.read(|view| view.own_is_live());
        let head = self.head.borrow().clone().or_else(|| {
            // Until there is one, the Lease keeps a checkpoint that is not archived yet, such as that of the process from
            // which this one took the Lease.
            let archive = self.archive.as_ref();
            archive.and_then(Archive::waiting).cloned()
        });
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
            if let Some(archive) = &mut self.archive {
                archive.settle().await;
            }
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
                    let mut gone = None;
                    self.ownership
                        .update(|view| gone = view.members.saw(member, Instant::now()));
                    if let (Some(archive), Some(head)) = (&mut self.archive, gone) {
                        archive.add(head);
                    }
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
                archive.settle().await;
                if archive.is_waiting() {
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
}
