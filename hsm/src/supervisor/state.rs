//! The state of a token, for its users and for operators.

use std::fmt;

use crate::protocol::TokenInfo;

/// State of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// The first worker is being started.
    Starting,
    /// Several searches in a row have not found the token. The search goes on; no login is tried.
    AwaitingToken {
        /// What the module shows instead.
        why: String,
    },
    /// No login is tried until [`Token::retry_login`](super::Token::retry_login).
    LoginRefused {
        /// The reason of the gate or of the token.
        why: String,
    },
    /// The worker is logged in.
    Ready {
        /// The token's description from before the login.
        info: TokenInfo,
    },
    /// The module, the worker program or the token selection must be corrected; retried after at most 30 s.
    Misconfigured {
        /// What does not work.
        why: String,
    },
    /// The worker ended, or one of the first searches found no token; another worker is about to start.
    Restarting {
        /// Why the worker ended.
        why: String,
    },
    /// [`Token::shutdown`](super::Token::shutdown) was called, or the last handle was dropped.
    Stopped,
}

impl TokenState {
    /// Every [`Self::name`].
    pub const NAMES: [&'static str; 7] = [
        "starting",
        "awaiting-token",
        "login-refused",
        "ready",
        "misconfigured",
        "restarting",
        "stopped",
    ];

    /// Returns the token's description of itself, if the worker is logged in.
    #[must_use]
    pub const fn info(&self) -> Option<&TokenInfo> {
        match self {
            Self::Ready { info } => Some(info),
            Self::Starting
            | Self::AwaitingToken { .. }
            | Self::LoginRefused { .. }
            | Self::Misconfigured { .. }
            | Self::Restarting { .. }
            | Self::Stopped => None,
        }
    }

    /// Returns the name of the state, for metrics and logs.
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
