//! The requests of one kind that may still need something: which they are, and which of them is looked at next.

mod tokens;
mod window;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Instant,
};

use kube::Resource;

use self::{tokens::Tokens, window::Window};
use super::uid::Uid;
use crate::reconcile::{
    Seat,
    request::{Next, Remembered},
};

/// Each request is looked at once at a time, and whoever looks has what is remembered of it. Who is next goes by [tenant and issuer](crate::lanes), and a token that does
/// not answer keeps the requests of no other waiting: each token has as many looks at a time as every other.
///
/// kube's own controller lets a timer that ticks by the millisecond tell of each; `docs/adr/0006` has what that costs.
pub(in crate::reconcile) struct Queue<K, M> {
    kept: HashMap<Uid, Kept<K, M>>,
    order: Order,
    seat: Box<dyn Fn(&K) -> Seat + Send + Sync>,
    /// Those that the list under way has not told of yet.
    untold: Option<HashSet<Uid>>,
}

/// Whoever has [`Turn::Due`] or [`Turn::At`] is here, and nobody else.
#[derive(Debug)]
struct Order {
    due: Tokens<Uid>,
    window: Window,
    later: BTreeSet<(Instant, Uid)>,
}

#[derive(Debug)]
struct Kept<K, M> {
    /// `None` for one that a write of ours has ended, until the watch tells so.
    object: Option<Arc<K>>,
    /// When that write was answered.
    settled: Option<Instant>,
    /// While it is being looked at, whoever looks has it.
    memory: M,
    deleted: bool,
    turn: Turn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    /// When something changes.
    None,
    At(Instant),
    Due,
    Looking {
        /// Something has changed since.
        again: bool,
        /// What it failed for has changed since.
        forgiven: bool,
        /// The token whose look it is.
        token: Option<Arc<str>>,
    },
}

/// A request to be looked at.
#[derive(Debug)]
pub(in crate::reconcile) struct Due<K, M> {
    pub(in crate::reconcile) object: Arc<K>,
    pub(in crate::reconcile) memory: M,
    /// There is no such request any more.
    pub(in crate::reconcile) deleted: bool,
    /// How many others wait for another try.
    pub(in crate::reconcile) waiting: usize,
}

impl<K: Resource, M: Remembered> Queue<K, M> {
    /// None. At most `most_looks` of each token will be looked at at once; `seat` says whose request one is, and whose
    /// token it needs, as of now.
    pub(in crate::reconcile) fn new(
        most_looks: u16,
        seat: impl Fn(&K) -> Seat + Send + Sync + 'static,
    ) -> Self {
        Self {
            kept: HashMap::new(),
            order: Order {
                due: Tokens::default(),
                window: Window::new(most_looks),
                later: BTreeSet::new(),
            },
            seat: Box::new(seat),
            untold: None,
        }
    }

    /// Takes in a request, or a newer version of one. It is due.
    pub(in crate::reconcile) fn put(&mut self, object: K) {
        let uid = Uid::of(&object);
        self.told(&uid);
        let Self {
            kept, order, seat, ..
        } = self;
        let kept = kept.entry(uid.clone()).or_insert_with(|| Kept {
            object: None,
            settled: None,
            memory: M::default(),
            deleted: false,
            turn: Turn::None,
        });
        kept.turn = order.call(&uid, kept.turn.clone(), || seat(&object));
        kept.object = Some(Arc::new(object));
    }

    /// Takes in the last version of a request. It is looked at once more if it is being looked at or something was signed
    /// for it that is not known to be published, else it is forgotten.
    pub(in crate::reconcile) fn end(&mut self, object: K, now: Instant) {
        let uid = Uid::of(&object);
        self.told(&uid);
        let Some(kept) = self.kept.get(&uid) else {
            return;
        };
        self.order.window.reported(kept.settled, now);
        if kept.memory.owes() || matches!(kept.turn, Turn::Looking { .. }) {
            self.put(object);
        } else {
            self.forget(&uid);
        }
    }

    /// There is no such request any more: one that is kept is due for the last time.
    pub(in crate::reconcile) fn delete(&mut self, object: &K) {
        self.delete_by(&Uid::of(object));
    }

    fn delete_by(&mut self, uid: &Uid) {
        let Some(kept) = self.kept.get_mut(uid) else {
            return;
        };
        kept.deleted = true;
        if kept.object.is_some() || matches!(kept.turn, Turn::Looking { .. }) {
            self.call(uid);
        } else {
            self.forget(uid);
        }
    }

