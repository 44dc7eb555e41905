//! Limits of issuers. Requests over a limit wait in a fair queue and hold no resources while they wait.

mod line;
mod pace;

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};

use serde::Serialize;
use tokio::time::sleep_until;

use self::line::{Line, LineEntry, NextTurn};
pub use self::{line::Limit, pace::Rate};
use crate::lanes::Lane;

/// Name of a request.
pub trait Ticket: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> Ticket for T {}

/// Returns the number of replicas that share the limits of the issuers on a token, by the token's name.
pub type Owners = Box<dyn Fn(&str) -> u32 + Send + Sync>;

/// The queues of all issuers that have a limit. `T` names a request.
///
/// *Guarantees*: the rate and the concurrency of an issuer's requests stay within this replica's part of the issuer's
/// limit, and tenants take turns. A waiting request is woken once, by `wake`, and need not ask again before that.
pub struct Limiter<T: Ticket>(Arc<Shared<T>>);

struct Shared<T: Ticket> {
    /// The lock is never held across an await.
    lines: Mutex<HashMap<Arc<str>, Line<T>>>,
    owners: Owners,
    wake: Box<dyn Fn(T) + Send + Sync>,
}

/// Whether a request may sign now.
#[derive(Debug)]
pub enum Admission<T: Ticket> {
    /// The request may sign while it holds the permit.
    Now(Permit<T>),
    /// The request is woken when its turn comes.
    Later {
        /// How long the request has waited.
        waited: Duration,
    },
}

/// Permission to sign with an issuer; dropping it wakes the next request.
pub struct Permit<T: Ticket> {
    /// `None` if the issuer has no limit.
    place: Option<(Arc<Shared<T>>, Arc<str>)>,
}

/// An issuer with its limit and the token that it uses.
#[derive(Clone, Copy, Debug)]
pub struct Limited<'a> {
    /// Name of the issuer, unique among all issuers.
    pub issuer: &'a Arc<str>,
    /// Name of the token that it signs with.
    pub token: &'a str,
    /// Limit of the issuer, on all replicas together.
    pub limit: Limit,
}

/// State of one issuer's limit, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitState {
    /// Name of the issuer.
    issuer: String,
    /// How many replicas share the limit.
    replicas: u32,
    /// Requests that sign, or that were woken to sign.
    inside: u32,
    /// Requests that wait.
    waiting: usize,
    /// Milliseconds until the rate allows the next signature.
    next_in_milliseconds: Option<u128>,
}

impl<T: Ticket> Limiter<T> {
    /// Creates a limiter without queues. `wake` is called with each request whose turn has come, under a lock: it must not
    /// block or call the limiter.
    pub fn new(owners: Owners, wake: impl Fn(T) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            lines: Mutex::default(),
            owners,
            wake: Box::new(wake),
        }))
    }

    /// Asks for a turn for a request of `tenant`.
    #[must_use]
    pub fn enter(&self, at: Limited<'_>, tenant: &Arc<str>, ticket: T) -> Admission<T> {
        let Limited {
            issuer,
            token,
            limit,
        } = at;
        let mut lines = self.0.lines.lock();
        if limit == Limit::default() && !lines.contains_key(issuer) {
            return Admission::Now(Permit { place: None });
        }
        let now = Instant::now();
        let line = lines.entry(Arc::clone(issuer)).or_insert_with(Line::new);
        line.limit = limit;
        line.owners = (self.0.owners)(token);
        let lane = Lane {
            tenant: Arc::clone(tenant),
            issuer: Arc::clone(issuer),
        };
        let turn = match line.enter(ticket, &lane, now) {
            LineEntry::Begins => Admission::Now(Permit {
                place: Some((Arc::clone(&self.0), Arc::clone(issuer))),
            }),
            LineEntry::Waits { since } => Admission::Later {
                waited: now.duration_since(since),
            },
        };
        self.0.wake_next(lines, issuer);
        turn
    }

    /// Returns whether this request was woken and has not begun.
    #[must_use]
    pub fn is_woken(&self, ticket: &T) -> bool {
        self.0
            .lines
            .lock()
            .values()
            .any(|line| line.is_woken(ticket))
    }

    /// Returns the state of every issuer that has a queue, by name.
    #[must_use]
    pub fn states(&self, now: Instant) -> Vec<LimitState> {
        let lines = self.0.lines.lock();
        let mut states: Vec<_> = lines
            .iter()
            .map(|(issuer, line)| line.state(issuer, now))
            .collect();
        states.sort_by(|one, other| one.issuer.cmp(&other.issuer));
        states
    }

    /// Returns whether no issuer has a queue.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.lines.lock().is_empty()
    }

    /// Removes a request that will not sign.
    pub fn leave(&self, ticket: &T) {
        self.at_each_line(|line| line.leave(ticket));
    }

    /// Removes all matching requests, which will not sign.
    pub fn leave_all(&self, matches: impl Fn(&T) -> bool) {
        self.at_each_line(|line| {
            for ticket in line.those(&matches) {
                line.leave(&ticket);
            }
        });
    }

    fn at_each_line(&self, act: impl Fn(&mut Line<T>)) {
        let issuers: Vec<_> = self.0.lines.lock().keys().cloned().collect();
        for issuer in issuers {
            let mut lines = self.0.lines.lock();
            if let Some(line) = lines.get_mut(&issuer) {
                act(line);
            }
            self.0.wake_next(lines, &issuer);
        }
    }

    /// Removes the queue of a deleted issuer and wakes all its requests, which then find the issuer missing.
    pub fn forget(&self, issuer: &str) {
        if let Some(mut line) = self.0.lines.lock().remove(issuer) {
            line.disband()
                .into_iter()
                .for_each(|ticket| (self.0.wake)(ticket));
        }
    }
}

