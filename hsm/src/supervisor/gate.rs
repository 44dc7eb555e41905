//! Who may log in: the owner of a token's PIN is asked before every `C_Login` and told afterwards.

use std::{future::Future, pin::Pin as Pinned};

use thiserror::Error;

use crate::protocol::{Pin, TokenInfo};

/// A future that a trait object can return.
pub type BoxFuture<'a, T> = Pinned<Box<dyn Future<Output = T> + Send + 'a>>;

/// Owner of a token's PIN.
///
/// A wrong PIN costs one of few tries, and tries are counted by the token for all its users. So the supervisor asks
/// for a permit before each `C_Login`, calls `C_Login` at most once per permit, and records the outcome before it
/// does anything else. When it cannot record because its process ends in between, the gate finds at the next
/// [`permit`](Self::permit) a permit that was never recorded, and must count it as tried.
pub trait LoginGate: Send + Sync + 'static {
    /// Asked with the token's flags as they are now. May wait as long as it wants; is dropped when the worker ends or
    /// the token is told to stop, and [`withdraw`](Self::withdraw) follows.
    fn permit<'a>(
        &'a self,
        token: &'a TokenInfo,
    ) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>>;

    /// Told that a permit which was asked for is not waited for any more, and that no login follows.
    fn withdraw<'a>(&'a self, token: &'a TokenInfo) -> BoxFuture<'a, ()>;

    /// Told once per permit that was given. `version` is the permit's.
    fn record<'a>(
        &'a self,
        token: &'a TokenInfo,
        version: &'a str,
        outcome: LoginOutcome,
    ) -> BoxFuture<'a, ()>;
}

/// One try.
#[derive(Debug)]
pub struct LoginPermit {
    /// The PIN to try.
    pub pin: Pin,
    /// Which version of the PIN this is; never derived from the PIN alone.
    pub version: String,
}

/// No try now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{why}")]
pub struct LoginRefused {
    /// What to do about it; shown in the token's state.
    pub why: String,
}

/// What became of a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginOutcome {
    /// Logged in.
    Accepted,
    /// The token evaluated the PIN and refused it.
    Rejected {
        /// And locked it.
        locked: bool,
    },
    /// The token was not asked; no try was spent.
    NotTried,
    /// The worker ended or the token failed in between: whether a try was spent is unknown.
    Unknown,
}
