//! The lines of one run, compared with its checkpoints.

use std::{collections::HashSet, sync::Arc};

use super::{
    LogFault, LogGap, Position,
    boundary::Boundary,
    judge::{Judgement, Leaf, ProvenBy, Verified, boundaries, judge},
};
use crate::audit::tree::TreeHash;

/// Lines of one run, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct RunLines {
    pub(super) origin: Option<String>,
    pub(super) stopped: bool,
    /// Hashes of lines that the sink did not accept.
    pub(super) lost: HashSet<TreeHash>,
    pub(super) checkpoints: Vec<LoggedCheckpoint>,
    leaves: Vec<Leaf>,
    /// File and sequence number of the previous line.
    last: Option<(Arc<str>, u64)>,
    out_of_order: Vec<Leaf>,
}

#[derive(Debug)]
pub(super) struct LoggedCheckpoint {
    /// Hash of the line, as if it were a leaf.
    pub(super) hash: TreeHash,
    pub(super) boundary: Result<Boundary, &'static str>,
    pub(super) place: Position,
}

/// Result of the verification of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunReport {
    /// Name of the run.
    pub run: String,
    /// Name of the log, if its first line is there.
    pub origin: Option<String>,
    /// Sequence number of the first line that is there. The lines before it may be in files that were not read.
    pub first: u64,
    /// Whether the run's last line is there.
    pub stopped: bool,
    /// How many lines are there, and how many of them are proven.
    pub lines: Verified,
    /// For each key, the last checkpoint signed by it that the lines agree with.
    pub proofs: Vec<ProvenBy>,
}

impl RunLines {
    pub(super) fn leaf(&mut self, leaf: Leaf) {
        let last = self.last.as_ref();
        if last.is_some_and(|(file, last)| *file == leaf.place.file && leaf.seq < *last) {
            self.out_of_order.push(leaf.clone());
        }
        self.last = Some((Arc::clone(&leaf.place.file), leaf.seq));
        self.leaves.push(leaf);
    }

    /// Judges the lines by the checkpoints among them and by `heads`, which other runs have recorded.
    pub(super) fn verify(
        mut self,
        run: String,
        heads: Vec<Boundary>,
        faults: &mut Vec<LogFault>,
        gaps: &mut Vec<LogGap>,
    ) -> RunReport {
        let is_lost = |hash: &TreeHash| self.lost.contains(hash);
        self.out_of_order.retain(|leaf| !is_lost(&leaf.hash));
        self.leaves.retain(|leaf| !is_lost(&leaf.hash));
        self.checkpoints.retain(|line| !is_lost(&line.hash));
        faults.extend(
            self.out_of_order
                .drain(..)
                .map(|leaf| LogFault::OutOfOrder {
                    run: run.clone(),
                    seq: leaf.seq,
                    place: leaf.place,
                }),
        );
        let leaves = unique(&run, self.leaves, faults);
        let mut found = readable(&run, self.checkpoints, faults);
        found.extend(heads);
        let boundaries = boundaries(&run, self.origin.as_deref(), found, faults);
        let Judgement { lines, proofs } = judge(&run, &leaves, &boundaries, faults, gaps);
        RunReport {
            run,
            origin: self.origin,
            first: leaves.first().map_or(0, |leaf| leaf.seq),
            stopped: self.stopped,
            lines,
            proofs,
        }
    }
}

/// Returns the leaves in the order of their numbers, each number once.
fn unique(run: &str, mut leaves: Vec<Leaf>, faults: &mut Vec<LogFault>) -> Vec<Leaf> {
    leaves.sort_by_key(|leaf| leaf.seq);
    let mut unique: Vec<Leaf> = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        match unique.last() {
            Some(first) if first.seq == leaf.seq => faults.push(LogFault::Repeated {
                run: run.to_owned(),
                seq: leaf.seq,
                first: first.place.clone(),
                second: leaf.place,
            }),
            _ => unique.push(leaf),
        }
    }
    unique
}

/// Returns the checkpoints that do not contradict themselves.
fn readable(
    run: &str,
    checkpoints: Vec<LoggedCheckpoint>,
    faults: &mut Vec<LogFault>,
) -> Vec<Boundary> {
    let mut readable = Vec::with_capacity(checkpoints.len());
    for LoggedCheckpoint {
        boundary, place, ..
    } in checkpoints
    {
        match boundary {
            Ok(boundary) => readable.push(boundary),
            Err(why) => faults.push(LogFault::Checkpoint {
                run: run.to_owned(),
                place,
                why,
            }),
        }
    }
    readable
}
