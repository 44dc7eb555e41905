//! What a token's users and operators are told about it.

use std::fmt;

use crate::protocol::TokenInfo;

/// What is known about a token now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// The first worker starts.
    Starting,
    /// The module has not shown the token in several looks; asked again and again, no login tried.
    AwaitingToken {
        /// What it shows instead.
        why: String,
    },
    /// No login until [`Token::retry_login`](super::Token::retry_login).
    LoginRefused {
        /// By the gate or by the token.
        why: String,
    },
    /// Logged in.
    Ready {
        /// The token, as it described itself before the login.
        info: TokenInfo,
    },
    /// Module, worker program or token selection must be corrected; tried again every 30 s at most.
    Misconfigured {
        /// What does not work.
        why: String,
    },
    /// The worker ended, or found no token for the first time; another is about to start.
    Restarting {
        /// Why it ended.
        why: String,
    },
    /// [`Token::shutdown`](super::Token::shutdown) was called, or the last handle dropped.
    Stopped,
}

impl TokenState {
    /// The name of the state, for metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::AwaitingToken { .. } => "awaiting-token",
            Self::LoginRefused { .. } => "login-refused",
            Self::Ready { .. } => "ready",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Restarting { .. } => "restarting",
            Self::Stopped => "stopped",
        }
    }
}

impl fmt::Display for TokenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting | Self::Ready { .. } | Self::Stopped => f.write_str(self.name()),
            Self::AwaitingToken { why } => write!(f, "waiting for the token: {why}"),
            Self::LoginRefused { why } => write!(f, "no login: {why}"),
            Self::Misconfigured { why } => write!(f, "misconfigured: {why}"),
            Self::Restarting { why } => write!(f, "restarting the HSM worker: {why}"),
        }
    }
}
