//! The requests of one issuer with a limit: who may sign now, and who is next. Pure: time is an argument.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    num::NonZeroU16,
    time::Instant,
};

use super::pace::{Pace, Rate, Share};
use crate::lanes::{Lane, Lanes};

/// How much one issuer may sign, on all replicas together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit {
    /// How fast.
    pub rate: Option<Rate>,
    /// How many at the same time.
    pub concurrent: Option<NonZeroU16>,
}

/// One issuer's line. Turns go round the tenants, and not by who asked first.
#[derive(Debug)]
pub(super) struct Line<T> {
    pub(super) limit: Limit,
    /// Replicas that share the limit.
    pub(super) owners: u32,
    /// Whether somebody comes back when the pace allows the next.
    pub(super) timer: bool,
    pace: Pace,
    inside: u32,
    /// Those who wait, and some who have left.
    lanes: Lanes<T>,
    /// Since when each waits. Who is in a lane and not here has left.
    waiting: HashMap<T, Instant>,
    /// Those whose turn has come and who have not begun. They are counted as if they had.
    called: HashSet<T>,
}

/// What comes of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Begins,
    Waits { since: Instant },
}

/// Whose turn it is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    Turn(T),
    NotBefore(Instant),
    /// Nobody waits, or there is no place: the end of a signature brings the next.
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
            called: HashSet::new(),
        }
    }

    /// Somebody wants to sign. Who was called begins; who waits already keeps the place.
    pub(super) fn enter(&mut self, ticket: T, lane: &Lane, now: Instant) -> Entry {
        if self.called.remove(&ticket) {
            return Entry::Begins;
        }
        if let Some(since) = self.waiting.get(&ticket) {
            return Entry::Waits { since: *since };
        }
        if self.waiting.is_empty() && self.has_place() && self.not_before(now).is_none() {
            self.count(now);
            return Entry::Begins;
        }
        self.lanes.push(lane, ticket.clone());
        self.waiting.insert(ticket, now);
        Entry::Waits { since: now }
    }

    /// Calls the next, if one may begin.
    pub(super) fn next(&mut self, now: Instant) -> Next<T> {
        if self.waiting.is_empty() {
            self.lanes = Lanes::default();
            return Next::Nobody;
        }
        if !self.has_place() {
            return Next::Nobody;
        }
        if let Some(at) = self.not_before(now) {
            return Next::NotBefore(at);
        }
        while let Some(ticket) = self.lanes.pop() {
            if self.waiting.remove(&ticket).is_some() {
                self.count(now);
                self.called.insert(ticket.clone());
                return Next::Turn(ticket);
            }
        }
        Next::Nobody
    }

    /// One that had begun has ended.
    pub(super) fn end(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }

    /// Whether this one was called and has not begun.
    pub(super) fn is_called(&self, ticket: &T) -> bool {
        self.called.contains(ticket)
    }

    /// This one will not sign. What it was called for is the next one's.
    pub(super) fn leave(&mut self, ticket: &T) {
        self.waiting.remove(ticket);
        if self.called.remove(ticket) {
            self.end();
            if let Some(share) = self.share() {
                self.pace.give_back(share);
            }
        }
    }

    /// Everybody who waits or was called, and does so no more.
    pub(super) fn disband(&mut self) -> Vec<T> {
        let waiting = self.waiting.drain().map(|(ticket, _)| ticket);
        waiting.chain(self.called.drain()).collect()
    }

    /// Whether to forget the line changes nothing.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.waiting.is_empty()
            && self.called.is_empty()
            && self.inside == 0
            && self.pace.is_idle(now)
    }

    /// Who waits or was called, and matches.
    pub(super) fn those(&self, matches: impl Fn(&T) -> bool) -> Vec<T> {
        let all = self.waiting.keys().chain(&self.called);
        all.filter(|ticket| matches(ticket)).cloned().collect()
    }

    fn has_place(&self) -> bool {
        let owners = self.owners.max(1);
        self.limit
            .concurrent
            .is_none_or(|most| self.inside < (u32::from(most.get()) / owners).max(1))
    }

    fn not_before(&self, now: Instant) -> Option<Instant> {
        self.pace.not_before(self.share()?, now)
    }

    fn count(&mut self, now: Instant) {
        self.inside += 1;
        if let Some(share) = self.share() {
            self.pace.begin(share, now);
        }
    }

    fn share(&self) -> Option<Share> {
        self.limit.rate.map(|rate| Share::of(rate, self.owners))
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

    fn enter(line: &mut Line<String>, namespace: &str, number: usize, now: Instant) -> Entry {
        let lane = Lane {
            tenant: namespace.into(),
            issuer: "issuing".into(),
        };
        line.enter(format!("{namespace}/{number}"), &lane, now)
    }

    #[test]
    fn who_is_over_the_rate_waits_and_is_called_when_the_pace_allows() {
        let now = Instant::now();
        let mut line = line(Some((1, 2)), None);
        for number in 0..2 {
            assert_eq!(enter(&mut line, "shop", number, now), Entry::Begins);
        }
        assert_eq!(
            enter(&mut line, "shop", 2, now),
            Entry::Waits { since: now }
        );
        let due = now + Duration::from_secs(1);
        assert_eq!(line.next(now), Next::NotBefore(due));
        assert_eq!(
            enter(&mut line, "shop", 2, due),
            Entry::Waits { since: now },
            "asking again changes nothing"
        );
        assert_eq!(line.next(due), Next::Turn("shop/2".to_owned()));
        assert_eq!(line.next(due), Next::Nobody);
        assert_eq!(enter(&mut line, "shop", 2, due), Entry::Begins);
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
        let mut called = Vec::new();
        for second in 1..=4 {
            match line.next(start + Duration::from_secs(second)) {
                Next::Turn(ticket) => called.push(ticket),
                other @ (Next::NotBefore(_) | Next::Nobody) => panic!("{other:?}"),
            }
        }
        assert_eq!(called, ["noisy/1", "quiet/0", "noisy/2", "quiet/1"]);
    }

    #[test]
    fn no_more_sign_at_a_time_than_may() {
        let now = Instant::now();
        let mut line = line(None, Some(2));
        assert_eq!(enter(&mut line, "a", 0, now), Entry::Begins);
        assert_eq!(enter(&mut line, "a", 1, now), Entry::Begins);
        assert!(matches!(enter(&mut line, "a", 2, now), Entry::Waits { .. }));
        assert_eq!(line.next(now), Next::Nobody);
        line.end();
        assert_eq!(line.next(now), Next::Turn("a/2".to_owned()));
        assert_eq!(line.next(now), Next::Nobody, "who was called has the place");
    }

    #[test]
    fn who_leaves_costs_the_others_nothing() {
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
        assert_eq!(line.next(due), Next::Turn("a/1".to_owned()));
        // It was called, and was deleted meanwhile: the same moment is the next one's.
        assert!(line.is_called(&"a/1".to_owned()));
        line.leave(&"a/1".to_owned());
        assert_eq!(line.next(due), Next::Turn("a/999".to_owned()));
        line.leave(&"a/999".to_owned());
        assert!(line.is_idle(due));
    }

    #[test]
    fn a_limit_that_is_lifted_calls_everybody() {
        let now = Instant::now();
        let mut line = line(Some((1, 1)), None);
        for number in 0..10 {
            enter(&mut line, "a", number, now);
        }
        line.limit = Limit::default();
        let called = std::iter::from_fn(|| match line.next(now) {
            Next::Turn(ticket) => Some(ticket),
            Next::NotBefore(_) | Next::Nobody => None,
        });
        assert_eq!(called.count(), 9);
    }

    #[test]
    fn replicas_share_the_places_and_each_has_one() {
        let now = Instant::now();
        for (owners, places) in [(1, 4), (2, 2), (3, 1), (9, 1)] {
            let mut line = line(None, Some(4));
            line.owners = owners;
            let begun = (0..9).filter(|n| enter(&mut line, "a", *n, now) == Entry::Begins);
            assert_eq!(begun.count(), places, "{owners} owners");
        }
    }
}
