//! Verification of issuance logs: which lines agree with the checkpoints, and where others were changed, removed, repeated or
//! moved.

mod run;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    fmt,
    io::{self, BufRead},
    sync::Arc,
};

use serde::Deserialize;

use self::run::{Leaf, LoggedCheckpoint, RunLines};
pub use self::run::{RunReport, Verified};
use super::{
    checkpoint::Checkpoint,
    tree::{Frontier, TreeHash},
};

/// Every line of a log begins like this.
const BEGINNING: &[u8] = b"{\"time\":\"";

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

/// A fault that was found in a log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogFault {
    /// Lines lack between two that are there.
    #[error("run {run}: lines {first} to {last} of the log are missing before {before}")]
    Missing {
        /// The run.
        run: String,
        /// Sequence number of the first missing line.
        first: u64,
        /// Sequence number of the last missing line.
        last: u64,
        /// The next line that is there.
        before: Position,
    },
    /// Two lines have the same sequence number.
    #[error("run {run}: line {seq} of the log is there twice: {first} and {second}")]
    Repeated {
        /// The run.
        run: String,
        /// The sequence number.
        seq: u64,
        /// Where the number is used first.
        first: Position,
        /// Where it is used again.
        second: Position,
    },
    /// A line stands before one that was written earlier.
    #[error("run {run}: line {seq} of the log is out of order at {place}")]
    OutOfOrder {
        /// The run.
        run: String,
        /// The sequence number.
        seq: u64,
        /// Where the line is.
        place: Position,
    },
    /// The lines before a checkpoint have another root.
    #[error(
        "run {run}: one of the lines {first} to {last} of the log, from {from}, was changed: the checkpoint at {checkpoint} has another root"
    )]
    Changed {
        /// The run.
        run: String,
        /// Sequence number of the first line under the checkpoint and none before it.
        first: u64,
        /// Sequence number of the last line under the checkpoint.
        last: u64,
        /// Where the first of them is.
        from: Position,
        /// Where the checkpoint is.
        checkpoint: Position,
    },
    /// A checkpoint that contradicts itself.
    #[error("run {run}: the checkpoint at {place} is not one: {why}")]
    Checkpoint {
        /// The run.
        run: String,
        /// Where the checkpoint is.
        place: Position,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Reads logs of any number of runs and replicas, in any order of files, and verifies them.
#[derive(Debug, Default)]
pub struct Verifier {
    runs: BTreeMap<String, RunLines>,
    /// Lines that are not of a log, such as messages of the program.
    foreign: u64,
}

/// Result of a verification.
#[derive(Debug)]
pub struct LogReport {
    /// One report for each run.
    pub runs: Vec<RunReport>,
    /// Number of lines that are not of a log.
    pub foreign: u64,
    /// What is wrong, by run and place.
    pub faults: Vec<LogFault>,
}

/// What this needs to know of a line; the rest is under its hash.
#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    run: Cow<'a, str>,
    #[serde(borrow)]
    event: Cow<'a, str>,
    seq: Option<u64>,
    #[serde(borrow)]
    origin: Option<Cow<'a, str>>,
    lost: Option<String>,
    checkpoint: Option<String>,
    frontier: Option<Vec<String>>,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl Verifier {
    /// Reads one file to its end. `progress` is called with the number of octets read since the last call.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn read(
        &mut self,
        name: &str,
        mut file: impl BufRead,
        mut progress: impl FnMut(u64),
    ) -> io::Result<()> {
        let name: Arc<str> = name.into();
        let mut octets = Vec::new();
        let mut files: HashSet<String> = HashSet::new();
        for line in 1.. {
            octets.clear();
            let read = file.read_until(b'\n', &mut octets)?;
            if read == 0 {
                break;
            }
            progress(u64::try_from(read).unwrap_or(u64::MAX));
            let text = octets.strip_suffix(b"\n").unwrap_or(&octets);
            let place = Position {
                file: Arc::clone(&name),
                line,
            };
            self.take(text, place, &mut files);
        }
        Ok(())
    }

    /// Returns what the files prove.
    #[must_use]
    pub fn finish(self) -> LogReport {
        let mut faults = Vec::new();
        let runs = self.runs.into_iter();
        let runs = runs
            .map(|(name, lines)| lines.verify(name, &mut faults))
            .collect();
        LogReport {
            runs,
            foreign: self.foreign,
            faults,
        }
    }

    fn take(&mut self, octets: &[u8], place: Position, in_file: &mut HashSet<String>) {
        let Some((octets, head)) = parsed(octets) else {
            self.foreign += u64::from(!octets.is_empty());
            return;
        };
        let new_to_file = in_file.insert(head.run.clone().into_owned());
        let run = self.runs.entry(head.run.into_owned()).or_default();
        if new_to_file {
            run.begin_file();
        }
        match (head.seq, head.checkpoint) {
            (Some(seq), None) => {
                if let Some(lost) = head.lost.as_deref().and_then(TreeHash::parse) {
                    run.lost.insert(lost);
                }
                if head.event == "started" {
                    run.origin = head.origin.map(Cow::into_owned);
                }
                run.stopped |= head.event == "stopped";
                run.leaf(Leaf {
                    seq,
                    hash: TreeHash::of_leaf(octets),
                    place,
                });
            }
            (None, Some(text)) => {
                run.checkpoints.push(LoggedCheckpoint {
                    hash: TreeHash::of_leaf(octets),
                    frontier: checkpoint(&text, head.frontier.unwrap_or_default()),
                    place,
                });
            }
            (Some(_), Some(_)) | (None, None) => self.foreign += 1,
        }
    }
}

/// Parses a line. If a process was killed while it wrote, its last line has no end, and the first line of the next run follows
/// in the same line of the file: then that one is returned.
fn parsed(octets: &[u8]) -> Option<(&[u8], Head<'_>)> {
    if let Ok(head) = serde_json::from_slice(octets) {
        return Some((octets, head));
    }
    let starts = octets
        .windows(BEGINNING.len())
        .rposition(|window| window == BEGINNING)?;
    let rest = octets.get(starts..)?;
    serde_json::from_slice(rest).ok().map(|head| (rest, head))
}

/// Returns the frontier of a checkpoint that agrees with it.
fn checkpoint(text: &str, frontier: Vec<String>) -> Result<Frontier, &'static str> {
    let checkpoint = Checkpoint::parse(text).ok_or("its text cannot be parsed")?;
    let subtrees: Option<Vec<_>> = frontier.iter().map(|hash| TreeHash::parse(hash)).collect();
    let frontier = subtrees
        .and_then(|subtrees| Frontier::from_parts(checkpoint.size, subtrees))
        .ok_or("its frontier is not that of a tree of its size")?;
    if frontier.root() != checkpoint.root {
        return Err("its frontier has another root");
    }
    Ok(frontier)
}

#[cfg(test)]
mod tests;
