//! The clock that both ends of a Unix socket share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A moment on `CLOCK_MONOTONIC`, in microseconds.
///
/// Absolute, because a request that waits in the socket's buffer ages there. Both ends of a Unix socket run on one
/// kernel, and so by one such clock unless a time namespace parts them, which [`Moment::is_recent`] shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let part = |part: i64| u64::try_from(part).unwrap_or_default();
        Self(part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000)
    }

    /// So much later; the end of time at most.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(microseconds))
    }

    /// It is not in the future.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self <= Self::now()
    }

    /// It may well be the moment at which a peer said hello: less than an hour ago and not in the future.
    #[must_use]
    pub fn is_recent(self) -> bool {
        self.is_recent_at(Self::now())
    }

    fn is_recent_at(self, now: Self) -> bool {
        self <= now && now < self.after(LONGEST_GREETING)
    }
}

/// A peer that was stopped after its greeting is one that shares the clock all the same.
const LONGEST_GREETING: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Moment;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_moment_passes() {
        let now = Moment::now();
        assert!(now.has_passed());
        assert!(!now.after(HOUR).has_passed());
    }

    #[test]
    fn the_moment_of_another_clock_is_not_recent() {
        // Not by the real clock, which begins with the machine: one that is up for less than an hour has no earlier.
        let now = Moment(0).after(HOUR * 2);
        assert!(now.is_recent_at(now));
        assert!(!now.after(HOUR).is_recent_at(now));
        assert!(!Moment(0).after(HOUR).is_recent_at(now));
        assert!(Moment::now().is_recent());
    }

    #[test]
    fn no_duration_overflows() {
        assert!(!Moment::now().after(Duration::MAX).has_passed());
    }
}
