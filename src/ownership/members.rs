//! The other replicas as their Leases show them, by this replica's own monotonic clock.

use std::{collections::BTreeMap, time::Instant};

use super::{
    LeaseDuration,
    lease::{Member, Version},
};

/// Everybody whose Lease was seen, this process's own included.
///
/// *Guarantees*: a Lease expires when it was *read* again, unchanged for its own duration, by somebody who had been
/// looking all the time. No clock of another machine is asked, and a reader that slept, or could not reach the API
/// server, takes nobody for gone because of what it missed.
#[derive(Debug)]
pub(super) struct Members {
    /// Of the reader's own Lease.
    duration: LeaseDuration,
    seen: BTreeMap<String, Seen>,
    last_read: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    member: Member,
    /// From when on this reader knows the resourceVersion that the Lease still has.
    unchanged_since: Instant,
    /// Until when it was read unchanged.
    read: Instant,
    expired: bool,
}

/// One reading of all Leases.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) members: Vec<Member>,
    /// Before the API server was asked: what it answers is at least as new.
    pub(super) asked: Instant,
    pub(super) answered: Instant,
}

impl Members {
    pub(super) fn new(duration: LeaseDuration) -> Self {
        Self {
            duration,
            seen: BTreeMap::new(),
            last_read: None,
        }
    }

    /// Takes in one Lease, as a watch tells it.
    pub(super) fn saw(&mut self, member: Member, now: Instant) {
        match self.seen.get(&member.name) {
            Some(known) if known.member.version == member.version => {}
            Some(_) | None => {
                let name = member.name.clone();
                self.seen.insert(name, Seen::new(member, now));
            }
        }
    }

    /// A Lease was deleted.
    pub(super) fn went(&mut self, name: &str, version: &Version) {
        if self
            .seen
            .get(name)
            .is_some_and(|known| known.member.version.uid == version.uid)
        {
            self.seen.remove(name);
        }
    }

    /// Takes in all Leases there are. The only way for one to expire.
    pub(super) fn read(&mut self, reading: Reading) {
        let Reading {
            members,
            asked,
            answered,
        } = reading;
        let attentive = self.last_read.is_some_and(|last| {
            asked.saturating_duration_since(last) <= self.duration.inattentive_after()
        });
        self.last_read = Some(answered);
        let mut before = std::mem::take(&mut self.seen);
        for member in members {
            let known = before
                .remove(&member.name)
                .filter(|known| known.member.version == member.version);
            let seen = match known {
                Some(known) if attentive => known.unchanged(asked),
                Some(known) => Seen {
                    unchanged_since: answered,
                    ..known
                },
                None => Seen::new(member, answered),
            };
            self.seen.insert(seen.member.name.clone(), seen);
        }
    }

    /// Those whose Lease counts.
    pub(super) fn live(&self) -> impl Iterator<Item = &Member> {
        let live = self.seen.values().filter(|seen| !seen.expired);
        live.map(|seen| &seen.member)
    }

    /// When the next Lease expires, unless it changes: to be read then.
    pub(super) fn next_expiry(&self, but: &str) -> Option<Instant> {
        let live = self.seen.values().filter(|seen| !seen.expired);
        live.filter(|seen| seen.member.name != but)
            .map(|seen| seen.unchanged_since + seen.member.duration.whole())
            .min()
    }

    /// Leases that nobody has renewed for so long that anybody may delete them.
    pub(super) fn abandoned(&self) -> impl Iterator<Item = &Member> {
        let old = self.seen.values().filter(|seen| {
            seen.read.saturating_duration_since(seen.unchanged_since)
                >= seen.member.duration.swept_after()
        });
        old.map(|seen| &seen.member)
    }
}

impl Seen {
    const fn new(member: Member, now: Instant) -> Self {
        Self {
            member,
            unchanged_since: now,
            read: now,
            expired: false,
        }
    }

    fn unchanged(self, asked: Instant) -> Self {
        let unchanged_for = asked.saturating_duration_since(self.unchanged_since);
        Self {
            expired: self.expired || unchanged_for >= self.member.duration.whole(),
            read: asked,
            ..self
        }
    }
}

#[cfg(test)]
mod tests;
