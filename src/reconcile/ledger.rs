//! What this process has signed for a request, by UID, until the API server shows it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::Timestamp;

use super::issuers::ReadyIssuer;
use crate::issuance::IssuedCertificate;

/// A certificate and the snapshot of the issuer that signed it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate.
    pub certificate: Arc<IssuedCertificate>,
    /// Who signed.
    pub issuer: Arc<ReadyIssuer>,
    /// What the issuance record said before.
    pub announced: Arc<Announced>,
}

/// What the issuance record says of a certificate from before it is signed.
#[derive(Debug)]
pub struct Announced {
    /// The serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the TBSCertificate, hexadecimal.
    pub tbs_sha256: String,
    /// Last second of validity.
    pub not_after: Timestamp,
}

/// Keeps a request from being signed twice by one process: neither for a status write that failed, nor for a cache
/// that lags behind one that succeeded. Forgets everything with the process, which is why publishing has
/// preconditions besides.
#[derive(Debug, Default)]
pub struct Ledger {
    entries: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
enum Entry {
    Unpublished(Signed),
    Published,
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
        match self.lock().get(uid) {
            None => Found::Nothing,
            Some(Entry::Unpublished(signed)) => Found::Unpublished(signed.clone()),
            Some(Entry::Published) => Found::Published,
        }
    }

    /// A certificate was signed.
    pub fn signed(&self, uid: &str, signed: Signed) {
        self.lock()
            .insert(uid.to_owned(), Entry::Unpublished(signed));
    }

    /// It was written.
    pub fn published(&self, uid: &str) {
        self.lock().insert(uid.to_owned(), Entry::Published);
    }

    /// The cache shows the request finished, or it is gone. Returns a certificate that was never published.
    pub fn forget(&self, uid: &str) -> Option<Signed> {
        match self.lock().remove(uid) {
            Some(Entry::Unpublished(signed)) => Some(signed),
            Some(Entry::Published) | None => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
