//! The replicas as their Leases show them, timed by this replica's own monotonic clock.

use std::{collections::BTreeMap, time::Instant};

use super::{
    LeaseDuration,
    lease::{Member, Version},
};
use crate::audit::SignedHead;

/// All replicas whose Leases were seen, this one included.
///
/// *Guarantees*: a Lease expires only when a reader that has been reading regularly *reads* it again, unchanged for the
/// Lease's own duration. No clock of another machine is used. A reader that slept, or could not reach the API server,
/// takes no replica for gone because of what it missed.
#[derive(Debug)]
pub(super) struct Members {
    /// Duration of the reader's own Lease.
    duration: LeaseDuration,
    seen: BTreeMap<String, Seen>,
    last_read: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    member: Member,
    /// Since when this reader, reading regularly, has known the resourceVersion that the Lease still has.
    unchanged_since: Instant,
    /// When it was last read unchanged.
    read: Instant,
    expired: bool,
}

/// One reading of all Leases.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) members: Vec<Member>,
    /// A moment before the API server was asked; the answer is at least as new.
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

    /// Takes in one Lease that the watch reports. Returns the signed checkpoint that it showed, if it shows one of another run
    /// now, or none: its process has ended, and another one has taken it.
    pub(super) fn saw(&mut self, member: Member, now: Instant) -> Option<SignedHead> {
        match self.seen.get(&member.name) {
            Some(known) if known.member.version == member.version => None,
            Some(_) | None => {
                let name = member.name.clone();
                let before = self.seen.insert(name, Seen::new(member.clone(), now))?;
                before.member.head_gone(Some(&member))
            }
        }
    }

    /// Removes a deleted Lease.
    pub(super) fn went(&mut self, name: &str, version: &Version) {
        if self
            .seen
            .get(name)
            .is_some_and(|known| known.member.version.uid == version.uid)
        {
            self.seen.remove(name);
        }
    }

    /// Takes in a reading of all Leases and returns the signed checkpoints that they no longer show, as [`saw`](Self::saw)
    /// does, and those of Leases that are gone. Only here can a Lease expire.
    pub(super) fn read(&mut self, reading: Reading) -> Vec<SignedHead> {
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
        let mut gone = Vec::new();
        for member in members {
            let known = before.remove(&member.name);
            gone.extend(
                known
                    .as_ref()
                    .and_then(|known| known.member.head_gone(Some(&member))),
            );
            let known = known.filter(|known| known.member.version == member.version);
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
        gone.extend(
            before
                .into_values()
                .filter_map(|seen| seen.member.head_gone(None)),
        );
        gone
    }

    /// Returns the replicas whose Leases have not expired.
    pub(super) fn live(&self) -> impl Iterator<Item = &Member> {
        let live = self.seen.values().filter(|seen| !seen.expired);
        live.map(|seen| &seen.member)
    }

    /// Returns the signed checkpoints in all Leases but the one of this name.
    pub(super) fn heads(&self, but: &str) -> impl Iterator<Item = &SignedHead> {
        let others = self
            .seen
            .values()
            .filter(move |seen| seen.member.name != but);
        others.filter_map(|seen| seen.member.head.as_ref())
    }

    /// Returns when the next Lease other than `but` expires unless it changes. The Leases must be read again then.
    pub(super) fn next_expiry(&self, but: &str) -> Option<Instant> {
        let live = self.seen.values().filter(|seen| !seen.expired);
        live.filter(|seen| seen.member.name != but)
            .map(|seen| seen.unchanged_since + seen.member.duration.whole())
            .min()
    }

    /// Returns the Leases that have gone without renewal for so long that any replica may delete them.
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
