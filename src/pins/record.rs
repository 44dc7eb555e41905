//! The PIN record: what happened to each version of a token's PIN, and whether another login may be tried.
//!
//! Pure. The record outlives the process, so that a controller that restarts, or several that start at once, use up no
//! more tries of a token's PIN counter than a single one would (docs/adr/0002-pin-and-its-record.md).

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
mod tests {
    use super::*;

    fn attempt(version: &str) -> LoginAttempt<'_> {
        LoginAttempt {
            version,
            holder: "a",
            holder_is_gone: false,
            count_low_is_reliable: false,
            max_rejected: 2,
        }
    }

    /// A record that lists its version as rejected if its state is `Rejected`, and no other version.
    fn record(version: &str, state: PinState, rejected_in_a_row: u32) -> PinRecord {
        let rejected = (state == PinState::Rejected).then(|| version.to_owned());
        PinRecord {
            version: version.to_owned(),
            state,
            rejected_in_a_row,
            rejected_versions: rejected.into_iter().collect(),
            holder: "a".to_owned(),
        }
    }

    fn tried(verdict: Verdict) -> PinRecord {
        match verdict {
            Verdict::Try(record) => record,
            Verdict::WaitFor(_) | Verdict::Refuse(_) => panic!("expected a try, got {verdict:?}"),
        }
    }

    #[test]
    fn a_token_without_a_record_is_tried() {
        let trying = tried(decide(None, PinFlags::default(), attempt("1")));
        assert_eq!(trying, record("1", PinState::Trying, 0));
    }

    #[test]
    fn an_accepted_version_is_tried_again_after_a_restart() {
        let known = record("1", PinState::Accepted, 0);
        assert_eq!(
            tried(decide(Some(&known), PinFlags::default(), attempt("1"))).rejected_in_a_row,
            0
        );
    }

    #[test]
    fn a_rejected_version_is_never_tried_again() {
        let known = record("1", PinState::Rejected, 1);
        let verdict = decide(Some(&known), PinFlags::default(), attempt("1"));
        assert_eq!(verdict, Verdict::Refuse(Refused::VersionRejected));
    }

    #[test]
    fn a_new_version_is_tried_after_one_rejection_and_refused_after_two() {
        let once = record("1", PinState::Rejected, 1);
        assert_eq!(
            tried(decide(Some(&once), PinFlags::default(), attempt("2"))).rejected_in_a_row,
            1
        );
        let twice = record("2", PinState::Rejected, 2);
        let verdict = decide(Some(&twice), PinFlags::default(), attempt("3"));
        assert_eq!(verdict, Verdict::Refuse(Refused::TooManyRejected(2)));
    }

    #[test]
    fn a_login_that_was_accepted_clears_the_count() {
        let trying = record("2", PinState::Trying, 1);
        assert_eq!(
            trying.clone().accepted(),
            record("2", PinState::Accepted, 0)
        );
        assert_eq!(trying.rejected(), record("2", PinState::Rejected, 2));
    }

    #[test]
    fn changing_back_to_a_rejected_pin_does_not_try_it_again() {
        let once = tried(decide(None, PinFlags::default(), attempt("wrong"))).rejected();
        let right = tried(decide(Some(&once), PinFlags::default(), attempt("right")));
        let well = right.accepted();
        assert_eq!(well.rejected_versions, ["wrong"]);
        assert_eq!(
            decide(Some(&well), PinFlags::default(), attempt("wrong")),
            Verdict::Refuse(Refused::VersionRejected)
        );
        let again = tried(decide(Some(&well), PinFlags::default(), attempt("right")));
        let expected = PinRecord {
            rejected_versions: vec!["wrong".to_owned()],
            ..record("right", PinState::Trying, 0)
        };
        assert_eq!(again, expected);
        // Neither a crash nor a login that was not tried makes the record forget.
        for state in [again.clone(), again.untried()] {
            assert_eq!(
                decide(Some(&state), PinFlags::default(), attempt("wrong")),
                Verdict::Refuse(Refused::VersionRejected)
            );
        }
    }

    #[test]
    fn a_record_keeps_the_latest_rejected_versions_each_once_up_to_a_limit() {
        let mut known = record("right", PinState::Accepted, 0);
        for number in 0..100 {
            for _ in 0..2 {
                let trying = PinRecord {
                    version: number.to_string(),
                    ..known.clone()
                };
                known = trying.rejected();
            }
        }
        let latest: Vec<_> = (100 - REJECTED_KEPT..100).map(|n| n.to_string()).collect();
        assert_eq!(known.rejected_versions, latest);
    }

    #[test]
    fn a_crash_between_login_and_record_counts_as_rejected_where_the_token_cannot_tell() {
        let crashed = record("1", PinState::Trying, 0);
        assert_eq!(
            tried(decide(Some(&crashed), PinFlags::default(), attempt("1"))).rejected_in_a_row,
            1
        );
        let crashed_again = record("1", PinState::Trying, 1);
        let verdict = decide(Some(&crashed_again), PinFlags::default(), attempt("1"));
        assert_eq!(verdict, Verdict::Refuse(Refused::TooManyRejected(2)));
    }

    #[test]
    fn a_crash_costs_nothing_if_a_reliable_token_shows_no_wrong_pin() {
        let counted = LoginAttempt {
            count_low_is_reliable: true,
            ..attempt("1")
        };
        let crashed = record("1", PinState::Trying, 1);
        assert_eq!(
            tried(decide(Some(&crashed), PinFlags::default(), counted)).rejected_in_a_row,
            1
        );
        let low = PinFlags {
            count_low: true,
            ..PinFlags::default()
        };
        assert_eq!(
            decide(Some(&crashed), low, counted),
            Verdict::Refuse(Refused::TooManyRejected(2))
        );
    }

    #[test]
    fn another_replica_that_is_trying_is_waited_for_until_it_is_gone() {
        let other = PinRecord {
            holder: "b".to_owned(),
            ..record("1", PinState::Trying, 0)
        };
        let verdict = decide(Some(&other), PinFlags::default(), attempt("1"));
        assert_eq!(verdict, Verdict::WaitFor("b".to_owned()));
        let gone = LoginAttempt {
            holder_is_gone: true,
            ..attempt("1")
        };
        assert_eq!(
            tried(decide(Some(&other), PinFlags::default(), gone)).holder,
            "a"
        );
    }

    #[test]
    fn a_locked_or_nearly_locked_token_is_never_tried() {
        let cases = [
            (
                PinFlags {
                    locked: true,
                    ..PinFlags::default()
                },
                Refused::Locked,
            ),
            (
                PinFlags {
                    final_try: true,
                    ..PinFlags::default()
                },
                Refused::FinalTry,
            ),
            (
                PinFlags {
                    to_be_changed: true,
                    ..PinFlags::default()
                },
                Refused::ToBeChanged,
            ),
        ];
        for (flags, why) in cases {
            assert_eq!(decide(None, flags, attempt("1")), Verdict::Refuse(why));
        }
    }
}
