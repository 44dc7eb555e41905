//! The log lines about one token and its workers.

use std::time::{Duration, Instant};

use tokio::net::unix::pipe::Receiver;
use tracing::{debug, error, info, warn};

use super::{
    Launch, TokenSpec, TokenState, WorkerEnd,
    repeats::{Mention, Repeats},
};
use crate::WorkerLines;

/// Writes the log lines about one token. Workers that end one after the other for the same reason are summarised.
#[derive(Debug)]
pub(super) struct Journal<'a> {
    token: &'a str,
    module: &'a Launch,
    repeats: Repeats,
}

impl<'a> Journal<'a> {
    /// Returns the journal of a token without any worker so far.
    pub(super) fn new(spec: &'a TokenSpec) -> Self {
        Self {
            token: &spec.name,
            module: &spec.launch,
            repeats: Repeats::default(),
        }
    }

    /// Logs the start of a worker, unless it is a further try after an end.
    pub(super) fn started(&self, worker: &str) {
        if !self.repeats.are_expected() {
            info!(token = self.token, worker, "started the HSM worker");
        }
    }

    /// Notes that a worker serves the token, and logs it after an end.
    pub(super) fn served(&mut self, worker: &str) {
        if self.repeats.are_expected() {
            info!(
                token = self.token,
                worker, "the HSM worker serves the token"
            );
        }
        self.repeats.served();
    }

    /// Logs the end of a worker.
    pub(super) fn ended(&mut self, end: &WorkerEnd, worker: &str, status: &str) {
        let token = self.token;
        match self.mention(end) {
            Mention::InFull => info!(token, worker, status, why = %end, "the HSM worker ended"),
            Mention::Summary { ends, lasting } => self.summarise(end, ends, lasting),
            Mention::None => debug!(token, worker, status, why = %end, "the HSM worker ended"),
        }
    }

    /// Logs that no worker could be started.
    pub(super) fn not_started(&mut self, end: &WorkerEnd) {
        let token = self.token;
        match self.mention(end) {
            Mention::InFull => info!(token, why = %end, "no HSM worker could be started"),
            Mention::Summary { ends, lasting } => self.summarise(end, ends, lasting),
            Mention::None => debug!(token, why = %end, "no HSM worker could be started"),
        }
    }

    fn mention(&mut self, end: &WorkerEnd) -> Mention {
        self.repeats
            .failed(end.name(), &end.to_string(), Instant::now())
    }

    fn summarise(&self, end: &WorkerEnd, tries: u64, lasting: Duration) {
        let (token, module, seconds) = (self.token, self.module, lasting.as_secs());
        warn!(token, %module, tries, seconds, why = %end, "no HSM worker can serve the token");
    }
}

/// Target of the lines of workers, by which a filter can select them: the name of their crate.
const WORKER: &str = "pkcs11_hsm_worker";

/// Logs what a worker and its library write to standard error, until the pipe closes.
pub(super) fn follow(stderr: Receiver, token: &str, worker: &str) -> WorkerLines {
    let (token, worker) = (token.to_owned(), worker.to_owned());
    WorkerLines::follow(stderr, move |line| {
        info!(target: WORKER, token, worker, line, "the HSM worker wrote");
    })
}

/// Logs a transition: as an error if a person must act, as a warning if the token cannot sign, else as information.
pub(super) fn transition(spec: &TokenSpec, from: &TokenState, state: &TokenState) {
    let (token, module) = (&spec.name, &spec.launch);
    let (from, to) = (from.name(), state.name());
    match state {
        TokenState::LoginRefused { .. } | TokenState::Misconfigured { .. } => {
            error!(token, from, to, %module, %state, "token");
        }
        // Only the reason has changed, and the line about the worker's end tells it.
        TokenState::AwaitingToken { .. } | TokenState::Restarting { .. } if from == to => {}
        TokenState::AwaitingToken { .. } | TokenState::Restarting { .. } => {
            warn!(token, from, to, %module, %state, "token");
        }
        TokenState::Starting | TokenState::Ready { .. } | TokenState::Stopped => {
            info!(token, from, to, %state, "token");
        }
    }
}
