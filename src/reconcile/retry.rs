//! Back-off with jitter for what will pass by itself.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::runtime::utils::Backoff;
use tokio::time::Instant;

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(60);
/// The API server, or a webhook behind it, is back some time, and what is signed waits for nothing else.
const LONGEST_FOR_A_WRITE: Duration = Duration::from_secs(4);
/// However many wait for the API server, it is asked no more than about a hundred times a second.
const PAUSE_BETWEEN_WRITES: Duration = Duration::from_millis(10);
const SWEEP_AT: usize = 4096;

/// Failures in a row per object, by UID.
///
/// Besides the requeue that a failure asks for, our own status write brings the object back at once; what is
/// written here keeps that from being a second try.
#[derive(Debug, Default)]
pub struct Retries {
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    in_a_row: u32,
    not_before: Instant,
}

impl Retries {
    /// Notes one more failure and tells how long to wait: from half a second, doubling to a minute, less up to half
    /// of it at random.
    pub fn after_failure(&self, uid: &str) -> Duration {
        self.after(uid, |_| LONGEST)
    }

    /// The same after a call of the API server, which is tried again every four seconds at least as long as not too
    /// many objects wait for it.
    pub fn after_failed_write(&self, uid: &str) -> Duration {
        self.after(uid, longest_for_a_write)
    }

    fn after(&self, uid: &str, longest: impl FnOnce(usize) -> Duration) -> Duration {
        let random = random();
        let now = Instant::now();
        let mut all = self.lock();
        if all.len() >= SWEEP_AT {
            // Objects that were deleted meanwhile never say so here.
            all.retain(|_, failures| failures.not_before + LONGEST > now);
        }
        let longest = longest(all.len());
        let failures = all.entry(uid.to_owned()).or_insert(Failures {
            in_a_row: 0,
            not_before: now,
        });
        failures.in_a_row = failures.in_a_row.saturating_add(1);
        let wait = delay(failures.in_a_row, random, longest);
        failures.not_before = now + wait;
        wait
    }

    /// How long the object has still to wait.
    #[must_use]
    pub fn remaining(&self, uid: &str) -> Option<Duration> {
        let not_before = self.lock().get(uid)?.not_before;
        not_before
            .checked_duration_since(Instant::now())
            .filter(|wait| !wait.is_zero())
    }

    /// The object need not wait any more.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For jitter. Without random octets it is missing, nothing else.
pub(super) fn random() -> u8 {
    let mut random = [0; 1];
    aws_lc_rs::rand::fill(&mut random).ok();
    let [random] = random;
    random
}

/// With so many objects that wait already.
fn longest_for_a_write(waiting: usize) -> Duration {
    let waiting = u32::try_from(waiting).unwrap_or(u32::MAX);
    PAUSE_BETWEEN_WRITES
        .saturating_mul(waiting)
        .clamp(LONGEST_FOR_A_WRITE, LONGEST)
}

/// How long a watch that was interrupted waits before it begins anew.
#[derive(Debug, Default)]
pub(super) struct WatchPause {
    interrupted: u32,
}

impl Iterator for WatchPause {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.interrupted = self.interrupted.saturating_add(1);
        Some(delay(self.interrupted, random(), LONGEST_FOR_A_WRITE))
    }
}

impl Backoff for WatchPause {
    fn reset(&mut self) {
        self.interrupted = 0;
    }
}

fn delay(in_a_row: u32, random: u8, longest: Duration) -> Duration {
    let doublings = in_a_row.saturating_sub(1).min(16);
    let full = FIRST.saturating_mul(1 << doublings).min(longest);
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
    fn a_write_is_tried_again_soon_unless_very_many_wait_for_the_api_server() {
        assert_eq!(longest_for_a_write(0), Duration::from_secs(4));
        assert_eq!(longest_for_a_write(400), Duration::from_secs(4));
        assert_eq!(longest_for_a_write(1000), Duration::from_secs(10));
        assert_eq!(longest_for_a_write(usize::MAX), LONGEST);
        let retries = Retries::default();
        for _ in 0..20 {
            assert!(retries.after_failed_write("u") <= Duration::from_secs(4));
        }
    }

    #[test]
    fn a_watch_that_was_interrupted_begins_anew_within_seconds() {
        let mut pause = WatchPause::default();
        assert!(pause.next().unwrap() <= FIRST);
        assert!((0..20).all(|_| pause.next().unwrap() <= Duration::from_secs(4)));
        pause.reset();
        assert!(pause.next().unwrap() <= FIRST);
    }

    #[test]
    fn an_object_waits_after_a_failure_until_it_is_forgotten() {
        let retries = Retries::default();
        assert_eq!(retries.remaining("u"), None);
        retries.after_failure("u");
        assert!(retries.remaining("u").is_some());
        retries.forget("u");
        assert_eq!(retries.remaining("u"), None);
    }
}
