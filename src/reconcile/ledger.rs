//! What this process has signed for a request, by UID, until the API server shows it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::uid::Uid;
use crate::pipeline::Signed;

/// Keeps a request from being signed twice by one process: neither for a status write that failed, nor for a cache
/// that lags behind one that succeeded. Forgets everything with the process, which is why publishing has
/// preconditions besides.
#[derive(Debug, Default)]
pub struct Ledger {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<Uid, Entry>,
    /// With more than these, those are dropped whose time is over: a request that is deleted at once is never seen
    /// finished.
    most: usize,
}

/// Longer than any cache lags behind.
const REMEMBER_PUBLISHED: Duration = Duration::from_secs(600);

#[derive(Debug)]
enum Entry {
    /// In a box: the others are many, and stay longer.
    Unpublished(Box<Signed>),
    Published(Instant),
}

/// What the ledger knows of a request.
#[derive(Debug)]
pub enum Found {
    /// Nothing: it is to be signed.
    Nothing,
    /// Signed; the write is still due.
    Unpublished(Signed),
    /// Written; the cache does not show it yet.
    Published,
}

impl Ledger {
    /// Looks a request up.
    #[must_use]
    pub fn find(&self, uid: &str) -> Found {
        match self.lock().entries.get(&uid.into()) {
            None => Found::Nothing,
            Some(Entry::Unpublished(signed)) => Found::Unpublished(Signed::clone(signed)),
            Some(Entry::Published(_)) => Found::Published,
        }
    }

    /// Whether there is anything of the request in it.
    #[must_use]
    pub fn holds(&self, uid: &str) -> bool {
        self.lock().entries.contains_key(&uid.into())
    }

    /// Whether something was signed for the request and its write is still due.
    #[must_use]
    pub fn owes(&self, uid: &str) -> bool {
        matches!(
            self.lock().entries.get(&uid.into()),
            Some(Entry::Unpublished(_))
        )
    }

    /// Whether what was signed for the request was written.
    #[must_use]
    pub fn has_published(&self, uid: &str) -> bool {
        matches!(
            self.lock().entries.get(&uid.into()),
            Some(Entry::Published(_))
        )
    }

    /// A certificate was signed.
    pub fn signed(&self, uid: &str, signed: Signed) {
        self.lock()
            .entries
            .insert(uid.into(), Entry::Unpublished(Box::new(signed)));
    }

    /// It was written.
    pub fn published(&self, uid: &str) {
        self.published_at(uid, Instant::now());
    }

    /// The request is seen finished, or it is gone, and what was signed for it is named.
    pub fn forget(&self, uid: &str) {
        self.lock().entries.remove(&uid.into());
    }

    fn published_at(&self, uid: &str, now: Instant) {
        let mut inner = self.lock();
        inner.entries.insert(uid.into(), Entry::Published(now));
        if inner.entries.len() > inner.most {
            inner.sweep(now);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn sweep(&mut self, now: Instant) {
        self.entries.retain(|_, entry| match entry {
            Entry::Unpublished(_) => true,
            Entry::Published(at) => now.duration_since(*at) <= REMEMBER_PUBLISHED,
        });
        // So sweeping costs no more than writing did.
        self.most = 2 * self.entries.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_certificate_is_remembered_until_no_cache_can_lag_so_far() {
        let ledger = Ledger::default();
        let then = Instant::now();
        ledger.published_at("a", then);
        ledger.published_at("b", then + REMEMBER_PUBLISHED);
        assert!(matches!(ledger.find("a"), Found::Published));
        ledger.published_at("c", then + REMEMBER_PUBLISHED + Duration::from_secs(1));
        assert!(matches!(ledger.find("a"), Found::Nothing));
        assert!(matches!(ledger.find("b"), Found::Published));
    }
}
