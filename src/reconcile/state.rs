//! What the controller knows at this moment, as JSON for the engineer on call. Every list is bounded, and nothing in it is a
//! secret.

use std::time::Instant;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    Context,
    attend::{QueueOfKind, Queues},
    issuer::{IssuerState, issuer_states},
    listed::Listed,
};
use crate::{
    ownership::ReplicaState,
    signers::{TokenReport, limiter::LimitState},
    telemetry::{LastErrors, LoggedLine},
};

/// This process, as the state names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct About {
    /// Name of this replica.
    pub replica: String,
    /// Namespace of the installation.
    pub namespace: String,
    /// Class of the issuers that it answers.
    pub class: String,
    /// Version of the program.
    pub version: &'static str,
    /// Commit of the program.
    pub commit: &'static str,
    /// When it was started.
    pub started: Timestamp,
}

/// What the controller knows.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    time: Timestamp,
    process: About,
    /// Whether `/readyz` answers 200.
    ready: bool,
    /// Whether this replica's Lease holds.
    lease_held: bool,
    replicas: Listed<ReplicaState>,
    tokens: Listed<TokenReport>,
    issuers: Listed<IssuerState>,
    limits: Listed<LimitState>,
    queues: Vec<QueueOfKind>,
    events_waiting: usize,
    last_errors: Listed<LoggedLine>,
}

impl State {
    /// Reads everything. Waits at most a second for the queues.
    pub async fn read(
        context: &Context,
        queues: &Queues,
        process: About,
        ready: bool,
        errors: &LastErrors,
        time: Timestamp,
    ) -> Self {
        let queues = queues.states().await;
        let ownership = &context.ownership;
        let tokens = context.tokens.all().into_iter();
        Self {
            time,
            process,
            ready,
            lease_held: ownership.holds(),
            replicas: ownership.replicas().into_iter().collect(),
            tokens: tokens
                .map(|token| token.report(ownership.share(token.name())))
                .collect(),
            issuers: issuer_states(context).into_iter().collect(),
            limits: context.limiter.states(Instant::now()).into_iter().collect(),
            queues,
            events_waiting: context.events.waiting(),
            last_errors: errors.lines().into_iter().collect(),
        }
    }

    /// Returns the state as JSON.
    #[must_use]
    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_else(|error| error.to_string())
    }
}
