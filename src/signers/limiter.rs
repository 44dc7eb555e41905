//! Limits of issuers: requests over a limit wait in fair turns, and hold nothing while they wait.

mod line;
mod pace;

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

use self::line::{Entry, Line, Next};
pub use self::{line::Limit, pace::Rate};
use crate::lanes::Lane;

/// What names a request.
pub trait Ticket: Clone + Eq + Hash + Send + Sync + 'static {}

impl<T: Clone + Eq + Hash + Send + Sync + 'static> Ticket for T {}

/// How many replicas share the limits of the issuers on a token, by the token's name.
pub type Owners = Box<dyn Fn(&str) -> u32 + Send + Sync>;

/// The lines of all issuers that have a limit. `T` names a request.
///
/// *Guarantees*: an issuer's requests begin no faster, and no more of them are inside at a time, than its limit says, or
/// this replica's share of it; tenants take turns. Who must wait is called once, by `wake`, and needs not ask again.
pub struct Limiter<T: Ticket>(Arc<Shared<T>>);

struct Shared<T: Ticket> {
    /// Held for look-ups only, never across an await.
    lines: Mutex<HashMap<Arc<str>, Line<T>>>,
    owners: Owners,
    wake: Box<dyn Fn(T) + Send + Sync>,
}

/// Whether a request may sign now.
#[derive(Debug)]
pub enum Turn<T: Ticket> {
    /// It may, as long as this is held.
    Now(Permit<T>),
    /// It is called when its turn comes.
    Later {
        /// How long it has waited.
        waited: Duration,
    },
}

/// A place at an issuer; dropping it calls the next.
pub struct Permit<T: Ticket> {
    /// `None` where the issuer has no limit.
    place: Option<(Arc<Shared<T>>, Arc<str>)>,
}

/// An issuer as its limit is looked up.
#[derive(Clone, Copy, Debug)]
pub struct Limited<'a> {
    /// Its name among all issuers.
    pub issuer: &'a Arc<str>,
    /// The token that it signs with.
    pub token: &'a str,
    /// What it may.
    pub limit: Limit,
}

impl<T: Ticket> Limiter<T> {
    /// No limits yet. `wake` is called with each request whose turn has come; it must not wait, nor come back here.
    pub fn new(owners: Owners, wake: impl Fn(T) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Shared {
            lines: Mutex::default(),
            owners,
            wake: Box::new(wake),
        }))
    }

    /// Asks for a turn for a request of this tenant.
    #[must_use]
    pub fn enter(&self, at: Limited<'_>, tenant: &Arc<str>, ticket: T) -> Turn<T> {
        let Limited {
            issuer,
            token,
            limit,
        } = at;
        let mut lines = self.0.lock();
        if limit == Limit::default() && !lines.contains_key(issuer) {
            return Turn::Now(Permit { place: None });
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
            Entry::Begins => Turn::Now(Permit {
                place: Some((Arc::clone(&self.0), Arc::clone(issuer))),
            }),
            Entry::Waits { since } => Turn::Later {
                waited: now.duration_since(since),
            },
        };
        self.0.call_next(lines, issuer);
        turn
    }

    /// Whether this request's turn has come and it has not begun.
    #[must_use]
    pub fn is_called(&self, ticket: &T) -> bool {
        self.0.lock().values().any(|line| line.is_called(ticket))
    }

    /// Whether no issuer has a line.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// This request will not sign.
    pub fn leave(&self, ticket: &T) {
        self.at_each_line(|line| line.leave(ticket));
    }

    /// These will not sign.
    pub fn leave_all(&self, matches: impl Fn(&T) -> bool) {
        self.at_each_line(|line| {
            for ticket in line.those(&matches) {
                line.leave(&ticket);
            }
        });
    }

    fn at_each_line(&self, act: impl Fn(&mut Line<T>)) {
        let issuers: Vec<_> = self.0.lock().keys().cloned().collect();
        for issuer in issuers {
            let mut lines = self.0.lock();
            if let Some(line) = lines.get_mut(&issuer) {
                act(line);
            }
            self.0.call_next(lines, &issuer);
        }
    }

    /// The issuer is no more: everybody is called, and finds that out.
    pub fn forget(&self, issuer: &str) {
        if let Some(mut line) = self.0.lock().remove(issuer) {
            line.disband()
                .into_iter()
                .for_each(|ticket| (self.0.wake)(ticket));
        }
    }
}

