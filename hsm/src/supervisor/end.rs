//! Reasons why a worker ended, with the token's next state and the back-off that follow from them.

use std::fmt;

use super::{TokenState, backoff::Cause};
use crate::protocol::{ExitReason, NoToken, TokenSelector};

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEnd {
    /// The supervisor was told to stop.
    Stopped,
    /// It could not be started.
    NotStarted {
        /// Why not.
        why: String,
    },
    /// The sidecar's socket could not be reached.
    Unreachable {
        /// Why not.
        why: String,
    },
    /// It found no token to serve. No login was tried.
    NoToken(NoToken),
    /// It sent the reason before it ended.
    Said(ExitReason),
    /// It ended without a reason: a crash in the library, or a signal.
    Crashed {
        /// Its exit status; empty for the worker of a sidecar.
        status: String,
    },
    /// It hung, its own watchdog did not end it, and it was killed.
    Unresponsive,
    /// It speaks another protocol or another version.
    Incomprehensible {
        /// What was wrong.
        why: String,
    },
    /// It did not try the PIN because of the token's flags, and was ended when the login was to be retried: libraries
    /// cache flags, and only a fresh process sees that a person has corrected them.
    LoginNotTried {
        /// Which flag.
        why: String,
    },
    /// The token failed around the login, and it is unknown whether the PIN was counted as wrong.
    LoginUnclear {
        /// The failure.
        why: String,
    },
}

impl WorkerEnd {
    /// Returns a name for metrics, one of [`Self::NAMES`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::NotStarted { .. } => "not-started",
            Self::Unreachable { .. } => "unreachable",
            Self::NoToken(_) => "no-token",
            Self::Said(ExitReason::Hung) => "hung",
            Self::Said(ExitReason::TokenLost(_)) => "token-lost",
            Self::Said(ExitReason::KeyVanished) => "key-vanished",
            Self::Said(ExitReason::Protocol { .. }) | Self::Incomprehensible { .. } => "protocol",
            Self::Crashed { .. } => "crashed",
            Self::Unresponsive => "unresponsive",
            Self::LoginNotTried { .. } => "login-not-tried",
            Self::LoginUnclear { .. } => "login-unclear",
        }
    }

    /// Every [`Self::name`].
    pub const NAMES: [&'static str; 12] = [
        "stopped",
        "not-started",
        "unreachable",
        "no-token",
        "hung",
        "token-lost",
        "key-vanished",
        "protocol",
        "crashed",
        "unresponsive",
        "login-not-tried",
        "login-unclear",
    ];

    /// Returns [`Self::Crashed`] with an empty status, for [`Self::with_status`] to complete.
    pub(super) fn crashed() -> Self {
        Self::Crashed {
            status: String::new(),
        }
    }

    /// Adds the exit status to [`Self::Crashed`]; leaves every other reason as it is.
    pub(super) fn with_status(self, status: String) -> Self {
        if matches!(self, Self::Crashed { .. }) {
            Self::Crashed { status }
        } else {
            self
        }
    }

    /// Returns the cause that selects the back-off. `had_signed`: the worker had made a signature.
    pub(super) fn cause(&self, had_signed: bool) -> Cause {
        match self {
            Self::NoToken(
                NoToken::Initialize(_) | NoToken::Absent { .. } | NoToken::Sessions(_),
            )
            | Self::Unreachable { .. }
            | Self::LoginNotTried { .. } => Cause::Absent,
            // The token had worked and then disappeared, so the back-off begins again. A token that has not signed
            // since its login may be broken for good, and each restart costs a login.
            Self::Said(ExitReason::TokenLost(_) | ExitReason::KeyVanished) if had_signed => {
                Cause::Lost
            }
            Self::Said(_)
            | Self::Stopped
            | Self::NotStarted { .. }
            | Self::NoToken(
                NoToken::Module { .. } | NoToken::Several { .. } | NoToken::Refused { .. },
            )
            | Self::Crashed { .. }
            | Self::Unresponsive
            | Self::Incomprehensible { .. }
            | Self::LoginUnclear { .. } => Cause::Failure,
        }
    }

    /// Returns the token's state until the next worker. `borne`: whether an absence of the token is not reported yet.
    /// Requests for a signature then wait for the next worker, which may find the token.
    pub(super) fn state(&self, token: &TokenSelector, borne: bool) -> TokenState {
        let why = match self {
            Self::NoToken(why @ (NoToken::Absent { .. } | NoToken::Several { .. })) => {
                format!("{token}: {why}")
            }
            Self::Stopped
            | Self::NotStarted { .. }
            | Self::Unreachable { .. }
            | Self::NoToken(_)
            | Self::Said(_)
            | Self::Crashed { .. }
            | Self::Unresponsive
            | Self::Incomprehensible { .. }
            | Self::LoginNotTried { .. }
            | Self::LoginUnclear { .. } => self.to_string(),
        };
        match self {
            Self::Stopped => TokenState::Stopped,
            Self::NoToken(
                NoToken::Initialize(_) | NoToken::Absent { .. } | NoToken::Sessions(_),
            )
            | Self::Unreachable { .. } => match borne {
                true => TokenState::Restarting { why },
                false => TokenState::AwaitingToken { why },
            },
            Self::NotStarted { .. }
            | Self::Incomprehensible { .. }
            | Self::NoToken(
                NoToken::Module { .. } | NoToken::Several { .. } | NoToken::Refused { .. },
            ) => TokenState::Misconfigured { why },
            Self::LoginNotTried { .. } => TokenState::LoginRefused { why },
            Self::Said(_)
            | Self::Crashed { .. }
            | Self::Unresponsive
            | Self::LoginUnclear { .. } => TokenState::Restarting { why },
        }
    }
}

