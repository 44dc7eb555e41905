//! Signs the CRLs of this replica's share when they are due.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    time::{error::Elapsed, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use super::{
    DONE_WITHIN, FetchCrl, Register,
    due::{CrlDue, due},
    head::ShardKey,
    make::{Job, partition, texts},
    store::Store,
    trouble::CrlTrouble,
};
use crate::{
    issuance::crl::{CaId, CrlRules},
    pipeline::ReadyIssuer,
    telemetry::{ErrorChain, RepeatFilter, log_seldom},
};

/// The shortest time from the end of one CRL of a shard to the beginning of the next. Revocations in between wait and share one.
const AT_MOST_EVERY: Duration = Duration::from_secs(4);
/// How often the shards are looked at if nothing happens.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Time after which CRLs of a CA are signed that was not known before, so that every issuer of the CA has been looked at.
const SETTLED_AFTER: Duration = Duration::from_secs(3);
/// CRLs that are made at the same time.
const AT_ONCE: usize = 4;
/// First and longest pause after failures.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How often chunks that no head lists are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// State of the work on CRLs.
pub(super) struct CrlSigning {
    pub(super) fetch: FetchCrl,
    wake: Notify,
    tasks: Mutex<BTreeMap<ShardKey, Task>>,
    since: Mutex<BTreeMap<CaId, Instant>>,
    alone: Semaphore,
}

/// State of the work on one shard.
#[derive(Debug, Default)]
struct Task {
    running: bool,
    /// Since when a CRL is due and not published.
    due_since: Option<Timestamp>,
    not_before: Option<Instant>,
    failures: u32,
    trouble: Option<CrlTrouble>,
    said: RepeatFilter,
    /// Whether the published CRL has been read since the start.
    compared: bool,
    swept: Option<Instant>,
}

/// State of the CRLs of one CA, for the status of its issuers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CrlState {
    /// Every shard has a CRL that has not ended.
    Published {
        /// The earliest thisUpdate.
        this_update: Timestamp,
        /// The earliest nextUpdate.
        next_update: Timestamp,
    },
    /// A shard has no CRL, or none that has not ended.
    Missing {
        /// The first such shard.
        shard: u16,
    },
    /// The stored state is older than a published CRL.
    Older(String),
    /// CRLs are not renewed; the present ones are still served.
    Failing(String),
}

impl CrlSigning {
    pub(super) fn new(fetch: FetchCrl) -> Self {
        Self {
            fetch,
            wake: Notify::new(),
            tasks: Mutex::default(),
            since: Mutex::default(),
            alone: Semaphore::new(1),
        }
    }

    /// Waits for a turn to prepare or to store a CRL. A CRL is in memory several times over meanwhile, so one is at a time;
    /// while it waits for a token, others may begin.
    pub(super) async fn alone(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.alone.acquire().await.ok()
    }

    /// Makes the shards due for a look.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

impl Register {
    /// Follows the stored state, signs the CRLs of this replica's share and publishes their copies, until `stop`. Returns at once
    /// if CRLs are not enabled. Work in progress is dropped at `stop`: what is not stored then is made anew.
    pub async fn run(&self, stop: &CancellationToken) {
        let Some(store) = &self.store else {
            return;
        };
        tokio::join!(
            self.follow(store, stop),
            stop.run_until_cancelled(self.sign_when_due(store)),
            stop.run_until_cancelled(self.publish_copies(store)),
        );
    }

    /// Returns the state of the CRLs of a CA.
    #[must_use]
    pub fn state(&self, ca: &CaId, rules: &CrlRules, now: Timestamp) -> CrlState {
        let tasks = self.signing.tasks.lock();
        let troubles = tasks.iter().filter(|(key, _)| key.ca == *ca);
        let mut troubles = troubles.filter_map(|(_, task)| task.trouble.as_ref());
        let trouble = troubles.find(|trouble| !matches!(trouble, CrlTrouble::Overtaken));
        match trouble {
            Some(older @ CrlTrouble::Older(_)) => return CrlState::Older(older.to_string()),
            Some(trouble) => return CrlState::Failing(ErrorChain(trouble).to_string()),
            None => {}
        }
        drop(tasks);
        for shard in 0..rules.shards().get() {
            let served = self.shelf.served(&ShardKey { ca: *ca, shard });
            if served.is_none_or(|served| served.crl.next_update <= now) {
                return CrlState::Missing { shard };
            }
        }
        let times = self.shelf.times(ca);
        times.map_or(
            CrlState::Missing { shard: 0 },
            |(this_update, next_update, _)| CrlState::Published {
                this_update,
                next_update,
            },
        )
    }

    /// Returns the earliest thisUpdate and the earliest nextUpdate of the CRLs that this replica serves for a CA, and the number
    /// of their entries. `None` if it serves none.
    #[must_use]
    pub fn served(&self, ca: &CaId) -> Option<(Timestamp, Timestamp, usize)> {
        self.shelf.times(ca)
    }

    async fn sign_when_due(&self, store: &Store) {
        let mut known = self.known.subscribe();
        if known.wait_for(|known| *known).await.is_err() {
            return;
        }
        let mut jobs: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let mut owners = self.ownership.changes();
        loop {
            let again = self.begin(store, &mut jobs);
            tokio::select! {
                Some(()) = jobs.next() => {}
                () = self.signing.wake.notified() => {}
                Ok(()) = owners.changed() => {}
                () = sleep_until(again.into()) => {}
            }
        }
    }

