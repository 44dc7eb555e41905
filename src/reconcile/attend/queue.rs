//! The queue of one kind: the requests that may still need a look, and which of them is looked at next.

mod state;
mod tokens;
mod window;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Instant,
};

use kube::Resource;

pub(in crate::reconcile) use self::state::QueueState;
use self::{tokens::DueByToken, window::Window};
use super::uid::Uid;
use crate::reconcile::{
    Seat,
    request::{Next, Remembered},
};

/// Queue of requests, each with its memory.
///
/// At most one look at a request is in progress at a time, and it borrows the request's memory. The order is fair between
/// [tenants and issuers](crate::lanes). The limit of looks at a time applies to each token separately, so a token that does
/// not answer does not delay requests for other tokens.
///
/// kube's own controller sends every object through a timer with millisecond ticks; `docs/adr/0006` has measurements of the
/// cost.
pub(in crate::reconcile) struct Queue<K, M> {
    /// Boxed, because a table has room for up to twice as many entries as it has.
    kept: HashMap<Uid, Box<Kept<K, M>>>,
    order: Order,
    seat: Box<dyn Fn(&K) -> Seat + Send + Sync>,
    clock: fn() -> Instant,
    /// The requests that the list in progress has not reported yet; `None` while there is no list.
    unlisted: Option<HashSet<Uid>>,
}

/// The requests with [`Turn::Due`] or [`Turn::At`]. `due` may also have requests that were forgotten since.
#[derive(Debug)]
struct Order {
    due: DueByToken<Uid>,
    window: Window,
    /// The tenant of the last look.
    tenant: Option<Arc<str>>,
    later: BTreeSet<(Instant, Uid)>,
}

#[derive(Debug)]
struct Kept<K, M> {
    /// `None` for a tombstone: a write of ours has ended the request and the watch has not reported it yet.
    object: Option<Arc<K>>,
    /// When the API server answered the write of ours that ended the request.
    settled: Option<Instant>,
    /// Empty during a look, because the look borrows the memory.
    memory: M,
    deleted: bool,
    turn: Turn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// No look until something changes.
    None,
    At(Instant),
    Due {
        since: Instant,
    },
    Looking {
        /// Something has changed since the look began.
        again: bool,
        /// The failures were forgiven since the look began.
        forgiven: bool,
        /// The token whose limit the look counts against.
        token: Option<Arc<str>>,
    },
}

/// A request to be looked at.
#[derive(Debug)]
pub(in crate::reconcile) struct Due<K, M> {
    pub(in crate::reconcile) object: Arc<K>,
    pub(in crate::reconcile) memory: M,
    /// Whether the request was deleted.
    pub(in crate::reconcile) deleted: bool,
    /// How many other requests wait for a later look.
    pub(in crate::reconcile) waiting: usize,
    /// Since when the request has been due.
    pub(in crate::reconcile) since: Instant,
}

impl<K, M: Default> Default for Kept<K, M> {
    fn default() -> Self {
        Self {
            object: None,
            settled: None,
            memory: M::default(),
            deleted: false,
            turn: Turn::None,
        }
    }
}

impl<K: Resource, M: Remembered> Queue<K, M> {
    /// Creates an empty queue. At most `most_looks` looks are in progress for each token. `seat` returns the present tenant,
    /// issuer and token of a request, and `clock` the present time.
    pub(in crate::reconcile) fn new(
        most_looks: u16,
        seat: impl Fn(&K) -> Seat + Send + Sync + 'static,
        clock: fn() -> Instant,
    ) -> Self {
        Self {
            kept: HashMap::new(),
            order: Order {
                due: DueByToken::default(),
                window: Window::new(most_looks),
                tenant: None,
                later: BTreeSet::new(),
            },
            seat: Box::new(seat),
            clock,
            unlisted: None,
        }
    }

    /// Takes in a new request, or a newer version of a known one, and makes it due.
    pub(in crate::reconcile) fn put(&mut self, object: K) {
        let uid = Uid::of(&object);
        self.mark_listed(&uid);
        let now = (self.clock)();
        let Self {
            kept, order, seat, ..
        } = self;
        let kept = kept.entry(uid.clone()).or_insert_with(Box::default);
        kept.turn = order.wake(&uid, kept.turn.clone(), now, || seat(&object));
        kept.object = Some(Arc::new(object));
    }