    fn forget(&mut self, uid: &Uid) {
        match self.kept.remove(uid).map(|kept| kept.turn) {
            Some(Turn::At(at)) => {
                self.order.later.remove(&(at, uid.clone()));
            }
            // One that is due is passed over when its turn comes.
            Some(Turn::Due | Turn::None | Turn::Looking { .. }) | None => {}
        }
    }

    fn told(&mut self, uid: &Uid) {
        if let Some(untold) = &mut self.untold {
            untold.remove(uid);
        }
    }

    /// A list of all requests begins.
    pub(in crate::reconcile) fn begin_list(&mut self) {
        self.untold = Some(self.kept.keys().cloned().collect());
    }

    /// The list is over. What it has not told of is deleted, and returned.
    pub(in crate::reconcile) fn end_list(&mut self) -> Vec<Arc<K>> {
        let untold = self.untold.take().unwrap_or_default();
        let kept = untold.iter().filter_map(|uid| self.kept.get(uid));
        let gone: Vec<_> = kept.filter_map(|kept| kept.object.clone()).collect();
        for uid in &untold {
            self.delete_by(uid);
        }
        gone
    }

    /// This one is due, if it is kept.
    pub(in crate::reconcile) fn call(&mut self, uid: &Uid) {
        let Self {
            kept, order, seat, ..
        } = self;
        if let Some(kept) = kept.get_mut(uid)
            && let Some(object) = &kept.object
        {
            kept.turn = order.call(uid, kept.turn.clone(), || seat(object));
        }
    }

    /// This one is due, if it is kept, and whatever it has failed for counts no more.
    pub(in crate::reconcile) fn call_anew(&mut self, uid: &Uid) {
        if let Some(kept) = self.kept.get_mut(uid) {
            kept.memory.forgive();
            if let Turn::Looking { forgiven, .. } = &mut kept.turn {
                *forgiven = true;
            }
        }
        self.call(uid);
    }

    /// All are due.
    pub(in crate::reconcile) fn call_all(&mut self) {
        let Self {
            kept, order, seat, ..
        } = self;
        for (uid, kept) in kept {
            if let Some(object) = &kept.object {
                kept.turn = order.call(uid, kept.turn.clone(), || seat(object));
            }
        }
    }

    /// Those whose time has come are due.
    pub(in crate::reconcile) fn call_until(&mut self, now: Instant) {
        while self.next_call().is_some_and(|at| at <= now)
            && let Some((_, uid)) = self.order.later.pop_first()
        {
            self.call(&uid);
        }
    }

    /// Keeps only those that are being looked at, and of the others those for which something was signed that is not
    /// known to be published.
    pub(in crate::reconcile) fn keep_owed(&mut self) {
        let Self { kept, order, .. } = self;
        kept.retain(|_, kept| matches!(kept.turn, Turn::Looking { .. }) || kept.memory.owes());
        order.due.retain(|uid| kept.contains_key(uid));
        order.later.retain(|(_, uid)| kept.contains_key(uid));
    }

    /// All that are kept, with what is remembered of each.
    pub(in crate::reconcile) fn into_kept(self) -> impl Iterator<Item = (Arc<K>, M)> {
        let kept = self.kept.into_values();
        kept.filter_map(|kept| Some((kept.object?, kept.memory)))
    }

    /// Whether none is kept.
    #[cfg(test)]
    pub(in crate::reconcile) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// When the next one's time comes.
    pub(in crate::reconcile) fn next_call(&self) -> Option<Instant> {
        self.order.later.first().map(|(at, _)| *at)
    }

    /// Who is to be looked at now. Each has to be told of by [`looked`](Self::looked).
    pub(in crate::reconcile) fn next(&mut self) -> Option<Due<K, M>> {
        loop {
            let (uid, token) = self.order.due.next(self.order.window.size())?;
            let due = self
                .kept
                .get_mut(&uid)
                .filter(|kept| kept.turn == Turn::Due);
            let Some((kept, object)) = due.and_then(|kept| {
                let object = kept.object.clone()?;
                Some((kept, object))
            }) else {
                self.order.due.ended(&token);
                continue;
            };
            let seat = (self.seat)(&object);
            if seat.token != token {
                // Its issuer has another token than when it was called.
                self.order.due.ended(&token);
                self.order.due.push(&seat, uid);
                continue;
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
            });
        }
    }

    /// It has been looked at until `now`, and this is remembered of it.
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
            (true, Next::Ended | Next::Settled | Next::OnChange | Next::At(_)) => self.call(&uid),
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
    /// The turn of a request that is called, and whose turn was `before`.
    fn call(&mut self, uid: &Uid, before: Turn, seat: impl FnOnce() -> Seat) -> Turn {
        match before {
            Turn::Due => return Turn::Due,
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
        Turn::Due
    }
}

#[cfg(test)]
mod tests;
