//! The entries of one shard in memory, and what a change of them writes. Pure.

use std::{collections::BTreeMap, io, mem, sync::Arc};

use jiff::{SignedDuration, Timestamp};

use super::{
    RegisterError,
    asked::{AskedChange, ChangeOutcome, Recorded, Released},
    entry::{Entry, Kept, pack},
    head::{
        CRL_OCTETS_PER_CHUNK, ChunkRef, ENTRIES_PER_CHUNK, EntryChange, RECENT, RegisterHead,
        ShardKey, StoredCrl,
    },
};
use crate::issuance::crl::{CrlNumber, MAX_ENTRIES, RevocationReason, Revoked, SerialNumber};

/// Entries that one import adds at a time. A longer list of changes would be searched for too long.
const IMPORTED_AT_ONCE: usize = 500;
/// Most entries that one CRL drops because their certificates have ended.
const DROPPED_AT_ONCE: usize = 10_000;
/// Longest time by which the clocks of two replicas may differ, or a clock may be set back, without effect on what is dropped.
const CLOCK_MARGIN: SignedDuration = SignedDuration::from_hours(1);

/// The head of a shard, with the content of every chunk of entries that it lists.
#[derive(Clone, Debug)]
pub(super) struct Shard {
    pub(super) head: RegisterHead,
    chunks: Vec<Arc<Chunk>>,
}

/// A chunk of entries.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) name: String,
    /// Sorted by serial number.
    pub(super) entries: Vec<Kept>,
}

/// A chunk that must be stored before a head that lists it.
#[derive(Debug)]
pub(super) struct NewChunk {
    pub(super) name: String,
    pub(super) octets: Vec<u8>,
}

/// What to store: first the chunks, then the head, on the condition that the stored head is still the one before.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) shard: Shard,
    pub(super) chunks: Vec<NewChunk>,
}

/// A number for a CRL, and the entries to put on it.
#[derive(Clone, Debug)]
pub(super) struct Reservation {
    pub(super) number: CrlNumber,
    /// Revision of the entries.
    pub(super) revision: u64,
    pub(super) revoked: Vec<Revoked>,
    /// Entries that are not on the CRL any more, with their revisions.
    dropped: Vec<(SerialNumber, u64)>,
}

impl Shard {
    /// Returns an empty shard.
    pub(super) const fn new(shards: u16) -> Self {
        Self {
            head: RegisterHead::new(shards),
            chunks: Vec::new(),
        }
    }

    /// Joins a head with its chunks, in the order of the head. `None` if they are other chunks.
    pub(super) fn of(head: RegisterHead, chunks: Vec<Arc<Chunk>>) -> Option<Self> {
        let same = head.chunks.len() == chunks.len()
            && head
                .chunks
                .iter()
                .zip(&chunks)
                .all(|(listed, chunk)| listed.name == chunk.name);
        same.then_some(Self { head, chunks })
    }

    /// Returns the chunk of this name, if the shard has it.
    pub(super) fn chunk(&self, name: &str) -> Option<&Arc<Chunk>> {
        self.chunks.iter().find(|chunk| chunk.name == name)
    }

    /// Returns the entry with this serial number.
    pub(super) fn get(&self, serial: &SerialNumber) -> Option<&Kept> {
        for change in self.head.recent.iter().rev() {
            if change.serial() == serial {
                return match change {
                    EntryChange::Put(kept) => Some(kept),
                    EntryChange::Remove(_) => None,
                };
            }
        }
        self.chunks.iter().find_map(|chunk| chunk.get(serial))
    }

