//! How long a Lease is valid, and the times that follow from it.

use std::{str::FromStr, time::Duration};

use crate::duration::{DurationError, GoDuration};

const SHORTEST: u16 = 3;
const LONGEST: u16 = 300;

/// How long a Lease is valid after its last renewal: whole seconds, as in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseDuration {
    seconds: u16,
}

/// Why a Lease cannot have this duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseDurationError {
    /// The text is not a duration.
    #[error(transparent)]
    Unreadable(#[from] DurationError),
    /// The API stores whole seconds. Below 3 s a busy API server would make a replica look lost; above 5 minutes the
    /// share of a lost node would wait too long.
    #[error("a lease duration must be whole seconds from {SHORTEST}s to {LONGEST}s")]
    OutOfRange,
}

impl FromStr for LeaseDuration {
    type Err = LeaseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let duration = text.parse::<GoDuration>()?.unsigned();
        let whole = duration.filter(|duration| duration.subsec_nanos() == 0);
        whole
            .and_then(|duration| Self::from_seconds(duration.as_secs()))
            .ok_or(LeaseDurationError::OutOfRange)
    }
}

impl LeaseDuration {
    /// Returns the duration that a Lease states, or `None` if no replica can have written it.
    pub(super) fn from_seconds(seconds: impl TryInto<u16>) -> Option<Self> {
        let seconds = seconds.try_into().ok()?;
        (SHORTEST..=LONGEST)
            .contains(&seconds)
            .then_some(Self { seconds })
    }

    pub(super) fn seconds(self) -> i32 {
        self.seconds.into()
    }

    pub(super) fn whole(self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }

    /// Returns the time from one renewal to the next. Two renewals may fail before the Lease is given up.
    pub(super) fn renew_every(self) -> Duration {
        self.whole() / 3
    }

    pub(super) fn retry_after(self) -> Duration {
        self.whole() / 12
    }

    /// Returns how often the archive of checkpoints is read again: rarely, because nothing waits for it.
    pub(super) fn archive_read_every(self) -> Duration {
        self.whole() * 4
    }

    /// Returns how long one call to the API server may take.
    pub(super) fn answer_within(self) -> Duration {
        (self.whole() / 3).min(Duration::from_secs(10))
    }

    /// Returns how long this replica keeps signing after it *sent* a renewal. The remaining sixth allows for clocks
    /// that run at different speeds, and for a signature that is requested at the last moment.
    pub(super) fn holds_for(self) -> Duration {
        self.whole() - self.whole() / 6
    }

    /// Returns the longest gap between two readings of the Leases that still lets the reader judge them. After a longer
    /// gap it is unknown which replicas had a chance to renew. An outage that is short enough to go unnoticed leaves
    /// every replica time to renew: a Lease is at most a third of a duration old when the outage begins, and a replica
    /// tries again within a twelfth.
    pub(super) fn inattentive_after(self) -> Duration {
        self.whole() / 2
    }

    /// Returns how long a Lease must go without renewal before any replica may delete it.
    pub(super) fn swept_after(self) -> Duration {
        self.whole() * 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_duration_is_whole_seconds_from_3s_to_5m() {
        for good in ["3s", "15s", "1m", "5m"] {
            assert!(good.parse::<LeaseDuration>().is_ok(), "{good}");
        }
        for bad in [
            "0s", "2s", "-15s", "1500ms", "15s1ms", "301s", "24h", "2562047h",
        ] {
            assert_eq!(
                bad.parse::<LeaseDuration>(),
                Err(LeaseDurationError::OutOfRange),
                "{bad}"
            );
        }
        assert!(matches!(
            "15".parse::<LeaseDuration>(),
            Err(LeaseDurationError::Unreadable(_))
        ));
    }

    #[test]
    fn a_replica_stops_before_its_lease_expires_and_an_unnoticed_outage_expires_none() {
        for duration in ["3s", "15s", "5m"].map(|text| text.parse::<LeaseDuration>().unwrap()) {
            assert!(duration.holds_for() < duration.whole());
            assert!(duration.renew_every() + duration.answer_within() < duration.holds_for());
            let oldest =
                duration.renew_every() + duration.inattentive_after() + duration.retry_after();
            assert!(oldest < duration.whole());
        }
    }
}
