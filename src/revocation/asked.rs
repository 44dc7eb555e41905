//! What can be asked of the entries of a shard, and how that ends. Pure.

use super::entry::Entry;
use crate::issuance::crl::SerialNumber;

/// What is asked of the entries.
#[derive(Clone, Debug)]
pub(super) enum AskedChange {
    /// To add an entry.
    Revoke(Entry),
    /// To remove a certificate that is on hold.
    Release(SerialNumber),
}

/// Result of [`Register::revoke`](super::Register::revoke).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The entry is stored. It replaced an entry that put the certificate on hold, if there was one.
    New,
    /// The certificate was revoked before, and this entry stays.
    Already(Entry),
}

/// Result of [`Register::release`](super::Register::release).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Released {
    /// The certificate is not on hold any more.
    Done,
    /// The certificate is revoked for good, so its entry stays.
    Final(Entry),
    /// The certificate is not revoked.
    NotRevoked,
}

/// Result of one [`AskedChange`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ChangeOutcome {
    Recorded(Recorded),
    Released(Released),
    /// The shard has as many entries as it may have.
    Full,
}
