//! The state of a queue, for people.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use kube::Resource;
use serde::Serialize;

use super::{Queue, Turn};
use crate::reconcile::{listed::Listed, request::Remembered};

/// State of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::reconcile) struct QueueState {
    /// Requests that have not ended.
    requests: usize,
    /// Requests that a write of ours has ended and whose end the watch has not reported yet.
    tombstones: usize,
    /// Requests with a certificate that is not known to be published, except those being looked at.
    unpublished: usize,
    /// Requests that are due.
    due: usize,
    /// How long the first of them has been due, in seconds.
    longest_due_seconds: u64,
    /// Requests that are being looked at.
    looks: usize,
    /// Requests that will be looked at again at a certain time.
    later: usize,
    /// In how many seconds the next of them is due.
    next_due_seconds: Option<u64>,
    /// The most looks at the requests of one token at a time, now.
    window: usize,
    /// Whether a list of all requests is being read.
    is_listing: bool,
    /// Requests that are due or being looked at, by the token of their issuer.
    tokens: Listed<AtToken>,
}

/// The requests for one token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
struct AtToken {
    /// Name of the token; `None` for requests whose issuer or token does not exist.
    token: Option<String>,
    due: usize,
    looks: usize,
}

impl<K: Resource, M: Remembered> Queue<K, M> {
    /// Returns the state at `now`.
    pub(in crate::reconcile) fn state(&self, now: Instant) -> QueueState {
        let mut state = QueueState {
            later: self.order.later.len(),
            next_due_seconds: self
                .next_wake()
                .map(|at| at.saturating_duration_since(now).as_secs()),
            window: self.order.window.size(),
            is_listing: self.unlisted.is_some(),
            ..QueueState::default()
        };
        let mut tokens = BTreeMap::<Option<Arc<str>>, (usize, usize)>::new();
        for kept in self.kept.values() {
            let Some(object) = &kept.object else {
                state.tombstones += 1;
                continue;
            };
            state.requests += 1;
            state.unpublished += usize::from(kept.memory.has_unpublished());
            match &kept.turn {
                Turn::None | Turn::At(_) => {}
                Turn::Due { since } => {
                    state.due += 1;
                    let waited = now.saturating_duration_since(*since).as_secs();
                    state.longest_due_seconds = state.longest_due_seconds.max(waited);
                    tokens.entry((self.seat)(object).token).or_default().0 += 1;
                }
                Turn::Looking { token, .. } => {
                    state.looks += 1;
                    tokens.entry(token.clone()).or_default().1 += 1;
                }
            }
        }
        let tokens = tokens.into_iter();
        state.tokens = tokens
            .map(|(token, (due, looks))| AtToken {
                token: token.as_deref().map(str::to_owned),
                due,
                looks,
            })
            .collect();
        state
    }
}
