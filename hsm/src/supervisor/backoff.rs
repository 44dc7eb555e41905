//! Pauses before the next worker is started.

use std::time::Duration;

/// Why the last worker ended, as far as the back-off is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The token was absent and no login was tried, so another start costs nothing.
    Absent,
    /// The token signed and then disappeared: the back-off begins again at its shortest pause.
    Lost,
    /// Everything else.
    Failure,
}

const FIRST: Duration = Duration::from_millis(100);
const ABSENT_MOST: Duration = Duration::from_secs(1);
const FAILURE_MOST: Duration = Duration::from_secs(30);
/// Absences in a row that are not reported. The loss of a token that had signed counts as the first. Otherwise the
/// fourth search for the token is the first one whose result is reported: it comes after pauses of 0.5 to 0.7 s plus
/// the duration of the searches. A login of another process at this moment can cause one absence: SoftHSM writes its
/// token at each login, and a process that reads the half-written file sees no token.
const UNREPORTED_ABSENCES: u32 = 3;
/// A worker that lived this long is not in a crash loop.
const STABLE_AFTER: Duration = Duration::from_secs(60);

/// State of the back-off: pauses double per cause, up to the cause's limit.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    absences: u32,
    failures: u32,
}

impl Backoff {
    /// Returns whether one more absence of the token is not reported yet.
    pub(super) const fn bears_an_absence(&self) -> bool {
        self.absences < UNREPORTED_ABSENCES
    }

    /// Returns the pause after a worker that lived for `lived`. `jitter`, from 0 to 1, shortens it by up to a quarter,
    /// so that replicas do not start in step.
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
            Cause::Failure if lived >= STABLE_AFTER => {
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
    fn the_first_three_absences_in_a_row_are_not_reported() {
        let mut backoff = Backoff::default();
        let unreported: Vec<bool> = (0..5)
            .map(|_| {
                let unreported = backoff.bears_an_absence();
                backoff.pause(Cause::Absent, SHORT, 0.0);
                unreported
            })
            .collect();
        assert_eq!(unreported, [true, true, true, false, false]);
    }

    #[test]
    fn each_loss_of_a_token_restarts_the_backoff_at_its_shortest_pause() {
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
    fn a_worker_that_lived_a_minute_is_replaced_at_once_and_resets_the_backoff() {
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
