//! Counts of a token's events, so that metrics miss no transition between two scrapes.

use std::collections::BTreeMap;

use super::{TokenState, WorkerEnd};

/// Counts since [`Token::start`](super::Token::start).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Number of workers started or connections to a sidecar made.
    pub starts: u64,
    /// How often each state was entered, by [`TokenState::name`].
    pub entered: BTreeMap<&'static str, u64>,
    /// How often a worker ended, by [`WorkerEnd::name`].
    pub ended: BTreeMap<&'static str, u64>,
    /// Why the last worker ended.
    pub last_end: Option<WorkerEnd>,
}

impl Tally {
    pub(super) fn started(&mut self) {
        self.starts += 1;
    }

    pub(super) fn entered(&mut self, state: &TokenState) {
        *self.entered.entry(state.name()).or_default() += 1;
    }

    pub(super) fn ended(&mut self, end: &WorkerEnd) {
        *self.ended.entry(end.name()).or_default() += 1;
        self.last_end = Some(end.clone());
    }
}
