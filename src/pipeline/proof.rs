//! Remembers when a signature of an issuer's key last verified under the issuer's certificate.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use jiff::Timestamp;

/// Time of the last signature that proved a key. Probes and certificates both count, after their signature is verified.
///
/// A proof belongs to one key on one run of one worker, and to one issuing certificate.
#[derive(Debug)]
pub struct Proof(Mutex<Moment>);

#[derive(Clone, Copy, Debug)]
struct Moment {
    /// The time of day, for messages.
    at: Timestamp,
    /// The monotonic time, for ages, because nobody can set this clock back.
    since: Instant,
}

impl Proof {
    /// Creates the proof of a signature that has just been verified.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Mutex::new(Moment::new(now)))
    }

    /// Notes that another signature has just been verified.
    pub fn renew(&self, now: Timestamp) {
        *self.0.lock() = Moment::new(now);
    }

    /// Returns when the last signature was verified.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.0.lock().at
    }

    /// Returns whether the last signature was verified less than `age` ago.
    #[must_use]
    pub fn is_younger_than(&self, age: Duration) -> bool {
        self.0.lock().since.elapsed() < age
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
    fn a_proof_is_as_old_as_the_last_verified_signature() {
        let then: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let later: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let proof = Proof::new(then);
        assert!(proof.is_younger_than(Duration::from_secs(60)));
        assert!(!proof.is_younger_than(Duration::ZERO));
        proof.renew(later);
        assert_eq!(proof.at(), later);
    }
}