    /// Returns all entries, in no particular order.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Kept> {
        let latest = latest(&self.head.recent);
        let new: Vec<&Kept> = latest.values().filter_map(|change| change.put()).collect();
        let old = self.chunks.iter().flat_map(|chunk| &chunk.entries);
        old.filter(move |kept| !latest.contains_key(kept.serial()))
            .chain(new)
    }

    /// Returns the number of entries.
    pub(super) fn count(&self) -> usize {
        let chunks: usize = self.chunks.iter().map(|chunk| chunk.entries.len()).sum();
        let in_chunks = |serial| self.chunks.iter().any(|chunk| chunk.get(serial).is_some());
        let mut count = chunks;
        for (serial, change) in latest(&self.head.recent) {
            match (change.put(), in_chunks(serial)) {
                (Some(_), false) => count += 1,
                (None, true) => count -= 1,
                (Some(_), true) | (None, false) => {}
            }
        }
        count
    }

    /// Does what is asked, in order. Returns the outcomes, and what to store; `None` if nothing changes.
    pub(super) fn ask(
        &self,
        key: &ShardKey,
        asked: &[AskedChange],
    ) -> io::Result<(Vec<ChangeOutcome>, Option<Write>)> {
        let mut new = self.clone();
        let mut count = self.count();
        let mut outcomes = Vec::with_capacity(asked.len());
        for one in asked {
            let revision = new.head.revision + 1;
            let (outcome, change) = match one {
                AskedChange::Revoke(entry) => match new.get(entry.revoked.serial()) {
                    Some(known) if is_same(entry, &known.entry) => {
                        (ChangeOutcome::Recorded(Recorded::New), None)
                    }
                    Some(known) if !replaces(entry, &known.entry) => {
                        let known = known.entry.clone();
                        (ChangeOutcome::Recorded(Recorded::Already(known)), None)
                    }
                    None if count >= MAX_ENTRIES => (ChangeOutcome::Full, None),
                    known => {
                        count += usize::from(known.is_none());
                        let entry = entry.clone();
                        let put = EntryChange::Put(Box::new(Kept { revision, entry }));
                        (ChangeOutcome::Recorded(Recorded::New), Some(put))
                    }
                },
                AskedChange::Release(serial) => match new.get(serial) {
                    None => (ChangeOutcome::Released(Released::NotRevoked), None),
                    Some(known) if !is_hold(&known.entry) => {
                        let known = known.entry.clone();
                        (ChangeOutcome::Released(Released::Final(known)), None)
                    }
                    Some(_) => {
                        count -= 1;
                        let remove = EntryChange::Remove(*serial);
                        (ChangeOutcome::Released(Released::Done), Some(remove))
                    }
                },
            };
            outcomes.push(outcome);
            if let Some(change) = change {
                new.head.revision = revision;
                if matches!(change, EntryChange::Remove(_)) {
                    new.head.released = revision;
                }
                new.head.recent.push(change);
            }
        }
        if new.head.revision == self.head.revision {
            return Ok((outcomes, None));
        }
        Ok((outcomes, Some(new.written(key)?)))
    }

    /// Reserves the number of a CRL whose terms give it this validity. `None` if there is no higher number.
    pub(super) fn reserve(
        &self,
        validity: SignedDuration,
        now: Timestamp,
    ) -> Option<(Reservation, Write)> {
        let number = self.head.next_number(now)?;
        let is_over = |kept: &Kept| self.is_over(kept, validity, now);
        let (mut over, mut on): (Vec<&Kept>, Vec<&Kept>) =
            self.entries().partition(|kept| is_over(kept));
        on.extend(over.drain(DROPPED_AT_ONCE.min(over.len())..));
        let reservation = Reservation {
            number,
            revision: self.head.revision,
            revoked: on.iter().map(|kept| kept.entry.revoked).collect(),
            dropped: over
                .iter()
                .map(|kept| (*kept.serial(), kept.revision))
                .collect(),
        };
        let mut shard = self.clone();
        shard.head.reserved = number.get();
        shard.head.edition += 1;
        let write = Write {
            shard,
            chunks: Vec::new(),
        };
        Some((reservation, write))
    }

    /// Publishes a CRL that was signed for a reservation. `crl` needs no chunks; they are made here. Returns `None` if another
    /// number has been reserved since: that CRL must never be served.
    pub(super) fn publish(
        &self,
        key: &ShardKey,
        reservation: &Reservation,
        mut crl: StoredCrl,
        der: &[u8],
    ) -> io::Result<Option<Write>> {
        if self.head.reserved != reservation.number.get() {
            return Ok(None);
        }
        let mut new = self.clone();
        let edition = self.head.edition + 1;
        let parts: Vec<NewChunk> = der
            .chunks(CRL_OCTETS_PER_CHUNK)
            .enumerate()
            .map(|(index, part)| NewChunk {
                name: format!("{}-{index}", key.chunk_name(edition, part)),
                octets: part.to_vec(),
            })
            .collect();
        crl.chunks = parts.iter().map(|part| part.name.clone()).collect();
        new.head.crl = Some(crl);
        for (serial, revision) in &reservation.dropped {
            if self
                .get(serial)
                .is_some_and(|kept| kept.revision == *revision)
            {
                new.head.recent.push(EntryChange::Remove(*serial));
            }
        }
        let mut write = new.written(key)?;
        write.chunks.extend(parts);
        Ok(Some(write))
    }

    /// Takes over the entries and the number of a newer CRL. An entry that is already there stays, unless it only puts the
    /// certificate on hold. Returns how many entries are new, and what to store.
    ///
    /// # Errors
    /// The shard has no room for all of them, so that its next CRL would lack some.
    pub(super) fn import(
        &self,
        key: &ShardKey,
        number: u64,
        revoked: &[Revoked],
    ) -> Result<(usize, Write), RegisterError> {
        let mut write = self.clone().written(key)?;
        let mut added = 0;
        for some in revoked.chunks(IMPORTED_AT_ONCE) {
            let asked: Vec<_> = some.iter().copied().map(Entry::imported).collect();
            let asked: Vec<_> = asked.into_iter().map(AskedChange::Revoke).collect();
            let (outcomes, next) = write.shard.ask(key, &asked)?;
            if outcomes.contains(&ChangeOutcome::Full) {
                return Err(RegisterError::Full(*key));
            }
            let is_new =
                |outcome: &&ChangeOutcome| **outcome == ChangeOutcome::Recorded(Recorded::New);
            added += outcomes.iter().filter(is_new).count();
            if let Some(Write { shard, chunks }) = next {
                write.shard = shard;
                write.chunks.extend(chunks);
            }
        }
        let listed = &write.shard;
        write
            .chunks
            .retain(|chunk| listed.chunk(&chunk.name).is_some());
        let head = &mut write.shard.head;
        head.reserved = head.reserved.max(number);
        // The next CRL is due at once, even if the register had every entry.
        head.revision += 1;
        Ok((added, write))
    }

    /// Returns whether an entry can be dropped: the certificate has ended, a CRL that was made after that end has shown it
    /// (RFC 5280, section 3.3), and one more validity of a CRL has passed.
    fn is_over(&self, kept: &Kept, validity: SignedDuration, now: Timestamp) -> bool {
        let (Some(not_after), Some(crl)) = (kept.entry.not_after, &self.head.crl) else {
            return false;
        };
        let shown = not_after < crl.this_update && kept.revision <= crl.revision;
        let wait = validity.saturating_add(CLOCK_MARGIN);
        shown && not_after.duration_until(now) > wait
    }

    /// Makes the next edition of the head. If the head has too many changes, moves them into chunks.
    fn written(mut self, key: &ShardKey) -> io::Result<Write> {
        self.head.edition += 1;
        let mut written = Vec::new();
        if self.head.recent.len() > RECENT {
            self.settle(key, &mut written)?;
        }
        Ok(Write {
            shard: self,
            chunks: written,
        })
    }

    /// Moves all changes from the head into chunks. Chunks without a change stay as they are.
    fn settle(&mut self, key: &ShardKey, written: &mut Vec<NewChunk>) -> io::Result<()> {
        let recent = mem::take(&mut self.head.recent);
        let latest = latest(&recent);
        let added = latest.values().filter_map(|change| change.put());
        let mut added: Vec<Kept> = added.cloned().collect();
        let changed = |kept: &Kept| latest.contains_key(kept.serial());
        let mut chunks = Vec::with_capacity(self.chunks.len() + 1);
        for chunk in mem::take(&mut self.chunks) {
            let takes_some = !added.is_empty() && chunk.entries.len() < ENTRIES_PER_CHUNK;
            if !takes_some && !chunk.entries.iter().any(changed) {
                chunks.push(chunk);
                continue;
            }
            let stay = chunk.entries.iter().filter(|kept| !changed(kept));
            let mut entries: Vec<Kept> = stay.cloned().collect();
            let room = ENTRIES_PER_CHUNK.saturating_sub(entries.len());
            entries.extend(added.drain(..room.min(added.len())));
            self.new_chunk(key, entries, &mut chunks, written)?;
        }
        while !added.is_empty() {
            let some = added.drain(..ENTRIES_PER_CHUNK.min(added.len())).collect();
            self.new_chunk(key, some, &mut chunks, written)?;
        }
        self.head.chunks = chunks
            .iter()
            .map(|chunk| ChunkRef {
                name: chunk.name.clone(),
                entries: chunk.entries.len(),
            })
            .collect();
        self.chunks = chunks;
        Ok(())
    }

    fn new_chunk(
        &self,
        key: &ShardKey,
        mut entries: Vec<Kept>,
        chunks: &mut Vec<Arc<Chunk>>,
        written: &mut Vec<NewChunk>,
    ) -> io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        entries.sort_by(|one, other| one.serial().cmp(other.serial()));
        let octets = pack(&entries)?;
        let name = key.chunk_name(self.head.edition, &octets);
        written.push(NewChunk {
            name: name.clone(),
            octets,
        });
        chunks.push(Arc::new(Chunk { name, entries }));
        Ok(())
    }
}

impl Chunk {
    fn get(&self, serial: &SerialNumber) -> Option<&Kept> {
        let at = self
            .entries
            .binary_search_by(|kept| kept.serial().cmp(serial));
        self.entries.get(at.ok()?)
    }
}

/// Returns the last change of each entry.
fn latest(recent: &[EntryChange]) -> BTreeMap<&SerialNumber, &EntryChange> {
    recent
        .iter()
        .map(|change| (change.serial(), change))
        .collect()
}

fn is_hold(entry: &Entry) -> bool {
    entry.revoked.reason() == RevocationReason::CertificateHold
}

/// Returns whether an entry is stored already, because the answer to an earlier write of it was lost.
fn is_same(entry: &Entry, known: &Entry) -> bool {
    entry.by.is_some() && entry.by == known.by && entry.revoked.reason() == known.revoked.reason()
}

/// Returns whether an entry takes the place of the known one: only a certificate that is on hold can be revoked again.
fn replaces(entry: &Entry, known: &Entry) -> bool {
    is_hold(known) && !is_hold(entry)
}
