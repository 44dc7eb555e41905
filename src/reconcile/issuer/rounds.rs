//! Which issuer of one kind is looked at next. Pure.
//!
//! All are looked at in rounds, and one by one when they change or their time has come. Tokens take turns, and one that does
//! not answer keeps no more than its own places. An issuer that somebody waits for comes before the others of its token.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    ops::Bound,
    time::{Duration, Instant},
};

use crate::api::IssuerName;

/// Looks at times that lie closer together than this come together, so that they share what they read.
const TOGETHER: Duration = Duration::from_secs(1);

/// The issuers of one kind.
#[derive(Debug)]
pub(super) struct Rounds {
    kept: HashMap<String, Kept>,
    /// By the names of tokens. Whoever is due is in one, and nobody else.
    lines: BTreeMap<String, Line>,
    later: BTreeSet<(Instant, String)>,
    /// The token whose turn it was last.
    last: String,
    looks: usize,
    most: Places,
    begun: Instant,
}

/// Looks at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) of_all: usize,
    pub(super) of_a_token: usize,
}

/// An issuer as the watch tells of it.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) uid: String,
    pub(super) name: IssuerName,
    pub(super) generation: i64,
    /// Empty where it cannot be read.
    pub(super) token: String,
}

/// An issuer to be looked at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) uid: String,
    pub(super) name: IssuerName,
    /// There is no such issuer any more.
    pub(super) deleted: bool,
    /// What was read before does not count.
    pub(super) since: Instant,
}

/// What comes after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: it is not kept.
    Ended,
    /// A look with the next round, or when something changes.
    Round,
    /// A look at this time, if none comes before.
    At(Instant),
}

#[derive(Debug)]
struct Kept {
    told: Told,
    deleted: bool,
    since: Instant,
    turn: Turn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    None,
    At(Instant),
    Due,
    Looking {
        /// The token whose place it has.
        token: String,
        /// Something has changed since.
        again: bool,
    },
}

#[derive(Debug, Default)]
struct Line {
    awaited: VecDeque<String>,
    others: VecDeque<String>,
    looks: usize,
}

impl Rounds {
    /// None yet.
    pub(super) fn new(most: Places, now: Instant) -> Self {
        Self {
            kept: HashMap::new(),
            lines: BTreeMap::new(),
            later: BTreeSet::new(),
            last: String::new(),
            looks: 0,
            most,
            begun: now,
        }
    }

    /// Takes in an issuer, or a newer version of one. It is due, unless nothing of its specification has changed.
    pub(super) fn put(&mut self, told: Told, awaited: bool, now: Instant) {
        let uid = told.uid.clone();
        match self.kept.get_mut(&uid) {
            Some(kept) if kept.told.generation == told.generation => return,
            Some(kept) => {
                if kept.turn == Turn::Due {
                    // Perhaps in the line of another token.
                    self.lines
                        .entry(kept.told.token.clone())
                        .or_default()
                        .leave(&uid);
                    kept.turn = Turn::None;
                }
                kept.told = told;
            }
            None => {
                let kept = Kept {
                    told,
                    deleted: false,
                    since: now,
                    turn: Turn::None,
                };
                self.kept.insert(uid.clone(), kept);
            }
        }
        self.call(&uid, awaited, now);
    }

    /// There is no such issuer any more: one that is kept is due for the last time.
    pub(super) fn delete(&mut self, uid: &str, now: Instant) {
        if let Some(kept) = self.kept.get_mut(uid) {
            kept.deleted = true;
            self.call(uid, false, now);
        }
    }

    /// Takes in all issuers that there are. What a list does not tell of is deleted.
    pub(super) fn list(&mut self, all: Vec<Told>, awaited: &HashSet<IssuerName>, now: Instant) {
        let mut untold: HashSet<String> = self.kept.keys().cloned().collect();
        for told in all {
            untold.remove(&told.uid);
            let awaited = awaited.contains(&told.name);
            self.put(told, awaited, now);
        }
        for uid in untold {
            self.delete(&uid, now);
        }
    }

    /// Those for which `which` holds are due; first of each token those that are `awaited`.
    pub(super) fn call_those(
        &mut self,
        which: impl Fn(&Told) -> bool,
        awaited: &HashSet<IssuerName>,
        now: Instant,
    ) {
        let called = self.kept.values().filter(|kept| which(&kept.told));
        let called: Vec<_> = called
            .map(|kept| (kept.told.uid.clone(), awaited.contains(&kept.told.name)))
            .collect();
        for (uid, awaited) in called {
            self.call(&uid, awaited, now);
        }
    }

