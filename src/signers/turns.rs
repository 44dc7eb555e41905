//! Fair turns at a token: nobody who asks for much keeps the others from their share.
//!
//! Requests queue here, one bounded queue per issuer and namespace, and not in the worker, which knows neither: the
//! worker is given no more at a time than it has granted as credit.

use std::{
    collections::{HashMap, VecDeque},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use tokio::{sync::oneshot, time::timeout_at};

/// Requests of one lane that may wait; the next one is turned away at once.
const WAITING: usize = 256;

/// Whose turn it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Lane {
    /// The issuer that signs.
    pub(super) issuer: Arc<str>,
    /// The namespace of the request; empty for the issuer's own probes.
    pub(super) namespace: String,
}

/// The turns at one token.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Never held across an await, nor while a turn changes hands.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    lanes: HashMap<Lane, VecDeque<oneshot::Sender<Turn>>>,
    /// The lanes that wait, in the order of their turns.
    order: VecDeque<Lane>,
}

/// A place at the token; dropping it passes it on.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Arc<Turns>,
    places: usize,
}

/// Why there was no turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTurn {
    /// The lane is full.
    Overloaded,
    /// The deadline passed.
    TimedOut,
}

impl Turns {
    /// Waits for one of `places` turns. A turn that comes after the deadline passes to the next.
    pub(super) async fn take(
        self: &Arc<Self>,
        lane: Lane,
        places: usize,
        deadline: Instant,
    ) -> Result<Turn, NoTurn> {
        let turn = {
            let mut state = self.lock();
            let turn = state.wait(lane)?;
            let free = places.saturating_sub(state.taken);
            state.taken += free;
            drop(state);
            // Places that nobody waits for are given back at once.
            (0..free).for_each(|_| self.pass_on(places));
            turn
        };
        match timeout_at(deadline.into(), turn).await {
            Ok(turn) => turn.map_err(|_| NoTurn::Overloaded),
            Err(_) => Err(NoTurn::TimedOut),
        }
    }

    /// Hands a place that has been taken to the first who still waits, or gives it back.
    fn pass_on(self: &Arc<Self>, places: usize) {
        loop {
            let next = self.lock().next(places);
            let Some(next) = next else { return };
            let turn = Turn {
                turns: Arc::clone(self),
                places,
            };
            match next.send(turn) {
                Ok(()) => return,
                // Whoever waited has given up; the place is still taken.
                Err(turn) => mem::forget(turn),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wait(&mut self, lane: Lane) -> Result<oneshot::Receiver<Turn>, NoTurn> {
        let waiting = self.lanes.entry(lane.clone()).or_default();
        if waiting.len() >= WAITING {
            waiting.retain(|sender| !sender.is_closed());
        }
        if waiting.len() >= WAITING {
            return Err(NoTurn::Overloaded);
        }
        if waiting.is_empty() {
            self.order.push_back(lane);
        }
        let (sender, receiver) = oneshot::channel();
        waiting.push_back(sender);
        Ok(receiver)
    }

    /// The one whose turn it is; `None` gives the place back.
    fn next(&mut self, places: usize) -> Option<oneshot::Sender<Turn>> {
        if self.taken <= places {
            while let Some(lane) = self.order.pop_front() {
                let Some(waiting) = self.lanes.get_mut(&lane) else {
                    continue;
                };
                let first = waiting.pop_front();
                if waiting.is_empty() {
                    self.lanes.remove(&lane);
                } else {
                    self.order.push_back(lane);
                }
                if first.is_some() {
                    return first;
                }
            }
        }
        self.taken = self.taken.saturating_sub(1);
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.pass_on(self.places);
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, task::Poll, time::Duration};

    use futures::{FutureExt as _, poll};

    use super::*;

    fn lane(namespace: &str) -> Lane {
        Lane {
            issuer: "issuing".into(),
            namespace: namespace.to_owned(),
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[tokio::test]
    async fn turns_go_round_the_lanes_and_not_by_who_asked_first() {
        let turns = Arc::new(Turns::default());
        let busy = turns.take(lane("busy"), 1, soon()).await.unwrap();
        let mut queue: Vec<_> = ["busy", "busy", "busy", "quiet"]
            .into_iter()
            .map(|name| (name, Box::pin(turns.take(lane(name), 1, soon()))))
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
        let first = turns.take(lane("a"), 2, soon()).await.unwrap();
        let second = turns.take(lane("b"), 2, soon()).await.unwrap();
        let mut third = pin!(turns.take(lane("c"), 2, soon()));
        assert!(poll!(&mut third).is_pending());
        drop(first);
        assert!(matches!(poll!(&mut third), Poll::Ready(Ok(_))));
        drop(second);
        assert_eq!(turns.lock().taken, 0);
    }

    #[tokio::test]
    async fn a_turn_that_nobody_waits_for_any_more_passes_to_the_next() {
        let turns = Arc::new(Turns::default());
        let held = turns.take(lane("a"), 1, soon()).await.unwrap();
        let late = turns.take(lane("b"), 1, Instant::now()).await;
        assert_eq!(late.unwrap_err(), NoTurn::TimedOut);
        let mut patient = pin!(turns.take(lane("b"), 1, soon()));
        assert!(poll!(&mut patient).is_pending());
        drop(held);
        assert!(matches!(poll!(&mut patient), Poll::Ready(Ok(_))));
    }

    #[tokio::test]
    async fn a_full_lane_turns_away_at_once_and_leaves_the_others_open() {
        let turns = Arc::new(Turns::default());
        let _held = turns.take(lane("a"), 1, soon()).await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING)
            .map(|_| Box::pin(turns.take(lane("a"), 1, soon())))
            .collect();
        for one in &mut waiting {
            assert!(poll!(one).is_pending());
        }
        let turned_away = turns.take(lane("a"), 1, soon()).now_or_never().unwrap();
        assert_eq!(turned_away.unwrap_err(), NoTurn::Overloaded);
        assert!(turns.take(lane("b"), 1, soon()).now_or_never().is_none());
        // Those who gave up leave their room.
        waiting.clear();
        assert!(turns.take(lane("a"), 1, soon()).now_or_never().is_none());
    }
}