impl fmt::Display for WorkerEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("it was told to stop"),
            Self::NotStarted { why }
            | Self::Unreachable { why }
            | Self::Incomprehensible { why }
            | Self::LoginNotTried { why }
            | Self::LoginUnclear { why } => f.write_str(why),
            Self::NoToken(why) => why.fmt(f),
            Self::Said(ending) => ending.fmt(f),
            Self::Crashed { status } if status.is_empty() => {
                f.write_str("it ended without giving a reason")
            }
            Self::Crashed { status } => write!(f, "it ended without giving a reason: {status}"),
            Self::Unresponsive => f.write_str("it hung, and its own watchdog did not end it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WorkerEnd;
    use crate::{
        protocol::{ExitReason, NoToken, TokenCode, TokenSelector},
        supervisor::backoff::Cause,
    };

    fn lost() -> WorkerEnd {
        WorkerEnd::Said(ExitReason::TokenLost(TokenCode {
            function: "C_Sign".into(),
            code: "CKR_TOKEN_NOT_PRESENT".into(),
        }))
    }

    #[test]
    fn a_token_that_signed_and_disappeared_does_not_count_as_a_crash() {
        assert_eq!(lost().cause(true), Cause::Lost);
    }

    #[test]
    fn a_token_that_is_lost_without_a_signature_counts_as_a_failure() {
        assert_eq!(lost().cause(false), Cause::Failure);
    }

    #[test]
    fn a_hang_counts_as_a_failure_even_after_a_signature() {
        assert_eq!(
            WorkerEnd::Said(ExitReason::Hung).cause(true),
            Cause::Failure
        );
    }

    #[test]
    fn an_absent_token_is_awaited_and_a_wrong_module_is_a_misconfiguration() {
        let token = TokenSelector::by_label("issuing");
        let absent = WorkerEnd::NoToken(NoToken::Absent { seen: Vec::new() });
        assert_eq!(absent.state(&token, true).name(), "restarting");
        assert_eq!(absent.state(&token, false).name(), "awaiting-token");
        let module = WorkerEnd::NoToken(NoToken::Module {
            why: "no such file".into(),
        });
        assert_eq!(module.state(&token, true).name(), "misconfigured");
    }
}
