//! The memory of one request. It lies in the queue beside the object and is lent out with it for a look. Only one look at a
//! request is in progress at a time, so the memory needs no lock.

use std::time::{Duration, Instant};

use super::{Next, decide::Recalled};
use crate::{
    metrics::WaitReason,
    pipeline::Signed,
    reconcile::{
        call::{LONGEST, delay, longest_for_a_write, random},
        events::Notice,
    },
};

/// State of a request that is kept from one look to the next. The default is an empty memory.
pub(in crate::reconcile) trait Remembered: Default {
    /// Returns whether a certificate was signed that is not known to be published.
    fn has_unpublished(&self) -> bool;

    /// Forgets the failures.
    fn forgive(&mut self);
}

/// Memory of one request, kept from one look to the next.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// The certificate that was signed and is not known to be published. It is boxed because few requests have one.
    signed: Option<Box<Signed>>,
    /// A write of ours has ended the request, but the watch has not reported it yet.
    settled: bool,
    /// Consecutive failures.
    failures: u32,
    /// After a failure, the earliest time of the next try. It is needed because our own status write is a change that makes
    /// the request due earlier.
    not_before: Option<Instant>,
    /// What the request waits for since the last look, for the metrics.
    waits_for: Option<WaitReason>,
    /// The last Event, if the status has no place for its message.
    told: Option<Box<Notice>>,
    /// Since when the request is worked on, if traces are on. It is boxed because most requests wait for an approver.
    worked_on: Option<Box<WorkedOn>>,
}

/// Times of a request that is worked on, for its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::reconcile) struct WorkedOn {
    /// When the watch first reported that there was something to do.
    pub(in crate::reconcile) since: Instant,
    /// Time up to which the trace has the stages.
    pub(in crate::reconcile) until: Instant,
}

impl Memory {
    /// Returns the part of the memory that a decision depends on.
    pub(super) fn recalled(&self) -> Recalled {
        Recalled {
            unpublished: self.has_unpublished(),
            settled: self.settled,
            not_before: self.not_before,
        }
    }

    /// Returns what the request waits for; `None` if nothing is left to do or another replica does it.
    pub(in crate::reconcile) fn waits_for(&self) -> Option<WaitReason> {
        self.waits_for
    }

    /// Notes what the request waits for.
    pub(super) fn wait_for(&mut self, reason: Option<WaitReason>) {
        self.waits_for = reason;
    }

    /// Returns the times of a request that is worked on.
    pub(in crate::reconcile) fn worked_on(&self) -> Option<WorkedOn> {
        self.worked_on.as_deref().copied()
    }

    /// Remembers the times of a request that is worked on; `None` if nothing is left to do.
    pub(in crate::reconcile) fn work_on(&mut self, times: Option<WorkedOn>) {
        self.worked_on = times.map(Box::new);
    }

    /// Returns the certificate that was signed and is not known to be published.
    pub(super) fn signed(&self) -> Option<&Signed> {
        self.signed.as_deref()
    }

    /// Remembers a certificate that was signed.
    pub(super) fn keep_unpublished(&mut self, signed: Signed) {
        self.signed = Some(Box::new(signed));
    }

    /// Forgets the certificate, because it is published or recorded as discarded.
    pub(super) fn clear_unpublished(&mut self) {
        self.signed = None;
    }

    /// Notes that a write of ours has ended the request, and forgets everything else.
    pub(super) fn settle(&mut self) {
        *self = Self {
            settled: true,
            ..Self::default()
        };
    }

    /// Notes one more failure and returns the time of the next try: after half a second, doubled with each failure up to a
    /// minute, then shortened at random by up to half.
    pub(super) fn failed(&mut self, now: Instant) -> Instant {
        self.failed_for_at_most(LONGEST, now)
    }

    /// Does the same after a failed call of the API server, with a longest pause of four seconds, or of up to a minute if
    /// very many requests are `waiting`.
    pub(in crate::reconcile) fn retry_at(&mut self, waiting: usize, now: Instant) -> Next {
        self.waits_for = Some(WaitReason::Write);
        Next::At(self.failed_for_at_most(longest_for_a_write(waiting), now))
    }

    fn failed_for_at_most(&mut self, longest: Duration, now: Instant) -> Instant {
        self.failures = self.failures.saturating_add(1);
        let again = now + delay(self.failures, random(), longest);
        self.not_before = Some(again);
        again
    }

    /// Returns whether this notice differs from the last one, and remembers it.
    pub(super) fn tells(&mut self, notice: &Notice) -> bool {
        let new = self.told.as_deref() != Some(notice);
        if new {
            self.told = Some(Box::new(notice.clone()));
        }
        new
    }
}

impl Remembered for Memory {
    fn has_unpublished(&self) -> bool {
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
    fn a_failed_request_waits_until_its_failures_are_forgiven() {
        let mut memory = Memory::default();
        let now = Instant::now();
        let again = memory.failed(now);
        assert!(again > now);
        assert_eq!(memory.recalled().not_before, Some(again));
        memory.forgive();
        assert_eq!(memory.recalled().not_before, None);
    }

    #[test]
    fn a_failed_call_is_retried_within_seconds() {
        let mut memory = Memory::default();
        for _ in 0..20 {
            let before = Instant::now();
            let Next::At(again) = memory.retry_at(0, before) else {
                panic!("the look is not repeated");
            };
            assert!(again - before <= Duration::from_secs(4));
        }
    }

    #[test]
    fn a_notice_is_emitted_once_and_again_only_after_a_different_one() {
        let mut memory = Memory::default();
        let notice = |note| Notice::new(EventReason::SigningDelayed, note);
        let told = ["a", "a", "b", "a"].map(|note| memory.tells(&notice(note)));
        assert_eq!(told, [true, false, true, true]);
    }
}
