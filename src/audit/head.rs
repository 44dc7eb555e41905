//! Heads: the newest signed checkpoints of runs, by which replicas bind each other.

use std::collections::BTreeMap;

use super::{
    TreeHead,
    checkpoint::Checkpoint,
    note::{NoteError, SignedNote, VerifierKey},
};

/// Octets of the longest note that is taken for a head. Only an attacker makes longer notes.
const MAX_NOTE: usize = 1024;

/// A signed checkpoint of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedHead {
    note: String,
    run: String,
    size: u64,
    events: Option<u64>,
}

/// The heads of other runs that a log has recorded.
#[derive(Debug, Default)]
pub struct KnownHeads {
    /// By run, and by whether the signature was verified, so that an unverified head cannot hide a verified one.
    recorded: BTreeMap<(String, bool), Recorded>,
}

#[derive(Clone, Copy, Debug)]
struct Recorded {
    size: u64,
    events: Option<u64>,
}

impl TreeHead {
    /// Returns the signed head from a note; `None` if it is not a signed note of this head's text.
    #[must_use]
    pub fn signed(&self, note: &str) -> Option<SignedHead> {
        let parsed = SignedNote::parse(note).ok()?;
        let head = SignedHead::parse(note, Some(self.events()))?;
        (parsed.text() == self.text()).then_some(head)
    }
}

impl SignedHead {
    /// Parses a signed note whose text is a checkpoint of a run. Verifies no signature. `events` is the number of lines that
    /// say more than the heads of others; `None` for a run that has ended, for which the number is not known.
    #[must_use]
    pub fn parse(note: &str, events: Option<u64>) -> Option<Self> {
        if note.len() > MAX_NOTE {
            return None;
        }
        let checkpoint = Checkpoint::parse(SignedNote::parse(note).ok()?.text())?;
        Some(Self {
            note: note.to_owned(),
            run: checkpoint.run()?.to_owned(),
            size: checkpoint.size,
            events,
        })
    }

    /// Returns the signed note.
    #[must_use]
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Returns the name of the run.
    #[must_use]
    pub fn run(&self) -> &str {
        &self.run
    }

    /// Returns the number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Returns the number of lines that say more than the heads of others, if it is known.
    #[must_use]
    pub const fn events(&self) -> Option<u64> {
        self.events
    }

    /// Returns whether the key signed the head.
    ///
    /// # Errors
    /// The signature claims to be of the key and does not verify.
    fn is_signed_by(&self, key: &VerifierKey) -> Result<bool, NoteError> {
        let keys = SignedNote::parse(&self.note)?.verify([key])?.len();
        Ok(keys > 0)
    }
}

impl KnownHeads {
    /// Returns the heads that a log must record: those of other runs that have grown by events since they were recorded.
    /// Growth by the heads of others alone does not count, because the logs of idle replicas would then grow for ever.
    ///
    /// A head of a run that has ended is recorded even if another key signed it, because the key may have changed since. A
    /// wrong signature is never recorded.
    #[must_use]
    pub fn news(&self, seen: &[SignedHead], own_run: &str, key: &VerifierKey) -> Vec<SignedHead> {
        let mut news: BTreeMap<(&str, bool), &SignedHead> = BTreeMap::new();
        for head in seen.iter().filter(|head| head.run != own_run) {
            let Ok(verified) = head.is_signed_by(key) else {
                continue;
            };
            let place = (head.run.as_str(), verified);
            let recordable = verified || head.events.is_none();
            let newer = news.get(&place).is_none_or(|other| other.size < head.size);
            if recordable && newer && self.lacks(head, verified) {
                news.insert(place, head);
            }
        }
        news.into_values().cloned().collect()
    }

    /// Notes that these heads are recorded, and forgets the runs that are no longer seen.
    pub fn learn(&mut self, recorded: &[SignedHead], seen: &[SignedHead], key: &VerifierKey) {
        for head in recorded {
            let verified = head.is_signed_by(key) == Ok(true);
            self.recorded.insert(
                (head.run.clone(), verified),
                Recorded {
                    size: head.size,
                    events: head.events,
                },
            );
        }
        self.recorded
            .retain(|(run, _), _| seen.iter().any(|head| head.run == *run));
    }

    fn lacks(&self, head: &SignedHead, verified: bool) -> bool {
        let known = self.recorded.get(&(head.run.clone(), verified));
        known.is_none_or(|known| {
            let by_events = match (known.events, head.events) {
                (Some(known), Some(now)) => now > known,
                (None, _) | (_, None) => true,
            };
            head.size > known.size && by_events
        })
    }
}

#[cfg(test)]
mod tests;
