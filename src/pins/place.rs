//! Where the record of one token is kept, and which other records count for it. Pure, except for [`ReportedIdentities`].
//!
//! The identity of a token is what it reports of itself: manufacturer, model, serial number and label. Module, path, slot
//! and configured name are not part of it, so that changing any of them buys no new try of a PIN.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use hsm::TokenInfo;
use parking_lot::Mutex;

/// Prefix of the keys of records.
pub(super) const PREFIX: &str = "token.";
/// Octets of the hash in a key.
const HASH_OCTETS: usize = 16;

/// Keys of the records that count for one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordKeys {
    own: String,
    /// The key made only of what the token reports.
    plain: String,
    /// The serial number, by which earlier versions kept the record.
    serial: String,
    /// Names of the other configured tokens that report the same. Each has its own record.
    others: BTreeSet<String>,
}

impl RecordKeys {
    /// Returns the place of a token that reports this.
    #[must_use]
    pub fn of(token: &TokenInfo) -> Self {
        let plain = key(token);
        Self {
            own: plain.clone(),
            plain,
            serial: token.serial.clone(),
            others: BTreeSet::new(),
        }
    }

    /// Returns the place of the token with this configured name, beside others that report the same.
    fn beside(self, name: &str, others: BTreeSet<String>) -> Self {
        if others.is_empty() {
            return self;
        }
        Self {
            own: format!("{}.{name}", self.plain),
            others,
            ..self
        }
    }

    /// Returns the key under which the record is written.
    pub(super) fn own(&self) -> &str {
        &self.own
    }

    /// Returns the serial number.
    pub(super) fn serial(&self) -> &str {
        &self.serial
    }

    /// Returns whether the record under this key counts for the token besides its own record. Those of earlier versions do,
    /// under `by_serial`, and so do those without a name or with a name that is not in `others`.
    pub(super) fn relates(&self, key: &str, by_serial: &str) -> bool {
        let named = key
            .strip_prefix(self.plain.as_str())
            .and_then(|rest| rest.strip_prefix('.'));
        key != self.own
            && (key == by_serial
                || key == self.plain
                || named.is_some_and(|name| !self.others.contains(name)))
    }
}

/// Returns the key for what a token reports. It shows people the serial number, as far as the keys of a Secret
/// (`[-._a-zA-Z0-9]+`) allow; its hash tells tokens apart.
fn key(token: &TokenInfo) -> String {
    let TokenInfo {
        label,
        serial,
        manufacturer,
        model,
        firmware: _,
        slot: _,
        login_required: _,
        pin: _,
        max_sessions: _,
    } = token;
    let mut told = Vec::new();
    for part in [manufacturer, model, serial, label] {
        told.extend(part.len().to_be_bytes());
        told.extend(part.as_bytes());
    }
    let hash = digest(&SHA256, &told);
    let hash = hex::encode(hash.as_ref().get(..HASH_OCTETS).unwrap_or_default());
    let shown: String = serial
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{PREFIX}{shown}.{hash}")
}

/// What the configured tokens of this process report of themselves.
#[derive(Debug, Default)]
pub struct ReportedIdentities(Mutex<BTreeMap<String, String>>);

impl ReportedIdentities {
    /// Notes what the token with this name reports, and returns the place of its record.
    pub(super) fn place(&self, name: &str, token: &TokenInfo) -> RecordKeys {
        let place = RecordKeys::of(token);
        let mut reported = self.0.lock();
        reported.insert(name.to_owned(), place.plain.clone());
        let same = reported
            .iter()
            .filter(|(other, plain)| *other != name && **plain == place.plain);
        let others = same.map(|(other, _)| other.clone()).collect();
        drop(reported);
        place.beside(name, others)
    }

    /// Forgets a token that is no longer configured.
    pub fn forget(&self, name: &str) {
        self.0.lock().remove(name);
    }
}

#[cfg(test)]
pub(super) mod tests;