    /// Those whose time has come are due.
    pub(super) fn call_until(&mut self, now: Instant) {
        while let Some((at, uid)) = self.later.first().cloned()
            && at <= now
        {
            // What is read from then on counts, so that all of one time share it.
            self.call(&uid, false, at);
        }
    }

    /// Somebody waits for this one now: if it is due, it comes first.
    pub(super) fn hurry(&mut self, uid: &str) {
        if let Some(kept) = self.kept.get(uid)
            && kept.turn == Turn::Due
            && let Some(line) = self.lines.get_mut(&kept.told.token)
        {
            line.leave(uid);
            line.awaited.push_back(uid.to_owned());
        }
    }

    /// When the next one's time comes.
    pub(super) fn next_call(&self) -> Option<Instant> {
        self.later.first().map(|(at, _)| *at)
    }

    /// Who is to be looked at now. Each has to be told of by [`looked`](Self::looked).
    pub(super) fn next(&mut self) -> Option<Look> {
        if self.looks >= self.most.of_all {
            return None;
        }
        let token = self
            .token_with(|line| !line.awaited.is_empty())
            .or_else(|| self.token_with(|line| !line.others.is_empty()))?;
        let line = self.lines.get_mut(&token)?;
        let uid = line
            .awaited
            .pop_front()
            .or_else(|| line.others.pop_front())?;
        let kept = self.kept.get_mut(&uid)?;
        line.looks += 1;
        self.looks += 1;
        self.last.clone_from(&token);
        kept.turn = Turn::Looking {
            token,
            again: false,
        };
        Some(Look {
            uid,
            name: kept.told.name.clone(),
            deleted: kept.deleted,
            since: kept.since,
        })
    }

    /// It has been looked at.
    pub(super) fn looked(&mut self, uid: &str, next: Next) {
        let Some(kept) = self.kept.get_mut(uid) else {
            return;
        };
        let Turn::Looking { token, again } = std::mem::replace(&mut kept.turn, Turn::None) else {
            return;
        };
        self.looks -= 1;
        if let Some(line) = self.lines.get_mut(&token) {
            line.looks -= 1;
            if line.is_empty() {
                self.lines.remove(&token);
            }
        }
        match (again, next) {
            (true, Next::Ended | Next::Round | Next::At(_)) => self.enter(uid, false),
            (false, Next::Ended) => {
                self.kept.remove(uid);
            }
            (false, Next::Round) => {}
            (false, Next::At(at)) => {
                let at = self.begun + together(at.saturating_duration_since(self.begun));
                kept.turn = Turn::At(at);
                self.later.insert((at, uid.to_owned()));
            }
        }
    }

    /// It is due, with what is read from `since` on.
    fn call(&mut self, uid: &str, awaited: bool, since: Instant) {
        let Some(kept) = self.kept.get_mut(uid) else {
            return;
        };
        kept.since = since;
        match &mut kept.turn {
            Turn::Looking { again, .. } => *again = true,
            Turn::Due if awaited => self.hurry(uid),
            Turn::Due => {}
            Turn::None => self.enter(uid, awaited),
            Turn::At(at) => {
                self.later.remove(&(*at, uid.to_owned()));
                self.enter(uid, awaited);
            }
        }
    }

    fn enter(&mut self, uid: &str, awaited: bool) {
        let Some(kept) = self.kept.get_mut(uid) else {
            return;
        };
        kept.turn = Turn::Due;
        let line = self.lines.entry(kept.told.token.clone()).or_default();
        let line = if awaited {
            &mut line.awaited
        } else {
            &mut line.others
        };
        line.push_back(uid.to_owned());
    }

    /// The token whose turn it is among those that have a free place and a line for which `has` holds.
    fn token_with(&self, has: impl Fn(&Line) -> bool) -> Option<String> {
        let free = |(_, line): &(&String, &Line)| line.looks < self.most.of_a_token && has(line);
        let after = (Bound::Excluded(self.last.as_str()), Bound::Unbounded);
        let next = self.lines.range::<str, _>(after).find(free);
        let next = next.or_else(|| self.lines.iter().find(free));
        next.map(|(token, _)| token.clone())
    }
}

impl Line {
    fn leave(&mut self, uid: &str) {
        self.awaited.retain(|waiting| waiting != uid);
        self.others.retain(|waiting| waiting != uid);
    }

    fn is_empty(&self) -> bool {
        self.looks == 0 && self.awaited.is_empty() && self.others.is_empty()
    }
}

/// The next of the times at which looks come.
fn together(after: Duration) -> Duration {
    let whole = after.as_nanos().div_ceil(TOGETHER.as_nanos());
    TOGETHER.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