    /// Takes in the last version of a request. The request is looked at once more if a look is in progress or a signed
    /// certificate is not known to be published; otherwise it is forgotten.
    pub(in crate::reconcile) fn end(&mut self, object: K, now: Instant) {
        let uid = Uid::of(&object);
        self.mark_listed(&uid);
        let Some(kept) = self.kept.get(&uid) else {
            return;
        };
        self.order.window.reported(kept.settled, now);
        if kept.memory.has_unpublished() || matches!(kept.turn, Turn::Looking { .. }) {
            self.put(object);
        } else {
            self.forget(&uid);
        }
    }

    /// Notes that a request was deleted. If it is in the queue, it becomes due for the last time.
    pub(in crate::reconcile) fn delete(&mut self, object: &K) {
        self.delete_by(&Uid::of(object));
    }

    fn delete_by(&mut self, uid: &Uid) {
        let Some(kept) = self.kept.get_mut(uid) else {
            return;
        };
        kept.deleted = true;
        if kept.object.is_some() || matches!(kept.turn, Turn::Looking { .. }) {
            self.wake(uid);
        } else {
            self.forget(uid);
        }
    }

    fn forget(&mut self, uid: &Uid) {
        match self.kept.remove(uid).map(|kept| kept.turn) {
            Some(Turn::At(at)) => {
                self.order.later.remove(&(at, uid.clone()));
            }
            // A due request stays in `order`; `next` skips it.
            Some(Turn::Due { .. } | Turn::None | Turn::Looking { .. }) | None => {}
        }
    }

    fn mark_listed(&mut self, uid: &Uid) {
        if let Some(unlisted) = &mut self.unlisted {
            unlisted.remove(uid);
        }
    }

    /// Notes that a list of all requests begins.
    pub(in crate::reconcile) fn begin_list(&mut self) {
        self.unlisted = Some(self.kept.keys().cloned().collect());
    }

    /// Notes that the list has ended. Requests that it did not report are treated as deleted, and returned.
    pub(in crate::reconcile) fn end_list(&mut self) -> Vec<Arc<K>> {
        let unlisted = self.unlisted.take().unwrap_or_default();
        let kept = unlisted.iter().filter_map(|uid| self.kept.get(uid));
        let gone: Vec<_> = kept.filter_map(|kept| kept.object.clone()).collect();
        for uid in &unlisted {
            self.delete_by(uid);
        }
        gone
    }

    /// Makes a request due, if it is in the queue.
    pub(in crate::reconcile) fn wake(&mut self, uid: &Uid) {
        let now = (self.clock)();
        let Self {
            kept, order, seat, ..
        } = self;
        if let Some(kept) = kept.get_mut(uid)
            && let Some(object) = &kept.object
        {
            kept.turn = order.wake(uid, kept.turn.clone(), now, || seat(object));
        }
    }

    /// Makes a request due, if it is in the queue, and forgives its failures.
    pub(in crate::reconcile) fn wake_anew(&mut self, uid: &Uid) {
        if let Some(kept) = self.kept.get_mut(uid) {
            kept.memory.forgive();
            if let Turn::Looking { forgiven, .. } = &mut kept.turn {
                *forgiven = true;
            }
        }
        self.wake(uid);
    }

    /// Makes all requests due.
    pub(in crate::reconcile) fn wake_all(&mut self) {
        let now = (self.clock)();
        let Self {
            kept, order, seat, ..
        } = self;
        for (uid, kept) in kept {
            if let Some(object) = &kept.object {
                kept.turn = order.wake(uid, kept.turn.clone(), now, || seat(object));
            }
        }
    }

    /// Makes due every request whose time has come.
    pub(in crate::reconcile) fn wake_due(&mut self, now: Instant) {
        while self.next_wake().is_some_and(|at| at <= now)
            && let Some((_, uid)) = self.order.later.pop_first()
        {
            self.wake(&uid);
        }
    }

