//! The PIN record: what happened to each version of a token's PIN, and whether another login may be tried.
//!
//! Pure. The record outlives the process, so that a controller that restarts, or several that start at once, use up no
//! more tries of a token's PIN counter than a single one would (docs/adr/0002-pin-and-its-record.md).

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use hsm::PinFlags;
use serde::{Deserialize, Serialize};

/// How many rejected versions a record remembers. Beyond that the oldest is forgotten; the token has then rejected this
/// many others since.
const REJECTED_KEPT: usize = 32;

/// PIN record of one token. [`PinStates::version_of`] derives the version of a PIN from its octets: the same PIN always
/// has the same version, wherever it is kept and however often it is written.
///
/// [`PinStates::version_of`]: super::store::PinStates::version_of
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PinRecord {
    /// The version of the PIN that was tried last.
    pub version: String,
    /// Outcome of that try.
    pub state: PinState,
    /// Rejected logins since the last accepted one, whatever the version.
    pub rejected_in_a_row: u32,
    /// The versions that the token has rejected, the latest last. An accepted login with another version clears none.
    pub rejected_versions: Vec<String>,
    /// The replica that wrote this.
    pub holder: String,
    /// Hash of the other records that this one continues; see [`continued`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continues: Option<String>,
}

/// Outcome of the last try of a PIN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PinState {
    /// Written before `C_Login`; stays if the holder dies before it records the outcome.
    Trying,
    /// The token accepted the PIN.
    Accepted,
    /// The token rejected the PIN.
    Rejected,
    /// `C_Login` was not called, or the token did not evaluate the PIN.
    Untried,
}

/// A login that a replica wants to try, and what it knows of the token and of the record's holder.
#[derive(Clone, Copy, Debug)]
pub struct LoginAttempt<'a> {
    /// The version of the PIN to try.
    pub version: &'a str,
    /// The replica that wants to log in.
    pub holder: &'a str,
    /// Whether the holder of the record is known to be gone.
    pub holder_is_gone: bool,
    /// Whether the token is known to set `CKF_USER_PIN_COUNT_LOW` after the first wrong PIN.
    pub count_low_is_reliable: bool,
    /// Limit of rejected logins in a row.
    pub max_rejected: u32,
}

/// Decision whether `C_Login` may be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Write this record first; log in only if the write succeeded.
    Try(PinRecord),
    /// Another replica is trying: ask again later.
    WaitFor(String),
    /// No login until somebody acts.
    Refuse(Refused),
}

/// Why no login is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token has locked the PIN.
    #[error(
        "the token says that its user PIN is locked; unlock it as the security officer, then clear the PIN record"
    )]
    Locked,
    /// One more wrong PIN would lock the token.
    #[error(
        "the token says that one try is left before its user PIN locks; log in once by hand with the right PIN, then clear the PIN record"
    )]
    FinalTry,
    /// The PIN must be changed before use.
    #[error(
        "the token says that its user PIN must be changed; change it, then update the configured PIN"
    )]
    ToBeChanged,
    /// This version was rejected, now or earlier.
    #[error(
        "the token rejected this PIN; provide the right one, or clear the PIN record if this one is now right"
    )]
    VersionRejected,
    /// Too many logins in a row were rejected.
    #[error(
        "{0} logins in a row were rejected; check the PIN and the token, then clear the PIN record"
    )]
    TooManyRejected(u32),
}

/// Returns the record of a token: the one under its own key, joined with the `others` that count for it, which an earlier
/// version wrote or which have an earlier name. The others count once, and again if somebody changes them, such as a replica
/// of an earlier version during an upgrade.
///
/// Rejected versions are joined, and the larger number of rejected logins counts. So neither an upgrade nor a new name buys
/// a new try.
#[must_use]
pub fn continued(
    own: Option<PinRecord>,
    others: &BTreeMap<String, PinRecord>,
) -> Option<PinRecord> {
    let seen = hash(others);
    if own.as_ref().is_some_and(|own| own.continues == seen) {
        return own;
    }
    let mut rest: Vec<&PinRecord> = others.values().collect();
    let base = match own {
        Some(own) => own,
        None if rest.is_empty() => return None,
        None => {
            // Another replica may be in the middle of a login; the base must show it, so that `decide` waits for it.
            let trying = |record: &&PinRecord| record.state == PinState::Trying;
            let place = rest.iter().position(trying).unwrap_or_default();
            rest.swap_remove(place).clone()
        }
    };
    let joined = rest.into_iter().fold(base, PinRecord::joined);
    Some(PinRecord {
        continues: seen,
        ..joined
    })
}