impl<T: Ticket> Line<T> {
    fn state(&self, issuer: &str, now: Instant) -> LimitState {
        LimitState {
            issuer: issuer.to_owned(),
            replicas: self.owners,
            inside: self.inside(),
            waiting: self.waiting(),
            next_in_milliseconds: self
                .not_before(now)
                .map(|at| at.saturating_duration_since(now).as_millis()),
        }
    }
}

impl<T: Ticket> Shared<T> {
    /// Wakes every request whose turn has come, and starts a timer for the next one.
    fn wake_next(
        self: &Arc<Self>,
        mut lines: MutexGuard<'_, HashMap<Arc<str>, Line<T>>>,
        issuer: &Arc<str>,
    ) {
        let Some(line) = lines.get_mut(issuer) else {
            return;
        };
        let now = Instant::now();
        loop {
            match line.next(now) {
                NextTurn::Admission(ticket) => (self.wake)(ticket),
                NextTurn::NotBefore(at) => {
                    if !line.timer {
                        line.timer = true;
                        tokio::spawn(Arc::clone(self).wake_at(at, Arc::clone(issuer)));
                    }
                    return;
                }
                NextTurn::Nobody => break,
            }
        }
        if line.is_idle(now) {
            lines.remove(issuer);
        }
    }

    async fn wake_at(self: Arc<Self>, at: Instant, issuer: Arc<str>) {
        sleep_until(at.into()).await;
        let mut lines = self.lines.lock();
        if let Some(line) = lines.get_mut(&issuer) {
            line.timer = false;
        }
        self.wake_next(lines, &issuer);
    }
}

impl<T: Ticket> Drop for Permit<T> {
    fn drop(&mut self) {
        if let Some((shared, issuer)) = &self.place {
            let mut lines = shared.lines.lock();
            if let Some(line) = lines.get_mut(issuer) {
                line.end();
            }
            shared.wake_next(lines, issuer);
        }
    }
}

impl<T: Ticket> fmt::Debug for Permit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl<T: Ticket> fmt::Debug for Limiter<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tokio::sync::mpsc;

    use super::*;

    struct Case {
        limiter: Limiter<String>,
        woken: mpsc::UnboundedReceiver<String>,
        issuer: Arc<str>,
        limit: Limit,
    }

    impl Case {
        fn new(per_second: u32, burst: u32, concurrent: u16) -> Self {
            let (wake, woken) = mpsc::unbounded_channel();
            Self {
                limiter: Limiter::new(Box::new(|_| 1), move |ticket| {
                    wake.send(ticket).unwrap();
                }),
                woken,
                issuer: "issuing".into(),
                limit: Limit {
                    rate: Some(Rate {
                        per_second: per_second.try_into().unwrap(),
                        burst: burst.try_into().unwrap(),
                    }),
                    concurrent: Some(concurrent.try_into().unwrap()),
                },
            }
        }

        fn enter(&self, namespace: &str, number: usize) -> Option<Permit<String>> {
            let at = Limited {
                issuer: &self.issuer,
                token: "token",
                limit: self.limit,
            };
            let ticket = format!("{namespace}/{number}");
            match self.limiter.enter(at, &namespace.into(), ticket) {
                Admission::Now(permit) => Some(permit),
                Admission::Later { .. } => None,
            }
        }
    }

    #[tokio::test]
    async fn every_request_is_woken_once_and_a_quiet_namespace_is_not_behind_a_noisy_one() {
        let mut case = Case::new(200, 1, 2);
        let first = case.enter("noisy", 0);
        assert!(first.is_some());
        for number in 1..100 {
            assert!(case.enter("noisy", number).is_none());
        }
        for number in 0..3 {
            assert!(case.enter("quiet", number).is_none());
        }
        drop(first);
        let mut order = Vec::new();
        let mut wakes: BTreeMap<String, usize> = BTreeMap::new();
        while wakes.len() < 102 {
            let ticket = case.woken.recv().await.unwrap();
            let (namespace, number) = ticket.split_once('/').unwrap();
            drop(case.enter(namespace, number.parse().unwrap()).unwrap());
            order.push(namespace.to_owned());
            *wakes.entry(ticket).or_default() += 1;
        }
        assert!(wakes.values().all(|times| *times == 1), "{wakes:?}");
        let last = order.iter().rposition(|lane| lane == "quiet").unwrap();
        assert!(last < 6, "{order:?}");
    }

    #[tokio::test]
    async fn a_woken_request_that_leaves_passes_its_turn_to_the_next() {
        let mut case = Case::new(1000, 1000, 1);
        let first = case.enter("a", 0).unwrap();
        assert!(case.enter("a", 1).is_none() && case.enter("a", 2).is_none());
        drop(first);
        let woken = case.woken.recv().await.unwrap();
        assert_eq!(woken, "a/1");
        assert!(case.limiter.is_woken(&woken));
        case.limiter.leave(&woken);
        assert_eq!(case.woken.recv().await.unwrap(), "a/2");
        case.limiter.leave_all(|_| true);
        assert!(case.enter("a", 3).is_some());
    }

    #[tokio::test]
    async fn an_issuer_without_a_limit_has_no_queue_and_a_deleted_issuer_wakes_its_requests() {
        let mut case = Case::new(1, 1, 1);
        let held = case.enter("a", 0);
        assert!(case.enter("a", 1).is_none());
        case.limiter.forget(&case.issuer);
        assert_eq!(case.woken.recv().await.unwrap(), "a/1");
        assert!(case.limiter.is_idle());
        case.limit = Limit::default();
        assert!(case.enter("a", 2).is_some() && case.limiter.is_idle());
        drop(held);
    }
}
