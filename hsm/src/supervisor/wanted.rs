//! Logins that callers want from the supervisor.

use std::{sync::atomic::AtomicBool, time::Instant};

use tokio::{
    sync::{Mutex, mpsc, oneshot},
    time::timeout_at,
};

use super::TokenState;
use crate::client::HsmError;

/// A caller that waits for a login.
pub(super) type LoginCaller = oneshot::Sender<Result<bool, HsmError>>;

/// Logins that callers want, and whether one was accepted before.
#[derive(Debug)]
pub(super) struct OnDemand {
    pub(super) wanted: Mutex<mpsc::UnboundedReceiver<LoginCaller>>,
    /// Whether an earlier worker was logged in: keys that need the login may be in use.
    pub(super) needed: AtomicBool,
}

impl OnDemand {
    pub(super) fn new(wanted: mpsc::UnboundedReceiver<LoginCaller>) -> Self {
        Self {
            wanted: Mutex::new(wanted),
            needed: AtomicBool::new(false),
        }
    }
}

/// Asks the supervisor for a login, and waits for it until the deadline.
pub(super) async fn log_in(
    logins: &mpsc::UnboundedSender<LoginCaller>,
    deadline: Instant,
) -> Result<bool, HsmError> {
    let stopped = || HsmError::Unavailable {
        why: TokenState::Stopped.to_string(),
    };
    let (wanted, answer) = oneshot::channel();
    logins.send(wanted).map_err(|_| stopped())?;
    match timeout_at(deadline.into(), answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_dropped)) => Err(HsmError::Unavailable {
            why: "the HSM worker ended during the login".into(),
        }),
        Err(_elapsed) => Err(HsmError::TimedOut),
    }
}
