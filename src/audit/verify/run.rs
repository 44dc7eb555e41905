//! The lines of one run, compared with its checkpoints.

use std::{collections::HashSet, ops::RangeInclusive};

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
    checkpoints: Vec<LoggedCheckpoint>,
    /// Sizes of the checkpoints.
    sizes: HashSet<u64>,
    leaves: Vec<Leaf>,
    /// The last line in each file so far. The last one is that of the present file.
    ends: Vec<Position>,
    /// Sequence number of the previous leaf in the present file.
    last_leaf: Option<u64>,
    /// The previous checkpoint in the present file.
    last_checkpoint: Option<(u64, Position)>,
    out_of_order: Vec<Leaf>,
    /// Checkpoints in wrong places.
    misplaced: Vec<(Position, &'static str)>,
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
    /// The sequence numbers of the proven lines.
    pub proven: Vec<RangeInclusive<u64>>,
    /// For each key, the last checkpoint signed by it that the lines agree with.
    pub proofs: Vec<ProvenBy>,
}

impl RunReport {
    /// Returns whether the line with this number is proven.
    #[must_use]
    pub fn proves(&self, seq: u64) -> bool {
        // The ranges are in order and do not overlap.
        let next = self.proven.partition_point(|range| *range.end() < seq);
        self.proven
            .get(next)
            .is_some_and(|range| range.contains(&seq))
    }
}

impl RunLines {
    /// Takes the next leaf.
    pub(super) fn leaf(&mut self, leaf: Leaf) {
        self.reach(&leaf.place);
        let covers = |(size, _): &(u64, Position)| leaf.seq < *size;
        if self.last_leaf.is_some_and(|last| leaf.seq < last) {
            self.out_of_order.push(leaf.clone());
        } else if let Some((_, place)) = self.last_checkpoint.take_if(|last| covers(last)) {
            self.misplaced
                .push((place, "it stands before a line that it covers"));
        }
        self.last_leaf = Some(leaf.seq);
        self.leaves.push(leaf);
    }

    /// Takes the next checkpoint.
    pub(super) fn checkpoint(&mut self, checkpoint: LoggedCheckpoint) {
        self.reach(&checkpoint.place);
        if let Ok(Boundary { size, .. }) = &checkpoint.boundary {
            let last = self.last_checkpoint.as_ref();
            let why = if !self.sizes.insert(*size) {
                Some("it occurs twice")
            } else if last.is_some_and(|(last, _)| size < last) {
                Some("it stands behind one over more lines")
            } else {
                None
            };
            let place = checkpoint.place.clone();
            self.misplaced.extend(why.map(|why| (place.clone(), why)));
            self.last_checkpoint = Some((*size, place));
        }
        self.checkpoints.push(checkpoint);
    }

    /// Notes that a line of the run is at this place.
    fn reach(&mut self, place: &Position) {
        match self.ends.last_mut() {
            Some(end) if end.file == place.file => end.line = end.line.max(place.line),
            Some(_) | None => {
                self.ends.push(place.clone());
                self.last_leaf = None;
                self.last_checkpoint = None;
            }
        }
    }

    /// Returns whether a line of the run follows in the same file, or in the same line of the file.
    pub(super) fn goes_on_after(&self, place: &Position) -> bool {
        let mut ends = self.ends.iter();
        ends.any(|end| end.file == place.file && end.line >= place.line)
    }

    /// Returns the hashes of all lines.
    pub(super) fn hashes(&self) -> impl Iterator<Item = TreeHash> {
        let checkpoints = self.checkpoints.iter().map(|line| line.hash);
        self.leaves.iter().map(|leaf| leaf.hash).chain(checkpoints)
    }

    /// Judges the lines by the checkpoints among them and by `heads`, which other runs have recorded.
    pub(super) fn verify(
        self,
        run: String,
        heads: Vec<Boundary>,
        faults: &mut Vec<LogFault>,
        gaps: &mut Vec<LogGap>,
    ) -> RunReport {
        faults.extend(
            self.out_of_order
                .into_iter()
                .map(|leaf| LogFault::OutOfOrder {
                    run: run.clone(),
                    seq: leaf.seq,
                    place: leaf.place,
                }),
        );
        faults.extend(
            self.misplaced
                .into_iter()
                .map(|(place, why)| LogFault::Checkpoint {
                    run: run.clone(),
                    place,
                    why,
                }),
        );
        let leaves = unique(&run, self.leaves, faults);
        let mut found = readable(&run, self.checkpoints, faults);
        found.extend(heads);
        let boundaries = boundaries(&run, self.origin.as_deref(), found, faults);
        let Judgement {
            lines,
            proven,
            proofs,
        } = judge(&run, &leaves, &boundaries, faults, gaps);
        RunReport {
            run,
            origin: self.origin,
            first: leaves.first().map_or(0, |leaf| leaf.seq),
            stopped: self.stopped,
            lines,
            proven,
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
