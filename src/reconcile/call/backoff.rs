//! Back-off with jitter, for failures that pass by themselves.

use std::{
    future,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;

const FIRST: Duration = Duration::from_millis(500);
/// The longest pause between two tries of anything.
pub(in crate::reconcile) const LONGEST: Duration = Duration::from_secs(60);
/// The longest pause between two tries of a status write, unless very many requests wait. It is short because a certificate
/// that is already signed waits only for the API server, or a webhook behind it, to come back.
const LONGEST_FOR_A_WRITE: Duration = Duration::from_secs(4);
/// Limits retries to about a hundred per second while up to 6000 requests wait for the API server.
const PAUSE_BETWEEN_WRITES: Duration = Duration::from_millis(10);

/// Returns a random octet for jitter. If the operating system has no random octets, the only effect is that there is no
/// jitter.
pub(in crate::reconcile) fn random() -> u8 {
    let mut random = [0; 1];
    aws_lc_rs::rand::fill(&mut random).ok();
    let [random] = random;
    random
}

/// Returns the longest pause after a failed call of the API server, while `waiting` objects already wait for a retry.
pub(in crate::reconcile) fn longest_for_a_write(waiting: usize) -> Duration {
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    PAUSE_BETWEEN_WRITES
        .saturating_mul(waiting)
        .clamp(LONGEST_FOR_A_WRITE, LONGEST)
}

/// Waits until `at`, or for ever if that is `None`.
pub(in crate::reconcile) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => future::pending().await,
    }
}

/// Pauses of an interrupted list or watch before it starts again.
///
/// An interruption passes by itself, so the pauses stay short. A missing right or kind stays missing until a person acts, so
/// the pauses grow with the time for which it has been missing: a quick repair is noticed soon.
#[derive(Debug)]
pub(in crate::reconcile) struct WatchPause {
    longest: Duration,
    interrupted: u32,
    refused_since: Option<Instant>,
}

impl WatchPause {
    /// Creates pauses of at most four seconds, or of at most a minute while a right or the kind is missing.
    pub(in crate::reconcile) const fn new() -> Self {
        Self::up_to(LONGEST)
    }

    /// Creates pauses of at most four seconds, even while a right or the kind is missing.
    pub(in crate::reconcile) const fn short() -> Self {
        Self::up_to(LONGEST_FOR_A_WRITE)
    }

    const fn up_to(longest: Duration) -> Self {
        Self {
            longest,
            interrupted: 0,
            refused_since: None,
        }
    }

    /// Returns the pause after a failure. `refused` tells whether a right or the kind is missing.
    pub(in crate::reconcile) fn after(&mut self, refused: bool, now: Instant) -> Duration {
        self.interrupted = self.interrupted.saturating_add(1);
        if !refused {
            self.refused_since = None;
            return delay(self.interrupted, random(), LONGEST_FOR_A_WRITE);
        }
        let since = *self.refused_since.get_or_insert(now);
        let quarter = now.saturating_duration_since(since) / 4;
        shortened(quarter.clamp(FIRST, self.longest), random())
    }

    /// Notes that the list or the watch works.
    pub(in crate::reconcile) const fn reset(&mut self) {
        self.interrupted = 0;
        self.refused_since = None;
    }
}

/// Returns the pause after `in_a_row` consecutive failures: half a second, doubled with each failure up to `longest`, then
/// shortened at random by up to half.
pub(in crate::reconcile) fn delay(in_a_row: u32, random: u8, longest: Duration) -> Duration {
    let doublings = in_a_row.saturating_sub(1).min(16);
    shortened(FIRST.saturating_mul(1 << doublings).min(longest), random)
}

/// Shortens a pause at random by up to half.
fn shortened(full: Duration, random: u8) -> Duration {
    full - full.mul_f64(f64::from(random) / 512.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delay_doubles_to_a_minute_and_jitter_takes_at_most_half() {
        let delay = |in_a_row, random| delay(in_a_row, random, LONGEST);
        assert_eq!(delay(1, 0), FIRST);
        assert_eq!(delay(2, 0), FIRST * 2);
        assert_eq!(delay(u32::MAX, 0), LONGEST);
        for failures in 1..40 {
            assert!(delay(failures, u8::MAX) > delay(failures, 0) / 2);
        }
    }

    #[test]
    fn a_failed_write_is_retried_within_seconds_unless_very_many_requests_wait() {
        assert_eq!(longest_for_a_write(0), Duration::from_secs(4));
        assert_eq!(longest_for_a_write(400), Duration::from_secs(4));
        assert_eq!(longest_for_a_write(1000), Duration::from_secs(10));
        assert_eq!(longest_for_a_write(usize::MAX), LONGEST);
    }

    #[test]
    fn an_interrupted_watch_starts_again_within_seconds() {
        let (mut pause, now) = (WatchPause::new(), Instant::now());
        assert!(pause.after(false, now) <= FIRST);
        assert!((0..20).all(|_| pause.after(false, now) <= Duration::from_secs(4)));
        pause.reset();
        assert!(pause.after(false, now) <= FIRST);
    }

    #[test]
    fn a_refused_watch_is_tried_again_after_a_quarter_of_its_outage_and_at_least_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pause = WatchPause::new();
        assert!(pause.after(true, at(0)) <= FIRST);
        for (seconds, longest) in [(1, 500), (16, 4000), (100, 25_000), (3600, 60_000)] {
            let pause = pause.after(true, at(seconds)).as_millis();
            assert!(pause <= longest && pause > longest / 2 - 1, "{pause}");
        }
        // The API server was unreachable for a moment.
        assert!(pause.after(false, at(3660)) <= Duration::from_secs(4));
        assert!(pause.after(true, at(3664)) <= FIRST);
        let mut short = WatchPause::short();
        assert!(short.after(true, at(0)) <= FIRST);
        assert!(short.after(true, at(3600)) <= Duration::from_secs(4));
    }
}
