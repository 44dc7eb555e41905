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
    /// Lines are missing before a line that is there.
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
    #[error("run {run}: line {seq} of the log occurs twice: at {first} and {second}")]
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
    /// A line stands after one that was written later.
    #[error("run {run}: line {seq} of the log is out of order at {place}")]
    OutOfOrder {
        /// The run.
        run: String,
        /// The sequence number.
        seq: u64,
        /// Where the line is.
        place: Position,
    },
    /// The lines that a checkpoint covers have another root than it states.
    #[error(
        "run {run}: one of the lines {first} to {last} of the log, which begin at {from}, was changed: the checkpoint at {checkpoint} has another root"
    )]
    Changed {
        /// The run.
        run: String,
        /// Sequence number of the first line that this checkpoint covers and no earlier checkpoint does.
        first: u64,
        /// Sequence number of the last line that the checkpoint covers.
        last: u64,
        /// Where the first of these lines is.
        from: Position,
        /// Where the checkpoint is.
        checkpoint: Position,
    },
    /// A checkpoint that contradicts itself.
    #[error("run {run}: the checkpoint at {place} is invalid: {why}")]
    Checkpoint {
        /// The run.
        run: String,
        /// Where the checkpoint is.
        place: Position,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Verifier of logs from any number of runs and replicas, whose files may come in any order.
#[derive(Debug, Default)]
pub struct Verifier {
    runs: BTreeMap<String, RunLines>,
    /// Number of lines that are not of a log, such as messages of the program.
    foreign: u64,
}

/// Result of a verification.
#[derive(Debug)]
pub struct LogReport {
    /// One report for each run.
    pub runs: Vec<RunReport>,
    /// Number of lines that are not of a log.
    pub foreign: u64,
    /// What is wrong, run by run.
    pub faults: Vec<LogFault>,
}

/// Fields of a line that the verification reads. The hash of the line covers the others.
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

    /// Returns the report on all files that were read.
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

/// Parses a line of a file. If a process was killed while it wrote, the first line of the next run follows the incomplete
/// line without a line break. In that case, returns the first line of the next run.
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

/// Returns the frontier of a checkpoint, or what is wrong with the checkpoint.
fn checkpoint(text: &str, frontier: Vec<String>) -> Result<Frontier, &'static str> {
    let checkpoint = Checkpoint::parse(text).ok_or("its text cannot be parsed")?;
    let subtrees: Option<Vec<_>> = frontier.iter().map(|hash| TreeHash::parse(hash)).collect();
    let frontier = subtrees
        .and_then(|subtrees| Frontier::from_parts(checkpoint.size, subtrees))
        .ok_or("its frontier does not fit its size")?;
    if frontier.root() != checkpoint.root {
        return Err("its frontier has another root");
    }
    Ok(frontier)
}

#[cfg(test)]
mod tests;
