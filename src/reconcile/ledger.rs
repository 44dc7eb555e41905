//! What this process has signed for a request, by UID, until the API server shows it.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

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

/// A UID. Those of the API server are UUIDs in lower case, which take a third of the memory of their text.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Uid {
    Uuid([u8; 16]),
    Other(Box<str>),
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

impl From<&str> for Uid {
    fn from(text: &str) -> Self {
        uuid(text).map_or_else(|| Self::Other(text.into()), Self::Uuid)
    }
}

/// RFC 9562, section 4, in lower case alone, so that no two texts are one UUID.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let lengths = text.split('-').map(str::len);
    if !lengths.eq([8, 4, 4, 4, 12]) || text.bytes().any(|octet| octet.is_ascii_uppercase()) {
        return None;
    }
    let mut uuid = [0; 16];
    hex::decode_to_slice(text.replace('-', ""), &mut uuid).ok()?;
    Some(uuid)
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

    #[test]
    fn no_two_texts_are_one_uid() {
        let text = "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8a90";
        assert!(matches!(Uid::from(text), Uid::Uuid(_)));
        for other in [
            "0E9E3D8A-5F0C-4B63-9A0E-2F6D1C7B8A90",
            "0e9e3d8a5f0c-4b63-9a0e-2f6d1c7b8a90",
            "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8a90-",
            "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8a9g",
            "0e9e3d8a-5f0c-4b63-9a0e-2f6d1c7b8aé",
            "",
        ] {
            assert_eq!(Uid::from(other), Uid::Other(other.into()));
        }
    }
}
