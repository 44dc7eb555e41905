//! The lines of one run, compared with its checkpoints.

use std::collections::HashSet;

use super::{LogFault, Position};
use crate::audit::tree::{Frontier, TreeHash};

/// Lines of one run, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct RunLines {
    pub(super) origin: Option<String>,
    pub(super) stopped: bool,
    /// Hashes of lines that the sink did not accept.
    pub(super) lost: HashSet<TreeHash>,
    pub(super) checkpoints: Vec<LoggedCheckpoint>,
    leaves: Vec<Leaf>,
    /// Sequence number of the previous line in the same file.
    last: Option<u64>,
    out_of_order: Vec<Leaf>,
}

#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) seq: u64,
    pub(super) hash: TreeHash,
    pub(super) place: Position,
}

#[derive(Debug)]
pub(super) struct LoggedCheckpoint {
    /// Hash of the line, as if it were a leaf.
    pub(super) hash: TreeHash,
    pub(super) frontier: Result<Frontier, &'static str>,
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
}

/// Numbers of lines with and without proof.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Lines that agree with a checkpoint.
    pub agreeing: u64,
    /// Lines that no checkpoint covers, or whose checkpoint cannot confirm them.
    pub unproven: u64,
}

impl RunLines {
    /// Begins another file, which may be older than the last one.
    pub(super) fn begin_file(&mut self) {
        self.last = None;
    }

    pub(super) fn leaf(&mut self, leaf: Leaf) {
        if self.last.is_some_and(|last| leaf.seq < last) {
            self.out_of_order.push(leaf.clone());
        }
        self.last = Some(leaf.seq);
        self.leaves.push(leaf);
    }

    pub(super) fn verify(mut self, run: String, faults: &mut Vec<LogFault>) -> RunReport {
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
        let checkpoints = readable(&run, self.checkpoints, faults);
        let lines = compare(&run, &leaves, &checkpoints, faults);
        RunReport {
            run,
            origin: self.origin,
            first: leaves.first().map_or(0, |leaf| leaf.seq),
            stopped: self.stopped,
            lines,
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

/// Returns the valid checkpoints in the order of their sizes.
fn readable(
    run: &str,
    checkpoints: Vec<LoggedCheckpoint>,
    faults: &mut Vec<LogFault>,
) -> Vec<(Frontier, Position)> {
    let mut readable = Vec::with_capacity(checkpoints.len());
    for LoggedCheckpoint {
        frontier, place, ..
    } in checkpoints
    {
        match frontier {
            Ok(frontier) => readable.push((frontier, place)),
            Err(why) => faults.push(LogFault::Checkpoint {
                run: run.to_owned(),
                place,
                why,
            }),
        }
    }
    readable.sort_by_key(|(frontier, _)| frontier.size());
    readable
}

fn compare(
    run: &str,
    leaves: &[Leaf],
    checkpoints: &[(Frontier, Position)],
    faults: &mut Vec<LogFault>,
) -> Verified {
    let mut verified = Verified::default();
    let mut rest = leaves;
    // Without the beginning of a log, its lines are proven from the first checkpoint on.
    let mut known = match leaves.first() {
        Some(first) if first.seq > 0 => None,
        Some(_) | None => Some(Frontier::default()),
    };
    for (checkpoint, place) in checkpoints {
        let (under, after) =
            rest.split_at(rest.partition_point(|leaf| leaf.seq < checkpoint.size()));
        rest = after;
        let count = u64::try_from(under.len()).unwrap_or(u64::MAX);
        let from = known.as_ref().map(Frontier::size);
        let whole = gaps(run, from, under, Some((checkpoint.size(), place)), faults);
        let agrees = whole
            && known.take().is_some_and(|mut frontier| {
                under.iter().for_each(|leaf| frontier.push(leaf.hash));
                frontier == *checkpoint
            });
        if agrees {
            verified.agreeing += count;
        } else {
            verified.unproven += count;
            if let (true, Some(_), Some(first), Some(last)) =
                (whole, from, under.first(), under.last())
            {
                faults.push(LogFault::Changed {
                    run: run.to_owned(),
                    first: first.seq,
                    last: last.seq,
                    from: first.place.clone(),
                    checkpoint: place.clone(),
                });
            }
        }
        known = Some(checkpoint.clone());
    }
    gaps(run, known.as_ref().map(Frontier::size), rest, None, faults);
    verified.unproven += u64::try_from(rest.len()).unwrap_or(u64::MAX);
    verified
}

/// Reports the numbers missing from `from` on, up to the size of a checkpoint if there is one. Returns whether none is.
fn gaps(
    run: &str,
    from: Option<u64>,
    leaves: &[Leaf],
    end: Option<(u64, &Position)>,
    faults: &mut Vec<LogFault>,
) -> bool {
    let before = faults.len();
    let mut expected = from.or_else(|| leaves.first().map(|leaf| leaf.seq));
    let present = leaves.iter().map(|leaf| (leaf.seq, &leaf.place));
    for (seq, place) in present.chain(end) {
        if let Some(first) = expected.filter(|expected| *expected < seq) {
            faults.push(LogFault::Missing {
                run: run.to_owned(),
                first,
                last: seq - 1,
                before: place.clone(),
            });
        }
        expected = Some(seq + 1);
    }
    faults.len() == before
}
