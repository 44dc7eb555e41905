//! The queue of one issuer with a limit: which requests may sign now, and which is next. Pure: time is an argument.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    num::NonZeroU16,
    time::Instant,
};

use super::pace::{Pace, Rate, RateShare};
use crate::lanes::{Lane, Lanes};

/// Limit of one issuer, on all replicas together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// Signatures per second.
    pub rate: Option<Rate>,
    /// Signatures at the same time.
    pub concurrent: Option<NonZeroU16>,
}

/// Queue of one issuer. Tenants take turns, regardless of whose request came first.
#[derive(Debug)]
pub(super) struct Line<T> {
    pub(super) limit: Limit,
    /// Number of replicas that share the limit.
    pub(super) owners: u32,
    /// Whether a timer runs until the rate allows the next signature.
    pub(super) timer: bool,
    pace: Pace,
    inside: u32,
    /// Waiting requests, and some that have left since.
    lanes: Lanes<T>,
    /// When each waiting request began to wait. A request that is in a lane but not in this map has left.
    waiting: HashMap<T, Instant>,
    /// Requests that were woken and have not begun. They count against the limit as if they had begun.
    woken: HashSet<T>,
}

/// Outcome of [`Line::enter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineEntry {
    Begins,
    Waits { since: Instant },
}

/// The next event in a queue.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NextTurn<T> {
    Admission(T),
    NotBefore(Instant),
    /// No request waits, or the limit of concurrent signatures is reached. In the second case, the end of a signature wakes
    /// the next request.
    Nobody,
}

impl<T: Clone + Eq + Hash> Line<T> {
    pub(super) fn new() -> Self {
        Self {
            limit: Limit::default(),
            owners: 1,
            timer: false,
            pace: Pace::default(),
            inside: 0,
            lanes: Lanes::default(),
            waiting: HashMap::new(),
            woken: HashSet::new(),
        }
    }

    /// Asks for a turn. A request that was woken begins; a request that already waits keeps its place.
    pub(super) fn enter(&mut self, ticket: T, lane: &Lane, now: Instant) -> LineEntry {
        if self.woken.remove(&ticket) {
            return LineEntry::Begins;
        }
        if let Some(since) = self.waiting.get(&ticket) {
            return LineEntry::Waits { since: *since };
        }
        if self.waiting.is_empty() && self.has_place() && self.not_before(now).is_none() {
            self.count(now);
            return LineEntry::Begins;
        }
        self.lanes.push(lane, ticket.clone());
        self.waiting.insert(ticket, now);
        LineEntry::Waits { since: now }
    }

    /// Returns the next request to wake, if it may begin now.
    pub(super) fn next(&mut self, now: Instant) -> NextTurn<T> {
        if self.waiting.is_empty() {
            self.lanes = Lanes::default();
            return NextTurn::Nobody;
        }
        if !self.has_place() {
            return NextTurn::Nobody;
        }
        if let Some(at) = self.not_before(now) {
            return NextTurn::NotBefore(at);
        }
        while let Some(ticket) = self.lanes.pop() {
            if self.waiting.remove(&ticket).is_some() {
                self.count(now);
                self.woken.insert(ticket.clone());
                return NextTurn::Admission(ticket);
            }
        }
        NextTurn::Nobody
    }

    /// Records the end of a request that had begun.
    pub(super) fn end(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }

    /// Returns whether this request was woken and has not begun.
    pub(super) fn is_woken(&self, ticket: &T) -> bool {
        self.woken.contains(ticket)
    }

    /// Removes a request that will not sign. If it was woken, its turn is free for the next request.
    pub(super) fn leave(&mut self, ticket: &T) {
        self.waiting.remove(ticket);
        if self.woken.remove(ticket) {
            self.end();
            if let Some(share) = self.share() {
                self.pace.give_back(share);
            }
        }
    }

    /// Removes and returns all requests that wait or were woken.
    pub(super) fn disband(&mut self) -> Vec<T> {
        let waiting = self.waiting.drain().map(|(ticket, _)| ticket);
        waiting.chain(self.woken.drain()).collect()
    }

    /// Returns how many requests sign, or were woken to sign.
    pub(super) fn inside(&self) -> u32 {
        self.inside
    }