impl<T: Ticket> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Line<T>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls whose turn it is, and sees to it that those who must wait are called in time.
    fn call_next(
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
                Next::Turn(ticket) => (self.wake)(ticket),
                Next::NotBefore(at) => {
                    if !line.timer {
                        line.timer = true;
                        tokio::spawn(Arc::clone(self).call_at(at, Arc::clone(issuer)));
                    }
                    return;
                }
                Next::Nobody => break,
            }
        }
        if line.is_idle(now) {
            lines.remove(issuer);
        }
    }

    async fn call_at(self: Arc<Self>, at: Instant, issuer: Arc<str>) {
        sleep_until(at.into()).await;
        let mut lines = self.lock();
        if let Some(line) = lines.get_mut(&issuer) {
            line.timer = false;
        }
        self.call_next(lines, &issuer);
    }
}

impl<T: Ticket> Drop for Permit<T> {
    fn drop(&mut self) {
        if let Some((shared, issuer)) = &self.place {
            let mut lines = shared.lock();
            if let Some(line) = lines.get_mut(issuer) {
                line.end();
            }
            shared.call_next(lines, issuer);
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
        called: mpsc::UnboundedReceiver<String>,
        issuer: Arc<str>,
        limit: Limit,
    }

    impl Case {
        fn new(per_second: u32, burst: u32, concurrent: u16) -> Self {
            let (wake, called) = mpsc::unbounded_channel();
            Self {
                limiter: Limiter::new(Box::new(|_| 1), move |ticket| {
                    wake.send(ticket).unwrap();
                }),
                called,
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
                Turn::Now(permit) => Some(permit),
                Turn::Later { .. } => None,
            }
        }
    }

    #[tokio::test]
    async fn everybody_is_called_once_and_a_quiet_namespace_before_a_noisy_ones_rest() {
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
        let mut calls: BTreeMap<String, usize> = BTreeMap::new();
        while calls.len() < 102 {
            let ticket = case.called.recv().await.unwrap();
            let (namespace, number) = ticket.split_once('/').unwrap();
            drop(case.enter(namespace, number.parse().unwrap()).unwrap());
            order.push(namespace.to_owned());
            *calls.entry(ticket).or_default() += 1;
        }
        assert!(calls.values().all(|times| *times == 1), "{calls:?}");
        let last = order.iter().rposition(|lane| lane == "quiet").unwrap();
        assert!(last < 6, "{order:?}");
    }

    #[tokio::test]
    async fn who_is_called_and_does_not_come_leaves_the_turn_to_the_next() {
        let mut case = Case::new(1000, 1000, 1);
        let first = case.enter("a", 0).unwrap();
        assert!(case.enter("a", 1).is_none() && case.enter("a", 2).is_none());
        drop(first);
        let called = case.called.recv().await.unwrap();
        assert_eq!(called, "a/1");
        assert!(case.limiter.is_called(&called));
        case.limiter.leave(&called);
        assert_eq!(case.called.recv().await.unwrap(), "a/2");
        case.limiter.leave_all(|_| true);
        assert!(case.enter("a", 3).is_some());
    }

    #[tokio::test]
    async fn an_issuer_without_a_limit_keeps_no_line_and_one_that_is_no_more_calls_its_requests() {
        let mut case = Case::new(1, 1, 1);
        let held = case.enter("a", 0);
        assert!(case.enter("a", 1).is_none());
        case.limiter.forget(&case.issuer);
        assert_eq!(case.called.recv().await.unwrap(), "a/1");
        assert!(case.limiter.is_idle());
        case.limit = Limit::default();
        assert!(case.enter("a", 2).is_some() && case.limiter.is_idle());
        drop(held);
    }
}
