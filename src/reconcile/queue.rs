//! The requests of one kind that may still need something: which they are, and which of them is looked at next.

mod tokens;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Instant,
};

use kube::Resource;

pub(super) use self::tokens::Seat;
use self::tokens::Tokens;
use super::uid::Uid;

/// Each request is looked at once at a time. Who is next goes by [tenant and issuer](crate::lanes), and a token that does
/// not answer keeps the requests of no other waiting: each token has as many looks at a time as every other.
///
/// kube's own controller lets a timer that ticks by the millisecond tell of each; `docs/adr/0006` has what that costs.
pub(super) struct Queue<K> {
    kept: HashMap<Uid, Kept<K>>,
    order: Order,
    seat: Box<dyn Fn(&K) -> Seat + Send + Sync>,
    /// Those that the list under way has not told of yet.
    untold: Option<HashSet<Uid>>,
}

/// Whoever has [`Turn::Due`] or [`Turn::At`] is here, and nobody else.
#[derive(Debug)]
struct Order {
    due: Tokens<Uid>,
    later: BTreeSet<(Instant, Uid)>,
}

#[derive(Debug)]
struct Kept<K> {
    object: Arc<K>,
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
        /// The token whose look it is.
        token: Option<Arc<str>>,
    },
}

/// A request to be looked at.
#[derive(Debug)]
pub(super) struct Due<K> {
    pub(super) object: Arc<K>,
    /// There is no such request any more.
    pub(super) deleted: bool,
}

/// What comes after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: it is not kept.
    Ended,
    /// A look when something changes.
    OnChange,
    /// Another look at this time, if nothing changes before.
    At(Instant),
}

impl<K: Resource> Queue<K> {
    /// None. At most `most_looks` of each token will be looked at at once; `seat` says whose request one is, and whose
    /// token it needs, as of now.
    pub(super) fn new(most_looks: u16, seat: impl Fn(&K) -> Seat + Send + Sync + 'static) -> Self {
        Self {
            kept: HashMap::new(),
            order: Order {
                due: Tokens::new(most_looks.into()),
                later: BTreeSet::new(),
            },
            seat: Box::new(seat),
            untold: None,
        }
    }

    /// Whether the request is kept, in whatever version.
    pub(super) fn keeps(&self, object: &K) -> bool {
        self.kept.contains_key(&Uid::of(object))
    }

    /// Takes in a request, or a newer version of one. It is due.
    pub(super) fn put(&mut self, object: K) {
        let uid = Uid::of(&object);
        if let Some(untold) = &mut self.untold {
            untold.remove(&uid);
        }
        let turn = self.kept.remove(&uid).map_or(Turn::None, |kept| kept.turn);
        let seat = || (self.seat)(&object);
        let turn = self.order.call(&uid, turn, seat);
        let kept = Kept {
            object: Arc::new(object),
            deleted: false,
            turn,
        };
        self.kept.insert(uid, kept);
    }

    /// There is no such request any more: one that is kept is due for the last time.
    pub(super) fn delete(&mut self, object: &K) {
        let uid = Uid::of(object);
        if let Some(kept) = self.kept.get_mut(&uid) {
            kept.deleted = true;
        }
        self.call(&uid);
    }

    /// A list of all requests begins.
    pub(super) fn begin_list(&mut self) {
        self.untold = Some(self.kept.keys().cloned().collect());
    }

    /// The list is over. What it has not told of is deleted, and returned.
    pub(super) fn end_list(&mut self) -> Vec<Arc<K>> {
        let untold = self.untold.take().unwrap_or_default();
        let kept = untold.iter().filter_map(|uid| self.kept.get(uid));
        let gone: Vec<_> = kept.map(|kept| Arc::clone(&kept.object)).collect();
        for object in &gone {
            self.delete(object);
        }
        gone
    }

    /// This one is due, if it is kept.
    pub(super) fn call(&mut self, uid: &Uid) {
        if let Some(kept) = self.kept.get_mut(uid) {
            let seat = || (self.seat)(&kept.object);
            kept.turn = self.order.call(uid, kept.turn.clone(), seat);
        }
    }

    /// All are due.
    pub(super) fn call_all(&mut self) {
        for (uid, kept) in &mut self.kept {
            let seat = || (self.seat)(&kept.object);
            kept.turn = self.order.call(uid, kept.turn.clone(), seat);
        }
    }

    /// Those whose time has come are due.
    pub(super) fn call_until(&mut self, now: Instant) {
        while self.next_call().is_some_and(|at| at <= now)
            && let Some((_, uid)) = self.order.later.pop_first()
        {
            self.call(&uid);
        }
    }

    /// Keeps only those that are being looked at, and of the others those that `wanted` holds for.
    pub(super) fn retain(&mut self, wanted: impl Fn(&K) -> bool) {
        let Self { kept, order, .. } = self;
        kept.retain(|_, kept| matches!(kept.turn, Turn::Looking { .. }) || wanted(&kept.object));
        order.due.retain(|uid| kept.contains_key(uid));
        order.later.retain(|(_, uid)| kept.contains_key(uid));
    }

    /// All that are kept.
    pub(super) fn kept(&self) -> impl Iterator<Item = &K> {
        self.kept.values().map(|kept| &*kept.object)
    }

    /// When the next one's time comes.
    pub(super) fn next_call(&self) -> Option<Instant> {
        self.order.later.first().map(|(at, _)| *at)
    }

    /// Who is to be looked at now. Each has to be told of by [`looked`](Self::looked).
    pub(super) fn next(&mut self) -> Option<Due<K>> {
        loop {
            let (uid, token) = self.order.due.next()?;
            let Some(kept) = self.kept.get_mut(&uid) else {
                self.order.due.ended(&token);
                continue;
            };
            let seat = (self.seat)(&kept.object);
            if seat.token != token {
                // Its issuer has another token than when it was called.
                self.order.due.ended(&token);
                self.order.due.push(&seat, uid);
                continue;
            }
            kept.turn = Turn::Looking {
                again: false,
                token,
            };
            return Some(Due {
                object: Arc::clone(&kept.object),
                deleted: kept.deleted,
            });
        }
    }

    /// It has been looked at.
    pub(super) fn looked(&mut self, object: &K, next: Next) {
        let uid = Uid::of(object);
        let Some(kept) = self.kept.get_mut(&uid) else {
            return;
        };
        let Turn::Looking { again, token } = &kept.turn else {
            return;
        };
        self.order.due.ended(token);
        let seat = || (self.seat)(&kept.object);
        kept.turn = match (*again, next) {
            (true, Next::Ended | Next::OnChange | Next::At(_)) => {
                self.order.call(&uid, Turn::None, seat)
            }
            (false, Next::Ended) => {
                self.kept.remove(&uid);
                return;
            }
            (false, Next::OnChange) => Turn::None,
            (false, Next::At(at)) => {
                self.order.later.insert((at, uid));
                Turn::At(at)
            }
        };
    }
}

impl<K> fmt::Debug for Queue<K> {
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
            Turn::Looking { again: _, token } => return Turn::Looking { again: true, token },
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
