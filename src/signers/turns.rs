//! Fair turns at a token: a tenant with many requests does not delay the others.
//!
//! Requests wait here, in [`Lanes`] of tenant and issuer. They do not wait in the worker, because the worker knows neither
//! tenants nor issuers. The worker gets no more requests at a time than the credit that it granted. Waiting holds no
//! resources and has no deadline.
//!
//! The credit is two requests per session, so that a session that is done finds its next request in the worker. A slow token
//! gains nothing from that, and a request that waits in the worker for seconds uses up its time limit. So a slow token gets
//! one request per session: a turn then means that a session takes the request at once.

use std::{mem, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde::Serialize;

use tokio::sync::oneshot;

use crate::lanes::{Lane, Lanes};

/// A token is slow if its last signature took longer than this.
const SLOW: Duration = Duration::from_secs(1);

/// Turns at one token, and the queue for them.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The lock is never held across an await, nor while a turn is passed on.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// The worker's credit, as of the last call of [`Turns::take`].
    credit: usize,
    slow: bool,
    waiting: Lanes<oneshot::Sender<Turn>>,
    closed: bool,
}

/// Permission to use the token; dropping it passes it to the next waiting request.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
}

/// State of the turns at one token, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnsReport {
    /// Requests that use the token.
    taken: usize,
    /// The worker's credit, as of the last wait for a turn.
    credit: usize,
    /// Whether the last signature took longer than a second.
    is_slow: bool,
    /// Requests that wait for a turn.
    waiting: usize,
}

impl Turns {
    /// Returns the state.
    pub(super) fn report(&self) -> TurnsReport {
        let state = self.state.lock();
        TurnsReport {
            taken: state.taken,
            credit: state.credit,
            is_slow: state.slow,
            waiting: state.waiting.count(),
        }
    }

    /// Waits for a turn at a worker that grants `credit`; `None` after [`Turns::close`].
    pub(super) async fn take(self: &Arc<Self>, lane: &Lane, credit: usize) -> Option<Turn> {
        let turn = {
            let mut state = self.state.lock();
            if state.closed {
                return None;
            }
            let (sender, turn) = oneshot::channel();
            state.waiting.push(lane, sender);
            state.credit = credit;
            let free = state.places().saturating_sub(state.taken);
            state.taken += free;
            drop(state);
            // `pass_on` gives a place back if no request waits for it.
            (0..free).for_each(|_| self.pass_on());
            turn
        };
        turn.await.ok()
    }

    /// Records how long the token took for a signature.
    pub(super) fn signed_in(&self, elapsed: Duration) {
        self.state.lock().slow = elapsed > SLOW;
    }

    /// Returns how many requests wait for a turn.
    pub(super) fn queued(&self) -> usize {
        self.state.lock().waiting.count()
    }

    /// Gives no more turns and ends the wait of all waiting requests. Turns already given stay valid.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let waiting = mem::take(&mut state.waiting);
        drop(state);
        drop(waiting);
    }

    /// Passes a taken place to the next request that still waits, or gives it back.
    fn pass_on(self: &Arc<Self>) {
        loop {
            let next = self.state.lock().next();
            let Some(next) = next else { return };
            let turn = Turn {
                turns: Arc::clone(self),
            };
            match next.send(turn) {
                Ok(()) => return,
                // The waiting request was dropped; the place is still taken.
                Err(turn) => mem::forget(turn),
            }
        }
    }
}

impl State {
    fn places(&self) -> usize {
        if self.slow {
            self.credit.div_ceil(2)
        } else {
            self.credit
        }
    }

    /// Returns the next waiting request for a taken place. If no request waits or the place is one too many, gives the place
    /// back and returns `None`.
    fn next(&mut self) -> Option<oneshot::Sender<Turn>> {
        let next = if self.taken <= self.places() {
            self.waiting.pop()
        } else {
            None
        };
        if next.is_none() {
            self.taken = self.taken.saturating_sub(1);
        }
        next
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.pass_on();
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll};