/// Returns the hash of the records; `None` if there are none.
fn hash(records: &BTreeMap<String, PinRecord>) -> Option<String> {
    if records.is_empty() {
        return None;
    }
    let mut told = Vec::new();
    for (key, record) in records {
        let PinRecord {
            version,
            state,
            rejected_in_a_row,
            rejected_versions,
            holder,
            continues,
        } = record;
        let record = format!(
            "{key:?} {version:?} {state:?} {rejected_in_a_row} {rejected_versions:?} {holder:?} {continues:?}\n"
        );
        told.extend(record.into_bytes());
    }
    Some(hex::encode(digest(&SHA256, &told)))
}

/// Decides whether a PIN may be tried, by the record and by the token's own flags (`CK_TOKEN_INFO.flags`).
#[must_use]
pub fn decide(record: Option<&PinRecord>, flags: PinFlags, attempt: LoginAttempt<'_>) -> Verdict {
    if flags.locked {
        return Verdict::Refuse(Refused::Locked);
    }
    if flags.final_try {
        return Verdict::Refuse(Refused::FinalTry);
    }
    if flags.to_be_changed {
        return Verdict::Refuse(Refused::ToBeChanged);
    }
    let rejected_in_a_row = match record {
        None => 0,
        Some(record) => match record.state {
            PinState::Trying if record.holder != attempt.holder && !attempt.holder_is_gone => {
                return Verdict::WaitFor(record.holder.clone());
            }
            PinState::Trying if attempt.count_low_is_reliable && !flags.count_low => {
                record.rejected_in_a_row
            }
            // The outcome of that login is unknown: it counts as rejected, although its version is not known to be
            // wrong.
            PinState::Trying => record.rejected_in_a_row.saturating_add(1),
            PinState::Accepted | PinState::Rejected | PinState::Untried => record.rejected_in_a_row,
        },
    };
    if rejected_in_a_row >= attempt.max_rejected {
        return Verdict::Refuse(Refused::TooManyRejected(rejected_in_a_row));
    }
    let rejected_versions = record.map_or_else(Vec::new, |record| record.rejected_versions.clone());
    if rejected_versions
        .iter()
        .any(|version| version == attempt.version)
    {
        return Verdict::Refuse(Refused::VersionRejected);
    }
    Verdict::Try(PinRecord {
        version: attempt.version.to_owned(),
        state: PinState::Trying,
        rejected_in_a_row,
        rejected_versions,
        holder: attempt.holder.to_owned(),
        continues: record.and_then(|record| record.continues.clone()),
    })
}

impl PinRecord {
    /// Returns the record after the token accepted the PIN.
    #[must_use]
    pub fn accepted(self) -> Self {
        Self {
            state: PinState::Accepted,
            rejected_in_a_row: 0,
            ..self
        }
    }

    /// Adds the rejections of another record. A try without an outcome counts as rejected.
    fn joined(mut self, other: &Self) -> Self {
        let unsettled = u32::from(other.state == PinState::Trying);
        let in_a_row = other.rejected_in_a_row.saturating_add(unsettled);
        let mut versions = other.rejected_versions.clone();
        versions.retain(|version| !self.rejected_versions.contains(version));
        versions.append(&mut self.rejected_versions);
        let forgotten = versions.len().saturating_sub(REJECTED_KEPT);
        versions.drain(..forgotten);
        Self {
            rejected_in_a_row: self.rejected_in_a_row.max(in_a_row),
            rejected_versions: versions,
            ..self
        }
    }

    /// Returns the record after a permit that cost no try.
    #[must_use]
    pub fn untried(self) -> Self {
        Self {
            state: PinState::Untried,
            ..self
        }
    }

    /// Returns the record after the token rejected the PIN.
    #[must_use]
    pub fn rejected(mut self) -> Self {
        self.rejected_versions
            .retain(|version| *version != self.version);
        self.rejected_versions.push(self.version.clone());
        let forgotten = self.rejected_versions.len().saturating_sub(REJECTED_KEPT);
        self.rejected_versions.drain(..forgotten);
        Self {
            state: PinState::Rejected,
            rejected_in_a_row: self.rejected_in_a_row.saturating_add(1),
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
