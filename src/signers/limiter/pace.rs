//! Rate limit with a burst (GCRA): when the next signature may begin. Pure: time is an argument.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// Rate of signatures, and the burst that is allowed after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Signatures per second in the long run.
    pub per_second: NonZeroU32,
    /// Signatures at once after a pause.
    pub burst: NonZeroU32,
}

/// This replica's part of a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateShare {
    interval: Duration,
    ahead: Duration,
}

impl RateShare {
    /// Divides a rate equally among the `owners` of the token. The burst is at least one, or a replica could never sign.
    pub(super) fn of(rate: Rate, owners: u32) -> Self {
        let owners = owners.max(1);
        let interval = Duration::from_secs(u64::from(owners)) / rate.per_second.get();
        let burst = (rate.burst.get() / owners).max(1);
        Self {
            interval,
            ahead: interval * (burst - 1),
        }
    }
}

/// State of one issuer's rate limit: when the next signature would be due if all came at equal intervals.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: Option<Instant>,
}

impl Pace {
    /// Returns when the next signature may begin; `None` if it may begin now.
    pub(super) fn not_before(&self, share: RateShare, now: Instant) -> Option<Instant> {
        let allowed = self.due?.checked_sub(share.ahead)?;
        (allowed > now).then_some(allowed)
    }

    /// Counts a signature that begins now.
    pub(super) fn begin(&mut self, share: RateShare, now: Instant) {
        let due = self.due.map_or(now, |due| due.max(now));
        self.due = Some(due + share.interval);
    }

    /// Takes back a counted signature that did not begin.
    pub(super) fn give_back(&mut self, share: RateShare) {
        self.due = self.due.and_then(|due| due.checked_sub(share.interval));
    }

    /// Returns whether earlier signatures no longer delay the next one.
    pub(super) fn is_idle(&self, now: Instant) -> bool {
        self.due.is_none_or(|due| due <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(per_second: u32, burst: u32) -> Rate {
        Rate {
            per_second: per_second.try_into().unwrap(),
            burst: burst.try_into().unwrap(),
        }
    }

    /// Returns how many signatures begin within that many milliseconds, with one attempt every millisecond.
    fn begun(share: RateShare, milliseconds: u64) -> usize {
        let start = Instant::now();
        let mut pace = Pace::default();
        let mut begun = 0;
        for passed in 0..milliseconds {
            let now = start + Duration::from_millis(passed);
            while pace.not_before(share, now).is_none() {
                pace.begin(share, now);
                begun += 1;
            }
        }
        begun
    }

    #[test]
    fn a_burst_begins_at_once_and_then_the_rate_applies() {
        let share = RateShare::of(rate(10, 5), 1);
        assert_eq!(begun(share, 1), 5);
        assert_eq!(begun(share, 1001), 5 + 10);
        assert_eq!(begun(share, 10_001), 5 + 100);
    }

    #[test]
    fn the_shares_of_all_owners_add_up_to_the_whole_rate() {
        for owners in [2, 3, 5] {
            let part = begun(RateShare::of(rate(30, 30), owners), 10_001);
            let owners = usize::try_from(owners).unwrap();
            assert_eq!(part * owners, 30 + 300, "{owners} owners");
        }
        assert_eq!(
            begun(RateShare::of(rate(1, 1), 10), 10_001),
            2,
            "one in ten seconds"
        );
    }

    #[test]
    fn a_signature_that_did_not_begin_does_not_count() {
        let share = RateShare::of(rate(1, 1), 1);
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.begin(share, now);
        assert!(pace.not_before(share, now).is_some());
        pace.give_back(share);
        assert!(pace.not_before(share, now).is_none());
        assert!(pace.is_idle(now));
    }
}
