//! Decides which issuer of one kind is looked at next. Pure.
//!
//! All issuers are looked at in rounds, and each also when it changes or its time comes. Tokens take turns, and a token
//! that does not answer occupies no more than its own places. An issuer that a request waits for comes before the
//! others.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    ops::Bound,
    time::{Duration, Instant},
};

use crate::api::{IssuerName, issuer::RolloverState};

/// Looks that fall due within the same interval of this length come together, so that they share what they read.
const TOGETHER: Duration = Duration::from_secs(1);

/// The shortest time between two looks that the annotation of an issuer asks for.
const ASKED_EVERY: Duration = Duration::from_secs(5);

/// Schedule of the issuers of one kind.
#[derive(Debug)]
pub(super) struct Rounds {
    kept: HashMap<String, Kept>,
    /// By the names of tokens. An issuer is in a line if and only if it is due.
    lines: BTreeMap<String, Line>,
    later: BTreeSet<(Instant, String)>,
    /// Looks that annotations asked for too soon after the last such look, with the times at which they become due.
    asked: BTreeSet<(Instant, String)>,
    /// The token whose turn it was last.
    last: String,
    looks: usize,
    most: Places,
    begun: Instant,
}

/// Limits of the looks at the same time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Places {
    pub(super) of_all: usize,
    pub(super) of_a_token: usize,
}

/// An issuer as the watch reports it.
#[derive(Clone, Debug)]
pub(super) struct WatchedIssuer {
    pub(super) uid: String,
    pub(super) name: IssuerName,
    pub(super) generation: i64,
    /// Empty if the issuer cannot be read.
    pub(super) token: String,
    /// Value of the annotation that asks for a look.
    pub(super) asked: Option<String>,
    /// Whether its status names another installation of the controller.
    pub(super) is_elsewhere: bool,
    /// How far its rollover is, according to its status, and to which CA.
    pub(super) rollover: Option<(RolloverState, String)>,
}

/// An issuer to be looked at.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) uid: String,
    pub(super) name: IssuerName,
    /// Whether the issuer has been deleted.
    pub(super) deleted: bool,
    /// Objects that were read before this time must be read again.
    pub(super) since: Instant,
}

/// What follows a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterLook {
    /// Nothing: the issuer is forgotten.
    Ended,
    /// A look with the next round, or when something changes.
    Round,
    /// A look at this time, unless one comes before.
    At(Instant),
}

