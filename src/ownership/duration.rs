//! How long a Lease counts, and the times that follow from it.

use std::{str::FromStr, time::Duration};

use crate::duration::{DurationError, GoDuration};

const SHORTEST: u16 = 3;
const LONGEST: u16 = 300;

/// How long a Lease counts after its last renewal: whole seconds, as the API has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseDuration {
    seconds: u16,
}

/// Why a Lease cannot have this duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseDurationError {
    /// It is no duration at all.
    #[error(transparent)]
    Unreadable(#[from] DurationError),
    /// The API stores whole seconds; below three a busy API server would be a lost replica, and nobody wants to wait
    /// longer than five minutes for the share of a node that is gone.
    #[error("a lease duration is whole seconds from {SHORTEST}s to {LONGEST}s")]
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
    /// What a Lease says, if one of ours can say so.
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

    /// Two renewals may fail before the Lease is given up.
    pub(super) fn renew_every(self) -> Duration {
        self.whole() / 3
    }

    pub(super) fn retry_after(self) -> Duration {
        self.whole() / 12
    }

    /// How long one call of the API server may take.
    pub(super) fn answer_within(self) -> Duration {
        (self.whole() / 3).min(Duration::from_secs(10))
    }

    /// How long after a renewal was *sent* this replica goes on signing. The sixth that is left is for clocks of unequal
    /// speed, and for a signature that was asked for at the last moment.
    pub(super) fn holds_for(self) -> Duration {
        self.whole() - self.whole() / 6
    }

    /// Longer than this without a look at the Leases, and nobody can say who had the chance to renew. With the third of
    /// a duration that a Lease is old at most and the twelfth after which is tried again, an outage that is
    /// not noticed so leaves every replica time to renew.
    pub(super) fn inattentive_after(self) -> Duration {
        self.whole() / 2
    }

    /// How old an expired Lease becomes before anybody may delete it.
    pub(super) fn swept_after(self) -> Duration {
        self.whole() * 10
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_duration_is_whole_seconds_within_reason() {
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
    fn a_replica_stops_before_its_lease_expires_for_others_and_no_unnoticed_outage_expires_one() {
        for duration in ["3s", "15s", "5m"].map(|text| text.parse::<LeaseDuration>().unwrap()) {
            assert!(duration.holds_for() < duration.whole());
            assert!(duration.renew_every() + duration.answer_within() < duration.holds_for());
            let oldest =
                duration.renew_every() + duration.inattentive_after() + duration.retry_after();
            assert!(oldest < duration.whole());
        }
    }
}
