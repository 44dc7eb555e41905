//! How soon the next signature may begin: a rate with a burst (GCRA). Pure: time is an argument.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant},
};

/// So many a second in the long run, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: NonZeroU32,
    /// At once.
    pub burst: NonZeroU32,
}

/// The part of a rate that this replica has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    interval: Duration,
    ahead: Duration,
}

impl Share {
    /// An equal part among so many owners of the token. Everybody may do one at a time, or it would do none.
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

/// Where an issuer stands: when the next signature would be due if all came evenly.
#[derive(Debug, Default)]
pub(super) struct Pace {
    due: Option<Instant>,
}

impl Pace {
    /// When the next signature may begin; `None` for now.
    pub(super) fn not_before(&self, share: Share, now: Instant) -> Option<Instant> {
        let allowed = self.due?.checked_sub(share.ahead)?;
        (allowed > now).then_some(allowed)
    }

    /// One begins now.
    pub(super) fn begin(&mut self, share: Share, now: Instant) {
        let due = self.due.map_or(now, |due| due.max(now));
        self.due = Some(due + share.interval);
    }

    /// One that was counted did not begin.
    pub(super) fn give_back(&mut self, share: Share) {
        self.due = self.due.and_then(|due| due.checked_sub(share.interval));
    }

    /// Whether everything of before is past.
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

    /// How many begin within so many milliseconds, asked every millisecond.
    fn begun(share: Share, milliseconds: u64) -> usize {
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
    fn a_burst_at_once_and_then_the_rate() {
        let share = Share::of(rate(10, 5), 1);
        assert_eq!(begun(share, 1), 5);
        assert_eq!(begun(share, 1001), 5 + 10);
        assert_eq!(begun(share, 10_001), 5 + 100);
    }

    #[test]
    fn the_parts_of_all_owners_are_the_whole() {
        for owners in [2, 3, 5] {
            let part = begun(Share::of(rate(30, 30), owners), 10_001);
            let owners = usize::try_from(owners).unwrap();
            assert_eq!(part * owners, 30 + 300, "{owners} owners");
        }
        assert_eq!(
            begun(Share::of(rate(1, 1), 10), 10_001),
            2,
            "one in ten seconds"
        );
    }

    #[test]
    fn what_did_not_begin_does_not_count() {
        let share = Share::of(rate(1, 1), 1);
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.begin(share, now);
        assert!(pace.not_before(share, now).is_some());
        pace.give_back(share);
        assert!(pace.not_before(share, now).is_none());
        assert!(pace.is_idle(now));
    }
}