    /// Begins the jobs that are due. Returns when to look again.
    fn begin<'a>(
        &'a self,
        store: &'a Store,
        jobs: &mut FuturesUnordered<BoxFuture<'a, ()>>,
    ) -> Instant {
        let now = Instant::now();
        let mut again = now + LOOK_EVERY;
        let all = self.sponsors.lock().all();
        self.signing.since.lock().retain(|ca, _| {
            let stays = all.iter().any(|(known, ..)| known == ca);
            if !stays {
                self.metrics.crl_due(&ca.to_string(), None);
            }
            stays
        });
        for (ca, rules, ready) in all {
            let since = *self.signing.since.lock().entry(ca).or_insert(now);
            let settled = since + SETTLED_AFTER;
            if settled > now {
                again = again.min(settled);
                continue;
            }
            let mut oldest = None;
            for shard in 0..rules.shards().get() {
                let key = ShardKey { ca, shard };
                let job = self.due_job(&key, &rules, &ready, now, &mut again, &mut oldest);
                if let Some(job) = job.filter(|_| jobs.len() < AT_ONCE) {
                    self.set(&key, |task| task.running = true);
                    jobs.push(Box::pin(self.work(store, job)));
                }
            }
            let oldest = oldest.map(|since: Timestamp| since.as_second());
            self.metrics.crl_due(&ca.to_string(), oldest);
        }
        again
    }

    /// Returns the job on a shard if one is due and may begin now.
    fn due_job(
        &self,
        key: &ShardKey,
        rules: &CrlRules,
        ready: &[Arc<ReadyIssuer>],
        now: Instant,
        again: &mut Instant,
        oldest: &mut Option<Timestamp>,
    ) -> Option<Job> {
        let token = ready.first().map(|ready| ready.key.token_name().clone());
        let time = (self.clock)();
        let head = self.shelf.stored(key).map(|stored| stored.shard.head);
        let partition = texts(&partition(key, rules));
        let why = due(head.as_ref(), rules, &partition, time);
        let owned = self.ownership.owns(token.as_deref(), &key.uid());
        let mut tasks = self.signing.tasks.lock();
        let task = tasks.entry(*key).or_default();
        let why = why.ok().filter(|_| owned);
        // Every replica compares the stored CRL with the published one before it trusts it.
        let compare = why == Some(CrlDue::Refresh) || !task.compared && !ready.is_empty();
        if why.is_none() {
            task.due_since = None;
        } else {
            let since = *task.due_since.get_or_insert(time);
            *oldest = Some(oldest.map_or(since, |oldest| oldest.min(since)));
        }
        if why.is_none() && !compare {
            task.trouble = None;
        }
        if task.running || why.is_none() && !compare {
            return None;
        }
        if let Some(at) = task.not_before.filter(|at| *at > now) {
            *again = at.min(*again);
            return None;
        }
        Some(Job {
            key: *key,
            rules: rules.clone(),
            ready: ready.first().cloned(),
            compare,
            sign: why.is_some(),
        })
    }

    fn set(&self, key: &ShardKey, set: impl FnOnce(&mut Task)) {
        set(self.signing.tasks.lock().entry(*key).or_default());
    }

    /// Makes one CRL, and notes how that ended.
    async fn work(&self, store: &Store, job: Job) {
        let key = job.key;
        let made = timeout(DONE_WITHIN, self.make(store, job));
        let made = made
            .await
            .unwrap_or_else(|Elapsed { .. }| Err(CrlTrouble::TimedOut));
        let ended = Instant::now();
        let sweep = match made {
            Ok(published) => {
                if published {
                    self.metrics.crl_published();
                }
                let mut sweep = false;
                self.set(&key, |task| {
                    sweep = task.swept.is_none_or(|swept| swept + SWEEP_EVERY < ended);
                    let swept = if sweep { Some(ended) } else { task.swept };
                    *task = Task {
                        not_before: published.then(|| ended + AT_MOST_EVERY),
                        compared: true,
                        swept,
                        ..Task::default()
                    };
                });
                sweep
            }
            Err(trouble) => {
                trouble.count(&self.metrics);
                let text = ErrorChain(&trouble).to_string();
                let is_bug = trouble.is_bug();
                self.set(&key, |task| {
                    task.running = false;
                    task.failures += 1;
                    task.not_before = Some(ended + pause(task.failures));
                    task.trouble = Some(trouble);
                    if task.said.is_news(&text, ended) {
                        log_trouble(&key, &text, is_bug);
                    }
                });
                false
            }
        };
        if sweep && let Some(head) = self.shelf.stored(&key).map(|stored| stored.shard.head) {
            match store.sweep(&key, &head).await {
                Ok(0) => {}
                Ok(deleted) => {
                    debug!(ca = %key.ca, shard = key.shard, deleted, "deleted old chunks");
                }
                Err(error) => {
                    let error = ErrorChain(&error).to_string();
                    log_seldom!(warn, &error, error, "failed to delete old chunks of a CRL");
                }
            }
        }
    }
}

/// Logs why a CRL was not published: as an error if an invariant broke.
fn log_trouble(key: &ShardKey, error: &str, is_bug: bool) {
    let (ca, shard) = (&key.ca, key.shard);
    if is_bug {
        error!(%ca, shard, error, "an invariant broke; a CRL was not published");
    } else {
        warn!(%ca, shard, error, "a CRL was not published; the present one is still served");
    }
}

/// Returns the pause after this many failures in a row.
fn pause(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(10);
    FIRST_PAUSE
        .saturating_mul(1 << doublings)
        .min(LONGEST_PAUSE)
}
