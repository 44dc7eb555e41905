//! The clock that both ends of a Unix socket share.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Time on `CLOCK_MONOTONIC`, in microseconds.
///
/// Deadlines are absolute because a request also ages while it waits in the socket's buffer. Both ends of a Unix socket
/// run on one kernel and so share this clock, unless they are in different time namespaces; [`Moment::is_recent`]
/// detects that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment(u64);

impl Moment {
    /// Returns the present time.
    #[must_use]
    pub fn now() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let part = |part: i64| u64::try_from(part).unwrap_or_default();
        Self(part(now.tv_sec) * 1_000_000 + part(now.tv_nsec) / 1000)
    }

    /// Returns the time `duration` later, at most the latest that can be represented.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let microseconds = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(microseconds))
    }

    /// Returns whether the time is not in the future.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self <= Self::now()
    }

    /// Returns whether a peer with the same clock can have said hello at this time: less than an hour ago and not in the
    /// future.
    #[must_use]
    pub fn is_recent(self) -> bool {
        self.is_recent_at(Self::now())
    }

    fn is_recent_at(self, now: Self) -> bool {
        self <= now && now < self.after(LONGEST_GREETING)
    }
}

/// Longest time from a greeting to its check. It is an hour, because a peer that shares the clock may have been stopped
/// right after its greeting.
const LONGEST_GREETING: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Moment;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn now_has_passed_and_the_next_hour_has_not() {
        let now = Moment::now();
        assert!(now.has_passed());
        assert!(!now.after(HOUR).has_passed());
    }

    #[test]
    fn the_moment_of_another_clock_is_not_recent() {
        // The real clock begins at boot: on a machine that is up for less than an hour, no time would be an hour old.
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