    use futures::{FutureExt as _, poll};

    use super::*;

    fn lane(tenant: &str) -> Lane {
        Lane {
            tenant: tenant.into(),
            issuer: "issuing".into(),
        }
    }

    #[tokio::test]
    async fn tenants_take_turns_regardless_of_whose_request_came_first() {
        let turns = Arc::new(Turns::default());
        let busy = turns.take(&lane("busy"), 1).await.unwrap();
        let lanes = ["busy", "busy", "busy", "quiet"].map(|name| (name, lane(name)));
        let mut queue: Vec<_> = lanes
            .iter()
            .map(|(name, lane)| (*name, Box::pin(turns.take(lane, 1))))
            .collect();
        for (_, waiting) in &mut queue {
            assert!(poll!(waiting).is_pending());
        }
        let mut order = Vec::new();
        let mut held = busy;
        while !queue.is_empty() {
            drop(held);
            let (index, turn) = queue
                .iter_mut()
                .enumerate()
                .find_map(|(index, (_, waiting))| waiting.now_or_never().map(|turn| (index, turn)))
                .unwrap();
            held = turn.unwrap();
            order.push(queue.remove(index).0);
        }
        assert_eq!(order, ["busy", "quiet", "busy", "busy"]);
    }

    #[tokio::test]
    async fn no_more_turns_are_taken_than_there_are_places() {
        let turns = Arc::new(Turns::default());
        let first = turns.take(&lane("a"), 2).await.unwrap();
        let second = turns.take(&lane("b"), 2).await.unwrap();
        let waiting = lane("c");
        let mut third = pin!(turns.take(&waiting, 2));
        assert!(poll!(&mut third).is_pending());
        drop(first);
        assert!(matches!(poll!(&mut third), Poll::Ready(Some(_))));
        drop(second);
        assert_eq!(turns.state.lock().taken, 0);
    }

    #[tokio::test]
    async fn no_request_waits_in_the_worker_of_a_slow_token() {
        let turns = Arc::new(Turns::default());
        let tenant = lane("a");
        turns.signed_in(Duration::from_secs(2));
        let mut held = vec![
            turns.take(&tenant, 4).await.unwrap(),
            turns.take(&tenant, 4).await.unwrap(),
        ];
        let mut third = pin!(turns.take(&tenant, 4));
        assert!(poll!(&mut third).is_pending());
        held.pop();
        assert!(matches!(poll!(&mut third), Poll::Ready(Some(_))));

        turns.signed_in(Duration::from_millis(20));
        for _ in 0..3 {
            held.push(turns.take(&tenant, 4).now_or_never().unwrap().unwrap());
        }
        assert!(turns.take(&tenant, 4).now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_request_that_stops_waiting_passes_its_turn_to_the_next() {
        let turns = Arc::new(Turns::default());
        let held = turns.take(&lane("a"), 1).await.unwrap();
        let (impatient, patient) = (lane("b"), lane("c"));
        let mut gives_up = Box::pin(turns.take(&impatient, 1));
        let mut waits = pin!(turns.take(&patient, 1));
        assert!(poll!(&mut gives_up).is_pending());
        assert!(poll!(&mut waits).is_pending());
        drop(gives_up);
        drop(held);
        assert!(matches!(poll!(&mut waits), Poll::Ready(Some(_))));
    }

    #[tokio::test]
    async fn closing_the_turns_ends_every_wait_at_once() {
        let turns = Arc::new(Turns::default());
        let held = turns.take(&lane("a"), 1).await.unwrap();
        let late = lane("b");
        let mut waits = pin!(turns.take(&late, 1));
        assert!(poll!(&mut waits).is_pending());
        turns.close();
        assert!(matches!(poll!(&mut waits), Poll::Ready(None)));
        drop(held);
        assert!(turns.take(&late, 1).await.is_none());
    }
}
