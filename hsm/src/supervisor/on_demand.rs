//! Logins to a token that requires none, made only when a key is not found or does not sign without a login.

use std::sync::atomic::Ordering;

use tokio::time::Instant as TokioInstant;
use tracing::info;

use super::{
    end::WorkerEnd,
    run::{Supervision, Tried, answered_within, unanswered},
};
use crate::{
    client::{Connection, HsmError},
    protocol::TokenInfo,
};

impl Supervision {
    /// Logs in if an earlier worker was logged in, so that its keys can be used again. If the login is refused, the keys
    /// that need no login can still be used.
    pub(super) async fn log_in_as_before(
        &self,
        connection: &Connection,
        token: TokenInfo,
    ) -> Result<TokenInfo, WorkerEnd> {
        if self.on_demand.needed.load(Ordering::Relaxed) {
            drop(self.log_in_once(connection, &token).await?);
        }
        Ok(token)
    }

    /// Answers every caller that wants a login, until the connection ends or the supervisor is told to stop.
    pub(super) async fn answer_wanted_logins(&self, connection: &Connection, token: &TokenInfo) {
        let mut wanted = self.on_demand.wanted.lock().await;
        loop {
            let Ok(Some(caller)) = self.unless_over(connection, wanted.recv()).await else {
                return;
            };
            // The caller no longer waits.
            if caller.is_closed() {
                continue;
            }
            // An error means that the worker ends, which the watch of the connection reports. The caller's channel closes.
            if let Ok(answer) = self.log_in_once(connection, token).await {
                drop(caller.send(answer));
            }
        }
    }

    /// Logs in with one permit, unless the worker is logged in. Returns whether it is logged in now, or why the login was
    /// refused.
    async fn log_in_once(
        &self,
        connection: &Connection,
        token: &TokenInfo,
    ) -> Result<Result<bool, HsmError>, WorkerEnd> {
        if connection.is_logged_in() {
            return Ok(Ok(true));
        }
        if !self.gate.has_pin() {
            return Ok(Ok(false));
        }
        // The flags may have changed since the greeting.
        let deadline = TokioInstant::now() + answered_within(self.spec.hang_after);
        let now = match connection.describe(deadline).await {
            Ok(now) => now,
            Err(error) => return Err(unanswered(connection, error).await),
        };
        info!(
            token = self.spec.name,
            serial = token.serial,
            "the token requires no login; logging in, because some of its keys need one"
        );
        match self.ask_and_try(connection, &now).await {
            Ok(Tried::Accepted) => {
                self.on_demand.needed.store(true, Ordering::Relaxed);
                Ok(Ok(true))
            }
            // A token that serves without a login goes on serving after a login with an unknown outcome, which the gate
            // counts as rejected.
            Ok(Tried::Refused(why) | Tried::Not(why)) | Err(WorkerEnd::LoginUnclear { why }) => {
                Ok(Err(HsmError::LoginRefused { why }))
            }
            Err(end) => Err(end),
        }
    }
}