    /// Returns how many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns whether the queue holds no state, so that it can be dropped.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty()
            && self.woken.is_empty()
            && self.inside == 0
            && self.pace.is_idle(now)
    }

    /// Returns the matching requests among those that wait or were woken.
    pub(super) fn those(&self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let all = self.waiting.keys().chain(&self.woken);
        all.filter(|ticket| matches(ticket)).cloned().collect()
    }

    fn has_place(&self) -> bool {
        let owners = self.owners.max(1);
        self.limit
            .concurrent
            .is_none_or(|most| self.inside < (u32::from(most.get()) / owners).max(1))
    }

    /// Returns when the rate allows the next signature, if that is after `now`.
    pub(super) fn not_before(&self, now: Instant) -> Option<Instant> {
        self.pace.not_before(self.share()?, now)
    }

    fn count(&mut self, now: Instant) {
        self.inside += 1;
        if let Some(share) = self.share() {
            self.pace.begin(share, now);
        }
    }

    fn share(&self) -> Option<RateShare> {
        self.limit.rate.map(|rate| RateShare::of(rate, self.owners))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(rate: Option<(u32, u32)>, concurrent: Option<u16>) -> Line<String> {
        Line {
            limit: Limit {
                rate: rate.map(|(per_second, burst)| Rate {
                    per_second: per_second.try_into().unwrap(),
                    burst: burst.try_into().unwrap(),
                }),
                concurrent: concurrent.map(|most| most.try_into().unwrap()),
            },
            ..Line::new()
        }
    }

    fn enter(line: &mut Line<String>, namespace: &str, number: usize, now: Instant) -> LineEntry {
        let lane = Lane {
            tenant: namespace.into(),
            issuer: "issuing".into(),
        };
        line.enter(format!("{namespace}/{number}"), &lane, now)
    }

    #[test]
    fn a_request_over_the_rate_waits_and_is_woken_when_the_rate_allows() {
        let now = Instant::now();
        let mut line = line(Some((1, 2)), None);
        for number in 0..2 {
            assert_eq!(enter(&mut line, "shop", number, now), LineEntry::Begins);
        }
        assert_eq!(
            enter(&mut line, "shop", 2, now),
            LineEntry::Waits { since: now }
        );
        let due = now + Duration::from_secs(1);
        assert_eq!(line.next(now), NextTurn::NotBefore(due));
        assert_eq!(
            enter(&mut line, "shop", 2, due),
            LineEntry::Waits { since: now },
            "asking again changes nothing"
        );
        assert_eq!(line.next(due), NextTurn::Admission("shop/2".to_owned()));
        assert_eq!(line.next(due), NextTurn::Nobody);
        assert_eq!(enter(&mut line, "shop", 2, due), LineEntry::Begins);
    }

    #[test]
    fn a_noisy_namespace_does_not_starve_a_quiet_one_under_a_rate() {
        let start = Instant::now();
        let mut line = line(Some((1, 1)), None);
        for number in 0..1000 {
            enter(&mut line, "noisy", number, start);
        }
        enter(&mut line, "quiet", 0, start);
        enter(&mut line, "quiet", 1, start);
        let mut woken = Vec::new();
        for second in 1..=4 {
            match line.next(start + Duration::from_secs(second)) {
                NextTurn::Admission(ticket) => woken.push(ticket),
                other @ (NextTurn::NotBefore(_) | NextTurn::Nobody) => panic!("{other:?}"),
            }
        }
        assert_eq!(woken, ["noisy/1", "quiet/0", "noisy/2", "quiet/1"]);
    }

    #[test]
    fn no_more_requests_sign_at_a_time_than_the_limit_allows() {
        let now = Instant::now();
        let mut line = line(None, Some(2));
        assert_eq!(enter(&mut line, "a", 0, now), LineEntry::Begins);
        assert_eq!(enter(&mut line, "a", 1, now), LineEntry::Begins);
        assert!(matches!(
            enter(&mut line, "a", 2, now),
            LineEntry::Waits { .. }
        ));
        assert_eq!(line.next(now), NextTurn::Nobody);
        line.end();
        assert_eq!(line.next(now), NextTurn::Admission("a/2".to_owned()));
        assert_eq!(line.next(now), NextTurn::Nobody, "a woken request counts");
    }

    #[test]
    fn a_request_that_leaves_delays_no_other() {
        let now = Instant::now();
        let mut line = line(Some((1, 1)), Some(1));
        enter(&mut line, "a", 0, now);
        for number in 1..1000 {
            enter(&mut line, "a", number, now);
        }
        for number in 2..999 {
            line.leave(&format!("a/{number}"));
        }
        line.end();
        let due = now + Duration::from_secs(1);
        assert_eq!(line.next(due), NextTurn::Admission("a/1".to_owned()));
        // A woken request that is deleted frees its turn for the next one, at the same moment.
        assert!(line.is_woken(&"a/1".to_owned()));
        line.leave(&"a/1".to_owned());
        assert_eq!(line.next(due), NextTurn::Admission("a/999".to_owned()));
        line.leave(&"a/999".to_owned());
        assert!(line.is_idle(due));
    }

    #[test]
    fn lifting_a_limit_wakes_every_waiting_request() {
        let now = Instant::now();
        let mut line = line(Some((1, 1)), None);
        for number in 0..10 {
            enter(&mut line, "a", number, now);
        }
        line.limit = Limit::default();
        let woken = std::iter::from_fn(|| match line.next(now) {
            NextTurn::Admission(ticket) => Some(ticket),
            NextTurn::NotBefore(_) | NextTurn::Nobody => None,
        });
        assert_eq!(woken.count(), 9);
    }

    #[test]
    fn replicas_divide_the_concurrency_and_each_gets_at_least_one() {
        let now = Instant::now();
        for (owners, places) in [(1, 4), (2, 2), (3, 1), (9, 1)] {
            let mut line = line(None, Some(4));
            line.owners = owners;
            let begun = (0..9).filter(|n| enter(&mut line, "a", *n, now) == LineEntry::Begins);
            assert_eq!(begun.count(), places, "{owners} owners");
        }
    }
}
