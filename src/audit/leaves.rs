//! The leaves of each run in the order of the tree, as far as its signed checkpoints confirm them.

use std::{borrow::Cow, collections::BTreeMap, io};

use serde::Deserialize;

use super::{
    checkpoint::Checkpoint,
    filter::plain_serial,
    note::{SignedNote, VerifierKey},
    read::{LineKind, ParsedLine, parsed},
    tree::{Frontier, TreeHash},
};

/// A leaf that a signed checkpoint confirms.
#[derive(Clone, Copy, Debug)]
pub struct ConfirmedLeaf<'a> {
    /// The run.
    pub run: &'a str,
    /// Number of the leaf.
    pub index: u64,
    /// The line.
    pub octets: &'a [u8],
    pub(super) hash: TreeHash,
}

/// Sorts the lines of any number of runs, in any order of files, and hands out the leaves that a signed checkpoint confirms.
/// Anybody can make a checkpoint without a signature, so such checkpoints confirm nothing.
///
/// Lines are kept in memory until then: those since the last checkpoint, or more if files are read out of order.
#[derive(Debug, Default)]
pub struct Leaves {
    /// The keys whose signatures count; those of any key if there are none.
    keys: Vec<VerifierKey>,
    runs: BTreeMap<String, RunLeaves>,
}

/// The confirmed part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The run.
    pub run: String,
    /// The last signed checkpoint that its lines agree with, as it stands in the log; empty if there is none.
    pub checkpoint: String,
    /// Number of leaves under it.
    pub size: u64,
    /// Number of leaves that are present and not confirmed.
    pub unconfirmed: u64,
    /// Whether the run has a checkpoint that is signed, by one of the keys if keys were given.
    pub signed: bool,
}

#[derive(Debug, Default)]
struct RunLeaves {
    /// The confirmed leaves.
    frontier: Frontier,
    checkpoint: String,
    /// Lines by their numbers.
    held: BTreeMap<u64, (TreeHash, Vec<u8>)>,
    /// Signed checkpoints that are not reached yet, by size. Without a key, several may claim one size.
    ahead: BTreeMap<u64, Vec<(TreeHash, String)>>,
    signed: bool,
    /// The lines disagree with a checkpoint. They are compared again at the end, when all files are read.
    stuck: bool,
}

/// The fields by which a line is found.
#[derive(Deserialize)]
struct About<'a> {
    #[serde(borrow)]
    run: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    #[serde(borrow)]
    serial: Option<Cow<'a, str>>,
}

impl ConfirmedLeaf<'_> {
    /// Returns whether the line reports this event of the certificate with this serial number, in the form of
    /// [`plain_serial`].
    #[must_use]
    pub fn is_about(&self, event: &str, serial: &str) -> bool {
        run_about(self.octets, event, serial).is_some()
    }
}

/// Returns the run of a line that reports this event of the certificate with this serial number, in the form of
/// [`plain_serial`].
#[must_use]
pub fn run_about<'a>(line: &'a [u8], event: &str, serial: &str) -> Option<Cow<'a, str>> {
    // Most lines are about other certificates. The search saves parsing them.
    let text = str::from_utf8(line)
        .ok()
        .filter(|text| text.contains(serial))?;
    let about: About<'_> = serde_json::from_str(text).ok()?;
    let is_it = about.event == event
        && about.serial.as_deref().map(plain_serial).as_deref() == Some(serial);
    is_it.then_some(about.run)
}

impl Leaves {
    /// Returns a reader for which only checkpoints that one of these keys signed count. Without a key, every signature counts,
    /// and somebody has to verify it.
    #[must_use]
    pub fn trusting(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            runs: BTreeMap::new(),
        }
    }

    /// Takes the next line of a file. Calls `give` with the leaves that it confirms.
    ///
    /// # Errors
    /// The error of `give`.
    pub fn take(
        &mut self,
        line: &[u8],
        give: &mut impl FnMut(ConfirmedLeaf<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some(ParsedLine { octets, head, .. }) = parsed(line) else {
            return Ok(());
        };
        let Some(kind) = head.kind() else {
            return Ok(());
        };
        if !self.runs.contains_key(&*head.run) {
            self.runs.insert(head.run.to_string(), RunLeaves::default());
        }
        let Some(run) = self.runs.get_mut(&*head.run) else {
            return Ok(());
        };
        match kind {
            LineKind::Leaf(seq) => {
                if seq >= run.frontier.size() {
                    let leaf = (TreeHash::of_leaf(octets), octets.to_vec());
                    run.held.entry(seq).or_insert(leaf);
                }
            }
            LineKind::Checkpoint(note) => {
                if let Some(checkpoint) = signed(note, &self.keys) {
                    run.signed = true;
                    if checkpoint.size > run.frontier.size() {
                        let same = run.ahead.entry(checkpoint.size).or_default();
                        same.push((checkpoint.root, note.to_owned()));
                        if !run.stuck {
                            run.stuck = !run.advance(&head.run, give)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Calls `give` with the leaves that are confirmed now that all files were read.
    ///
    /// # Errors
    /// The error of `give`.
    pub fn finish(
        self,
        give: &mut impl FnMut(ConfirmedLeaf<'_>) -> io::Result<()>,
    ) -> io::Result<Vec<Confirmed>> {
        let mut all = Vec::with_capacity(self.runs.len());
        for (name, mut run) in self.runs {
            run.advance(&name, give)?;
            all.push(Confirmed {
                run: name,
                checkpoint: run.checkpoint,
                size: run.frontier.size(),
                unconfirmed: u64::try_from(run.held.len()).unwrap_or(u64::MAX),
                signed: run.signed,
            });
        }
        Ok(all)
    }
}

impl RunLeaves {
    /// Goes on to the last checkpoint that the lines agree with. Returns `false` if every line under the last checkpoint is
    /// present and they disagree with it.
    fn advance(
        &mut self,
        name: &str,
        give: &mut impl FnMut(ConfirmedLeaf<'_>) -> io::Result<()>,
    ) -> io::Result<bool> {
        let Some((&furthest, _)) = self.ahead.last_key_value() else {
            return Ok(true);
        };
        let mut frontier = self.frontier.clone();
        let mut reached = None;
        while frontier.size() < furthest {
            let Some((hash, _)) = self.held.get(&frontier.size()) else {
                break;
            };
            frontier.push(*hash);
            let Some(there) = self.ahead.get(&frontier.size()) else {
                continue;
            };
            let root = frontier.root();
            if let Some((_, note)) = there.iter().find(|(claimed, _)| *claimed == root) {
                reached = Some((frontier.clone(), note.clone()));
            }
        }
        let is_there = frontier.size() == furthest;
        let Some((frontier, note)) = reached else {
            return Ok(!is_there);
        };
        for index in self.frontier.size()..frontier.size() {
            if let Some((hash, octets)) = self.held.remove(&index) {
                give(ConfirmedLeaf {
                    run: name,
                    index,
                    octets: &octets,
                    hash,
                })?;
            }
        }
        self.ahead = self.ahead.split_off(&(frontier.size() + 1));
        (self.frontier, self.checkpoint) = (frontier, note);
        Ok(self.ahead.is_empty() || !is_there)
    }
}

/// Returns a checkpoint if it is signed: by one of the keys, or by anybody if there are none.
fn signed(note: &str, keys: &[VerifierKey]) -> Option<Checkpoint> {
    let parsed = SignedNote::parse(note).ok()?;
    let signers = parsed.verify(keys).ok()?;
    (keys.is_empty() || !signers.is_empty()).then_some(())?;
    Checkpoint::parse(parsed.text())
}

#[cfg(test)]
mod tests;
