//! How long to wait before the next worker.

use std::time::Duration;

/// Why the last worker ended, as far as waiting is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The token was absent and no login was tried: starting again costs nothing.
    Absent,
    /// The token signed and then went away: it is looked for as from the start.
    Lost,
    /// Everything else.
    Failure,
}

const FIRST: Duration = Duration::from_millis(100);
const ABSENT_MOST: Duration = Duration::from_secs(1);
const FAILURE_MOST: Duration = Duration::from_secs(30);
/// Absences in a row that nobody is told of: the look that tells comes after 0.5 to 0.7 s, and what the looks take.
/// Another process that logs in at this moment is enough for one (SoftHSM writes its token at each login, and whoever
/// reads half of it sees no token).
const BORNE: u32 = 3;
/// A worker that lived so long is not in a crash loop.
const LIVED: Duration = Duration::from_secs(60);

/// Doubles per cause, up to the cause's limit.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    absences: u32,
    failures: u32,
}

impl Backoff {
    /// Whether one more absence of the token may still pass unseen.
    pub(super) const fn bears_an_absence(&self) -> bool {
        self.absences < BORNE
    }

    /// The pause after a worker that lived for `lived`. `jitter`, from 0 to 1, takes away up to a quarter, so that
    /// replicas do not start in step.
    pub(super) fn pause(&mut self, cause: Cause, lived: Duration, jitter: f64) -> Duration {
        let whole = match cause {
            Cause::Absent => {
                self.absences = self.absences.saturating_add(1);
                doubled(self.absences, ABSENT_MOST)
            }
            Cause::Lost => {
                self.absences = 1;
                FIRST
            }
            Cause::Failure if lived >= LIVED => {
                *self = Self::default();
                Duration::ZERO
            }
            Cause::Failure => {
                self.absences = 0;
                self.failures = self.failures.saturating_add(1);
                doubled(self.failures, FAILURE_MOST)
            }
        };
        whole.mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 4.0)
    }
}

fn doubled(nth: u32, most: Duration) -> Duration {
    FIRST
        .saturating_mul(2_u32.saturating_pow(nth.saturating_sub(1)))
        .min(most)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Cause, FIRST};

    const SHORT: Duration = Duration::from_secs(1);

    fn pauses(cause: Cause, lived: Duration) -> Vec<u128> {
        let mut backoff = Backoff::default();
        (0..11)
            .map(|_| backoff.pause(cause, lived, 0.0).as_millis())
            .collect()
    }

    #[test]
    fn an_absent_token_is_looked_for_at_least_once_a_second() {
        assert_eq!(
            pauses(Cause::Absent, SHORT),
            [100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000, 1000, 1000]
        );
    }

    #[test]
    fn the_first_absences_in_a_row_are_borne() {
        let mut backoff = Backoff::default();
        let borne: Vec<bool> = (0..5)
            .map(|_| {
                let borne = backoff.bears_an_absence();
                backoff.pause(Cause::Absent, SHORT, 0.0);
                borne
            })
            .collect();
        assert_eq!(borne, [true, true, true, false, false]);
    }

    #[test]
    fn a_token_that_comes_and_goes_is_looked_for_as_quickly_each_time() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert_eq!(backoff.pause(Cause::Lost, SHORT, 0.0), FIRST);
            for pause in [200, 400, 800, 1000] {
                let pause = Duration::from_millis(pause);
                assert_eq!(backoff.pause(Cause::Absent, SHORT, 0.0), pause);
            }
        }
    }

    #[test]
    fn a_crash_loop_slows_down_to_one_start_in_thirty_seconds() {
        let expected = [
            100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000,
        ];
        assert_eq!(pauses(Cause::Failure, SHORT), expected);
    }

    #[test]
    fn a_worker_that_lived_a_minute_is_replaced_at_once_and_forgives_the_past() {
        let mut backoff = Backoff::default();
        for _ in 0..5 {
            backoff.pause(Cause::Failure, SHORT, 0.0);
        }
        assert_eq!(
            backoff.pause(Cause::Failure, Duration::from_secs(60), 0.0),
            Duration::ZERO
        );
        assert_eq!(
            backoff.pause(Cause::Failure, SHORT, 0.0),
            Duration::from_millis(100)
        );
    }

    #[test]
    fn jitter_takes_away_at_most_a_quarter() {
        assert_eq!(
            Backoff::default().pause(Cause::Absent, SHORT, 1.0),
            Duration::from_millis(75)
        );
    }
}
