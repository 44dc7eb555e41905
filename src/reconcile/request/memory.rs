//! What this process knows of one request besides the object: it lies in the queue beside the object and is lent out with
//! it. Nobody else looks at the request meanwhile, so nothing of it is locked.

use std::time::{Duration, Instant};

use super::{Next, decide::Recalled};
use crate::{
    pipeline::Signed,
    reconcile::{
        backoff::{LONGEST, delay, longest_for_a_write, random},
        events::Notice,
    },
};

/// What is remembered of a request from one look to the next. Nothing at first.
pub(in crate::reconcile) trait Remembered: Default {
    /// Whether something was signed for it that is not known to be published.
    fn owes(&self) -> bool;

    /// What it has failed for counts no more.
    fn forgive(&mut self);
}

/// What is remembered of one request from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// What was signed for it and is not known to be published. In a box: few requests have one.
    signed: Option<Box<Signed>>,
    /// It has ended with a write of ours, which the watch has not told of yet.
    settled: bool,
    /// Failures in a row.
    failures: u32,
    /// After a failure, when it may be tried again. Our own status write brings the object back before.
    not_before: Option<Instant>,
    /// The last Event about it, where its status has no place for what is to be said.
    told: Option<Box<Notice>>,
}

impl Memory {
    /// What a decision depends on.
    pub(super) fn recalled(&self) -> Recalled {
        Recalled {
            owed: self.owes(),
            settled: self.settled,
            not_before: self.not_before,
        }
    }

    /// What was signed for the request and is not known to be published.
    pub(super) fn signed(&self) -> Option<&Signed> {
        self.signed.as_deref()
    }

    /// A certificate was signed.
    pub(super) fn owe(&mut self, signed: Signed) {
        self.signed = Some(Box::new(signed));
    }

    /// What was signed is published, or named as discarded.
    pub(super) fn owe_nothing(&mut self) {
        self.signed = None;
    }

    /// The request has ended with a write of ours.
    pub(super) fn settle(&mut self) {
        *self = Self {
            settled: true,
            ..Self::default()
        };
    }

    /// Notes one more failure and tells when to try again: after half a second, doubling to a minute, less up to half
    /// of it at random.
    pub(super) fn failed(&mut self, now: Instant) -> Instant {
        self.failed_for_at_most(LONGEST, now)
    }

    /// The same after a call of the API server, which is tried again every four seconds at least as long as not too
    /// many requests are `waiting`.
    pub(in crate::reconcile) fn retry_call(&mut self, waiting: usize, now: Instant) -> Next {
        Next::At(self.failed_for_at_most(longest_for_a_write(waiting), now))
    }

    fn failed_for_at_most(&mut self, longest: Duration, now: Instant) -> Instant {
        self.failures = self.failures.saturating_add(1);
        let again = now + delay(self.failures, random(), longest);
        self.not_before = Some(again);
        again
    }

    /// Whether this is something new to tell; it counts as told.
    pub(super) fn tells(&mut self, notice: &Notice) -> bool {
        let new = self.told.as_deref() != Some(notice);
        if new {
            self.told = Some(Box::new(notice.clone()));
        }
        new
    }
}

impl Remembered for Memory {
    fn owes(&self) -> bool {
        self.signed.is_some()
    }

    fn forgive(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::events::EventReason;

    #[test]
    fn a_request_waits_after_a_failure_until_it_is_forgiven() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let again = memory.failed(now);
        assert!(again > now);
        assert_eq!(memory.recalled().not_before, Some(again));
        memory.forgive();
        assert_eq!(memory.recalled().not_before, None);
    }

    #[test]
    fn a_call_that_failed_is_repeated_within_seconds() {
        let mut memory = Memory::default();
        for _ in 0..20 {
            let before = Instant::now();
            let Next::At(again) = memory.retry_call(0, before) else {
                panic!("it is not repeated");
            };
            assert!(again - before <= Duration::from_secs(4));
        }
    }

    #[test]
    fn the_same_is_told_once_and_again_after_something_else() {
        let mut memory = Memory::default();
        let notice = |note| Notice::new(EventReason::SigningDelayed, note);
        let told = ["a", "a", "b", "a"].map(|note| memory.tells(&notice(note)));
        assert_eq!(told, [true, false, true, true]);
    }
}
