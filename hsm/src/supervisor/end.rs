//! Why a worker is no more, as a type: what the token's state says next, and how long to wait.

use std::fmt;

use super::{TokenState, backoff::Cause};
use crate::protocol::{Ending, NoToken, TokenSelector};

/// Why a worker ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEnd {
    /// It was told to.
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
    /// Its own last words.
    Said(Ending),
    /// It ended without last words: a crash in the library, or a signal.
    Crashed {
        /// Its exit status; empty when it is no child of ours.
        status: String,
    },
    /// It hung, and its own watchdog did not end it: it was killed.
    Unresponsive,
    /// It speaks another protocol or another version.
    Incomprehensible {
        /// What was wrong.
        why: String,
    },
    /// It would not try the PIN because of the token's flags, and was ended when asked to look again: libraries
    /// remember flags, and a fresh process sees what a person has mended.
    LoginNotTried {
        /// Which flag.
        why: String,
    },
    /// The token failed around the login, in a way that does not tell whether the PIN counted.
    LoginUnclear {
        /// How.
        why: String,
    },
}

impl WorkerEnd {
    /// A name for metrics, one of [`Self::NAMES`].
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::NotStarted { .. } => "not-started",
            Self::Unreachable { .. } => "unreachable",
            Self::NoToken(_) => "no-token",
            Self::Said(Ending::Hung) => "hung",
            Self::Said(Ending::TokenLost(_)) => "token-lost",
            Self::Said(Ending::KeyVanished) => "key-vanished",
            Self::Said(Ending::Protocol { .. }) | Self::Incomprehensible { .. } => "protocol",
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

    /// Without last words; [`Self::with_status`] tells more.
    pub(super) fn crashed() -> Self {
        Self::Crashed {
            status: String::new(),
        }
    }

    /// Adds what only the process's end tells.
    pub(super) fn with_status(self, status: String) -> Self {
        if matches!(self, Self::Crashed { .. }) {
            Self::Crashed { status }
        } else {
            self
        }
    }

    /// How long to wait. `had_signed`: the worker had made a signature.
    pub(super) fn cause(&self, had_signed: bool) -> Cause {
        match self {
            Self::NoToken(
                NoToken::Initialize(_) | NoToken::Absent { .. } | NoToken::Sessions(_),
            )
            | Self::Unreachable { .. }
            | Self::LoginNotTried { .. } => Cause::Absent,
            // The token was there, logged in and whole: it went away, and is looked for from the start. One that
            // never signed since its login may be broken for good, and each restart costs it a login.
            Self::Said(Ending::TokenLost(_) | Ending::KeyVanished) if had_signed => Cause::Lost,
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

    /// What the token's state is until the next worker. `borne`: the token's absence is not told yet, for it may be back
    /// when the next worker looks; who asks for a signature waits for that.
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
            Self::Stopped => f.write_str("it was told to"),
            Self::NotStarted { why }
            | Self::Unreachable { why }
            | Self::Incomprehensible { why }
            | Self::LoginNotTried { why }
            | Self::LoginUnclear { why } => f.write_str(why),
            Self::NoToken(why) => why.fmt(f),
            Self::Said(ending) => ending.fmt(f),
            Self::Crashed { status } if status.is_empty() => {
                f.write_str("it ended without last words")
            }
            Self::Crashed { status } => write!(f, "it ended without last words: {status}"),
            Self::Unresponsive => f.write_str("it hung, and its own watchdog did not end it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::WorkerEnd;
    use crate::{
        protocol::{Ending, NoToken, TokenCode, TokenSelector},
        supervisor::backoff::Cause,
    };

    fn lost() -> WorkerEnd {
        WorkerEnd::Said(Ending::TokenLost(TokenCode {
            function: "C_Sign".into(),
            code: "CKR_TOKEN_NOT_PRESENT".into(),
        }))
    }

    #[test]
    fn a_token_that_signed_and_went_away_is_no_crash() {
        assert_eq!(lost().cause(true), Cause::Lost);
    }

    #[test]
    fn a_token_that_is_lost_after_every_login_slows_the_logins_down() {
        assert_eq!(lost().cause(false), Cause::Failure);
    }

    #[test]
    fn a_hang_slows_down_whatever_was_signed_before() {
        assert_eq!(WorkerEnd::Said(Ending::Hung).cause(true), Cause::Failure);
    }

    #[test]
    fn an_absent_token_is_awaited_and_a_wrong_module_is_to_be_mended() {
        let token = TokenSelector::Label("issuing".into());
        let absent = WorkerEnd::NoToken(NoToken::Absent { seen: Vec::new() });
        assert_eq!(absent.state(&token, true).name(), "restarting");
        assert_eq!(absent.state(&token, false).name(), "awaiting-token");
        let module = WorkerEnd::NoToken(NoToken::Module {
            why: "no such file".into(),
        });
        assert_eq!(module.state(&token, true).name(), "misconfigured");
    }
}
