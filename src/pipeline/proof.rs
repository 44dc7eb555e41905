//! When a signature of an issuer's key last verified under its certificate.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;

/// The last signature that proved the key: a probe's or a certificate's, for both are verified before they count.
///
/// It belongs to one key on one run of one worker, and to one issuing certificate.
#[derive(Debug)]
pub struct Proof(Mutex<Moment>);

#[derive(Clone, Copy, Debug)]
struct Moment {
    /// For people.
    at: Timestamp,
    /// For us: no clock is set back under it.
    since: Instant,
}

impl Proof {
    /// A signature has just verified.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Moment::new(now)))
    }

    /// Another one has.
    pub fn renew(&self, now: Timestamp) {
        *self.lock() = Moment::new(now);
    }

    /// When that was.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.lock().at
    }

    /// Whether it was less than this long ago.
    #[must_use]
    pub fn is_younger_than(&self, age: Duration) -> bool {
        self.lock().since.elapsed() < age
    }

    fn lock(&self) -> MutexGuard<'_, Moment> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moment {
    fn new(at: Timestamp) -> Self {
        Self {
            at,
            since: Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_as_old_as_the_last_signature_that_verified() {
        let then: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let proof = Proof::new(then);
        assert!(proof.is_younger_than(Duration::from_secs(60)));
        assert!(!proof.is_younger_than(Duration::ZERO));
        proof.renew(later);
        assert_eq!(proof.at(), later);
    }
}
