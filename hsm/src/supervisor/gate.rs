//! The login gate: the owner of a token's PIN permits every `C_Login` beforehand and records its outcome.

use std::{future::Future, pin::Pin as Pinned};

use thiserror::Error;

use crate::protocol::{Pin, TokenCode, TokenInfo};

/// Boxed future, which a trait object can return.
pub type BoxFuture<'a, T> = Pinned<Box<dyn Future<Output = T> + Send + 'a>>;

/// Owner of a token's PIN.
///
/// A wrong PIN costs one of few tries, and the token counts the tries of all its users together. So the supervisor asks
/// for a permit before each `C_Login`, calls `C_Login` at most once per permit, and records the outcome before it
/// does anything else. If its process ends before it can record, the next [`permit`](Self::permit) finds a permit
/// without an outcome; the gate must count that permit as tried.
pub trait LoginGate: Send + Sync + 'static {
    /// Returns whether there is a PIN. Without a PIN, a token that requires no login is used without a login.
    fn has_pin(&self) -> bool {
        true
    }

    /// Returns whether to log in to a token that requires it before anything else. Without a login such a token shows what
    /// everybody may see, and signs nothing.
    fn logs_in(&self) -> bool {
        true
    }

    /// Grants or refuses one try, given the token's present flags. May wait without a limit. When the worker ends or the
    /// token is told to stop, the future is dropped and [`withdraw`](Self::withdraw) follows.
    fn permit<'a>(
        &'a self,
        token: &'a TokenInfo,
    ) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>>;

    /// Withdraws a request for a permit: nobody waits for it any more, and no login follows.
    fn withdraw<'a>(&'a self, token: &'a TokenInfo) -> BoxFuture<'a, ()>;

    /// Takes note of the token's answer to a `C_Login`: the code with which it rejected the PIN, or `None` if it accepted it.
    /// Called at most once per permit, before [`record`](Self::record).
    fn answered(&self, _rejected: Option<&TokenCode>) {}

    /// Records the outcome of a permit; called once per permit. `version` is the permit's.
    fn record<'a>(
        &'a self,
        token: &'a TokenInfo,
        version: &'a str,
        outcome: LoginOutcome,
    ) -> BoxFuture<'a, ()>;
}

/// Permission for one `C_Login`.
#[derive(Debug)]
pub struct LoginPermit {
    /// The PIN to try.
    pub pin: Pin,
    /// Version of the PIN; never derived from the PIN alone.
    pub version: String,
}

/// Refusal of a permit.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct LoginRefused {
    /// What to do about it; shown in the token's state.
    pub why: String,
}

/// Outcome of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// Logged in.
    Accepted,
    /// The token evaluated the PIN and refused it.
    Rejected {
        /// The PIN is locked now.
        locked: bool,
    },
    /// The token was not asked; no try was spent.
    NotTried,
    /// The worker ended or the token failed during the login; it is unknown whether a try was spent.
    Unknown,
}

/// Gate that never permits a login.
#[derive(Clone, Copy, Debug)]
pub struct WithoutLogin;

impl LoginGate for WithoutLogin {
    fn has_pin(&self) -> bool {
        false
    }

    fn logs_in(&self) -> bool {
        false
    }

    fn permit<'a>(
        &'a self,
        _token: &'a TokenInfo,
    ) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>> {
        let why = "no login is to be made".to_owned();
        Box::pin(async { Err(LoginRefused { why }) })
    }

    fn withdraw<'a>(&'a self, _token: &'a TokenInfo) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }

    fn record<'a>(
        &'a self,
        _token: &'a TokenInfo,
        _version: &'a str,
        _outcome: LoginOutcome,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}