    /// Keeps only the requests with a look in progress or with a certificate that is not known to be published.
    pub(in crate::reconcile) fn retain_unpublished(&mut self) {
        let Self { kept, order, .. } = self;
        kept.retain(|_, kept| {
            matches!(kept.turn, Turn::Looking { .. }) || kept.memory.has_unpublished()
        });
        order.due.retain(|uid| kept.contains_key(uid));
        order.later.retain(|(_, uid)| kept.contains_key(uid));
    }

    /// Returns every request in the queue with its memory.
    pub(in crate::reconcile) fn into_kept(self) -> impl Iterator<Item = (Arc<K>, M)> {
        let kept = self.kept.into_values();
        kept.filter_map(|kept| Some((kept.object?, kept.memory)))
    }

    /// Returns whether the queue is empty, without even a tombstone.
    #[cfg(test)]
    pub(in crate::reconcile) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Returns the earliest time at which a request becomes due by itself.
    pub(in crate::reconcile) fn next_wake(&self) -> Option<Instant> {
        self.order.later.first().map(|(at, _)| *at)
    }

    /// Returns the next request to look at now. Each must be reported back by [`looked`](Self::looked).
    pub(in crate::reconcile) fn next(&mut self) -> Option<Due<K, M>> {
        loop {
            let (uid, token) = self.order.due.next(self.order.window.size())?;
            let due = self.kept.get_mut(&uid);
            let Some((kept, object, since)) = due.and_then(|kept| {
                let Turn::Due { since } = kept.turn else {
                    return None;
                };
                let object = kept.object.clone()?;
                Some((kept, object, since))
            }) else {
                self.order.due.ended(&token);
                continue;
            };
            let seat = (self.seat)(&object);
            if seat.token != token {
                // The issuer's token has changed since the request became due.
                self.order.due.ended(&token);
                self.order.due.push(&seat, uid);
                continue;
            }
            let before = self.order.tenant.replace(Arc::clone(&seat.lane.tenant));
            if before.is_some_and(|before| before != seat.lane.tenant) {
                self.order.window.turned((self.clock)());
            }
            kept.turn = Turn::Looking {
                again: false,
                forgiven: false,
                token,
            };
            return Some(Due {
                object,
                memory: std::mem::take(&mut kept.memory),
                deleted: kept.deleted,
                waiting: self.order.later.len(),
                since,
            });
        }
    }

    /// Takes in the outcome of a look that ended `now`, with the request's memory.
    pub(in crate::reconcile) fn looked(&mut self, object: &K, memory: M, next: Next, now: Instant) {
        let uid = Uid::of(object);
        let Some(kept) = self.kept.get_mut(&uid) else {
            return;
        };
        let Turn::Looking {
            again,
            forgiven,
            token,
        } = std::mem::replace(&mut kept.turn, Turn::None)
        else {
            return;
        };
        self.order.due.ended(&token);
        kept.memory = memory;
        if forgiven {
            kept.memory.forgive();
        }
        match (again, next) {
            (true, Next::Ended | Next::Settled | Next::OnChange | Next::At(_)) => self.wake(&uid),
            (false, Next::Ended) => {
                self.kept.remove(&uid);
            }
            (false, Next::Settled) => {
                kept.object = None;
                kept.settled = Some(now);
            }
            (false, Next::OnChange) => {}
            (false, Next::At(at)) => {
                kept.turn = Turn::At(at);
                self.order.later.insert((at, uid));
            }
        }
    }
}

impl<K, M> fmt::Debug for Queue<K, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue")
            .field("kept", &self.kept.len())
            .field("order", &self.order)
            .finish_non_exhaustive()
    }
}

impl Order {
    /// Makes a request due, or has it looked at again after the look in progress. `before` is the request's turn so far;
    /// returns its new turn.
    fn wake(&mut self, uid: &Uid, before: Turn, now: Instant, seat: impl FnOnce() -> Seat) -> Turn {
        match before {
            Turn::Due { since } => return Turn::Due { since },
            Turn::Looking {
                again: _,
                forgiven,
                token,
            } => {
                return Turn::Looking {
                    again: true,
                    forgiven,
                    token,
                };
            }
            Turn::None => {}
            Turn::At(at) => {
                self.later.remove(&(at, uid.clone()));
            }
        }
        self.due.push(&seat(), uid.clone());
        Turn::Due { since: now }
    }
}

#[cfg(test)]
mod tests;
