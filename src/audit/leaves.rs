//! The leaves of each run in the order of the tree, as far as its checkpoints confirm them.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io,
};

use serde::Deserialize;

use super::{
    checkpoint::Checkpoint,
    filter::plain_serial,
    read::parsed,
    tree::{Frontier, TreeHash},
};

/// A leaf that a checkpoint confirms.
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

/// Sorts the lines of any number of runs, in any order of files, and hands out the leaves that a checkpoint confirms.
///
/// Lines are kept in memory until then: those since the last checkpoint, or more if files are read out of order.
#[derive(Debug, Default)]
pub struct Leaves {
    runs: BTreeMap<String, RunLeaves>,
}

/// The confirmed part of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirmed {
    /// The run.
    pub run: String,
    /// The last checkpoint that its lines agree with, as it stands in the log; empty if there is none.
    pub checkpoint: String,
    /// Number of leaves under it.
    pub size: u64,
    /// Number of leaves that are present and not confirmed.
    pub unconfirmed: u64,
}

#[derive(Debug, Default)]
struct RunLeaves {
    /// The confirmed leaves.
    frontier: Frontier,
    checkpoint: String,
    /// Lines by their numbers. A line that the sink refused has the number of the one after it.
    held: BTreeMap<u64, Vec<(TreeHash, Vec<u8>)>>,
    lost: HashSet<TreeHash>,
    /// Checkpoints that are not reached yet, by size.
    ahead: BTreeMap<u64, (TreeHash, String)>,
    /// The lines disagree with a checkpoint. They are compared again at the end, when all files are read.
    stuck: bool,
}

/// The fields by which a line is found.
#[derive(Deserialize)]
struct About<'a> {
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
        is_about(self.octets, event, serial)
    }
}

/// Returns whether a line reports this event of the certificate with this serial number, in the form of [`plain_serial`].
#[must_use]
pub fn is_about(line: &[u8], event: &str, serial: &str) -> bool {
    // Most lines are about other certificates. The search saves parsing them.
    let text = str::from_utf8(line)
        .ok()
        .filter(|text| text.contains(serial));
    let about = text.and_then(|text| serde_json::from_str::<About<'_>>(text).ok());
    about.is_some_and(|about| {
        about.event == event && about.serial.as_deref().map(plain_serial).as_deref() == Some(serial)
    })
}

impl Leaves {
    /// Takes the next line of a file. Calls `give` with the leaves that it confirms.
    ///
    /// # Errors
    /// The error of `give`.
    pub fn take(
        &mut self,
        line: &[u8],
        give: &mut impl FnMut(ConfirmedLeaf<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let Some((octets, head)) = parsed(line) else {
            return Ok(());
        };
        if !self.runs.contains_key(&*head.run) {
            self.runs.insert(head.run.to_string(), RunLeaves::default());
        }
        let Some(run) = self.runs.get_mut(&*head.run) else {
            return Ok(());
        };
        run.lost
            .extend(head.lost.as_deref().and_then(TreeHash::parse));
        match (head.seq, head.checkpoint) {
            (Some(seq), None) if seq >= run.frontier.size() => {
                let leaf = (TreeHash::of_leaf(octets), octets.to_vec());
                run.held.entry(seq).or_default().push(leaf);
            }
            (None, Some(note)) => {
                if let Some(checkpoint) = Checkpoint::of_note(&note)
                    && checkpoint.size > run.frontier.size()
                {
                    run.ahead.insert(checkpoint.size, (checkpoint.root, note));
                    if !run.stuck {
                        run.stuck = !run.advance(&head.run, give)?;
                    }
                }
            }
            (Some(_) | None, _) => (),
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
            let Some((hash, _)) = self.leaf(frontier.size()) else {
                break;
            };
            frontier.push(*hash);
            if let Some((root, note)) = self.ahead.get(&frontier.size())
                && frontier.root() == *root
            {
                reached = Some((frontier.clone(), note.clone()));
            }
        }
        let is_there = frontier.size() == furthest;
        let Some((frontier, note)) = reached else {
            return Ok(!is_there);
        };
        for index in self.frontier.size()..frontier.size() {
            if let Some((hash, octets)) = self.leaf(index) {
                give(ConfirmedLeaf {
                    run: name,
                    index,
                    octets,
                    hash: *hash,
                })?;
            }
            self.held.remove(&index);
        }
        self.ahead = self.ahead.split_off(&(frontier.size() + 1));
        (self.frontier, self.checkpoint) = (frontier, note);
        Ok(self.ahead.is_empty() || !is_there)
    }

    fn leaf(&self, index: u64) -> Option<&(TreeHash, Vec<u8>)> {
        let mut held = self.held.get(&index)?.iter();
        held.find(|(hash, _)| !self.lost.contains(hash))
    }
}

#[cfg(test)]
mod tests;