#[derive(Debug)]
struct Kept {
    told: WatchedIssuer,
    deleted: bool,
    since: Instant,
    /// When the last look that the annotation asked for became due, or will.
    asked_at: Option<Instant>,
    turn: Turn,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Turn {
    None,
    At(Instant),
    Due,
    Looking {
        /// The token whose place it occupies.
        token: String,
        /// Whether something has changed since the look began.
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
    /// Creates a schedule without issuers.
    pub(super) fn new(most: Places, now: Instant) -> Self {
        Self {
            kept: HashMap::new(),
            lines: BTreeMap::new(),
            later: BTreeSet::new(),
            asked: BTreeSet::new(),
            last: String::new(),
            looks: 0,
            most,
            begun: now,
        }
    }

    /// Takes in an issuer, or a newer version of one. It becomes due if it is new, its specification has changed, its
    /// annotation asks for a look, its rollover has taken a step, or another installation has taken it over.
    pub(super) fn put(&mut self, told: WatchedIssuer, awaited: bool, now: Instant) {
        let uid = told.uid.clone();
        match self.kept.get_mut(&uid) {
            Some(kept) if kept.told.generation == told.generation => {
                let asks = told.asked.is_some() && told.asked != kept.told.asked;
                let is_taken = told.is_elsewhere && !kept.told.is_elsewhere;
                let has_stepped = told.rollover != kept.told.rollover;
                kept.told = told;
                if is_taken || has_stepped {
                    self.wake(&uid, awaited, now);
                } else if asks {
                    self.ask(&uid, awaited, now);
                }
                return;
            }
            Some(kept) => {
                if kept.turn == Turn::Due {
                    // The new version may name another token; the issuer then belongs in the line of that token.
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
                    asked_at: None,
                    turn: Turn::None,
                };
                self.kept.insert(uid.clone(), kept);
            }
        }
        self.wake(&uid, awaited, now);
    }

    /// Returns whether the last known status of an issuer names another installation.
    pub(super) fn is_elsewhere(&self, uid: &str) -> bool {
        self.kept
            .get(uid)
            .is_some_and(|kept| kept.told.is_elsewhere)
    }

    /// Makes an issuer due because its annotation asks for a look: now or, if the last such look was too recent, later.
    fn ask(&mut self, uid: &str, awaited: bool, now: Instant) {
        let Some(kept) = self.kept.get_mut(uid) else {
            return;
        };
        let at = kept.asked_at.map_or(now, |last| last + ASKED_EVERY);
        if at <= now {
            kept.asked_at = Some(now);
            self.wake(uid, awaited, now);
        } else if kept.asked_at.is_some_and(|last| last <= now) {
            kept.asked_at = Some(at);
            self.asked.insert((at, uid.to_owned()));
        }
    }

    /// Notes that an issuer was deleted. If it is kept, it becomes due for the last time.
    pub(super) fn delete(&mut self, uid: &str, now: Instant) {
        if let Some(kept) = self.kept.get_mut(uid) {
            kept.deleted = true;
            self.wake(uid, false, now);
        }
    }

    /// Takes in a complete list of issuers. An issuer that the list lacks counts as deleted.
    pub(super) fn list(
        &mut self,
        all: Vec<WatchedIssuer>,
        awaited: &HashSet<IssuerName>,
        now: Instant,
    ) {
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

    /// Makes all issuers due that `which` selects. Issuers that are `awaited` come first.
    pub(super) fn wake_those(
        &mut self,
        which: impl Fn(&WatchedIssuer) -> bool,
        awaited: &HashSet<IssuerName>,
        now: Instant,
    ) {
        let woken = self.kept.values().filter(|kept| which(&kept.told));
        let woken: Vec<_> = woken
            .map(|kept| (kept.told.uid.clone(), awaited.contains(&kept.told.name)))
            .collect();
        for (uid, awaited) in woken {
            self.wake(&uid, awaited, now);
        }
    }

    /// Makes all issuers due whose time has come.
    pub(super) fn wake_due(&mut self, now: Instant) {
        while let Some((at, uid)) = self.later.first().cloned()
            && at <= now
        {
            // The look uses objects that were read at that time or later, so that all issuers due at that time share them.
            self.wake(&uid, false, at);
        }
        while self.asked.first().is_some_and(|(at, _)| *at <= now)
            && let Some((at, uid)) = self.asked.pop_first()
        {
            self.wake(&uid, false, at);
        }
    }

    /// Puts an issuer first if it is due, because a request waits for it.
    pub(super) fn hurry(&mut self, uid: &str) {
        if let Some(kept) = self.kept.get(uid)
            && kept.turn == Turn::Due
            && let Some(line) = self.lines.get_mut(&kept.told.token)
        {
            line.leave(uid);
            line.awaited.push_back(uid.to_owned());
        }
    }

    /// Returns when the next issuer's time comes.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        let times = [self.later.first(), self.asked.first()];
        times.into_iter().flatten().map(|(at, _)| *at).min()
    }

    /// Returns an issuer to be looked at now. The caller must report the end of each look with
    /// [`looked`](Self::looked).
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

    /// Takes in the end of a look.
    pub(super) fn looked(&mut self, uid: &str, next: AfterLook) {
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
            (true, AfterLook::Ended | AfterLook::Round | AfterLook::At(_)) => {
                self.enter(uid, false);
            }
            (false, AfterLook::Ended) => {
                self.kept.remove(uid);
            }
            (false, AfterLook::Round) => {}
            (false, AfterLook::At(at)) => {
                let at = self.begun + together(at.saturating_duration_since(self.begun));
                kept.turn = Turn::At(at);
                self.later.insert((at, uid.to_owned()));
            }
        }
    }

    /// Makes an issuer due. Its look uses objects that were read at `since` or later.
    fn wake(&mut self, uid: &str, awaited: bool, since: Instant) {
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

    /// Returns the token whose turn it is among those that have a free place and a line for which `has` holds.
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

/// Rounds a duration up to a multiple of `TOGETHER`.
fn together(after: Duration) -> Duration {
    let whole = after.as_nanos().div_ceil(TOGETHER.as_nanos());
    TOGETHER.saturating_mul(u32::try_from(whole).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
