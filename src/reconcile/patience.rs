//! How long requests have waited since they were first tried, where their issuer has an end to that.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Requests that are remembered; beyond that the oldest are forgotten, and begin anew.
const REMEMBERED: usize = 16_384;

/// When each request was first tried, by UID. Only those whose issuer has `spec.maxPending` are kept.
#[derive(Debug, Default)]
pub struct Patience {
    first: Mutex<HashMap<String, Instant>>,
}

impl Patience {
    /// The request is tried; the first time counts.
    pub fn tried(&self, uid: &str) {
        self.tried_at(uid, Instant::now());
    }

    /// How long ago it was first tried, if it was.
    #[must_use]
    pub fn waited(&self, uid: &str) -> Option<Duration> {
        self.lock().get(uid).map(Instant::elapsed)
    }

    /// It need not be tried any more.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    fn tried_at(&self, uid: &str, now: Instant) {
        let mut first = self.lock();
        if first.len() >= REMEMBERED && !first.contains_key(uid) {
            // Requests that were deleted meanwhile never say so here.
            let mut times: Vec<_> = first.values().copied().collect();
            times.sort_unstable();
            let middle = times.get(times.len() / 2).copied();
            first.retain(|_, at| middle.is_none_or(|middle| *at > middle));
        }
        first.entry(uid.to_owned()).or_insert(now);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.first.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_try_counts_until_the_request_is_forgotten() {
        let patience = Patience::default();
        assert_eq!(patience.waited("a"), None);
        let then = Instant::now()
            .checked_sub(Duration::from_millis(5))
            .unwrap();
        patience.tried_at("a", then);
        patience.tried("a");
        assert!(patience.waited("a").unwrap() >= Duration::from_millis(5));
        patience.forget("a");
        assert_eq!(patience.waited("a"), None);
    }

    #[test]
    fn the_oldest_are_forgotten_beyond_the_bound() {
        let patience = Patience::default();
        let start = Instant::now();
        for number in 0..u32::try_from(REMEMBERED).unwrap() + 1 {
            patience.tried_at(
                &number.to_string(),
                start + Duration::from_nanos(number.into()),
            );
        }
        assert!(patience.lock().len() <= REMEMBERED);
        assert_eq!(patience.waited("0"), None);
        assert!(patience.lock().contains_key(&REMEMBERED.to_string()));
    }
}
