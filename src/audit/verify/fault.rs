//! Faults that a verification finds in logs, with their places.

use std::fmt;

use super::Position;

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
    /// A line that names a run and is neither one of its leaves nor one of its checkpoints: no writer makes it.
    #[error(
        "run {run}: the line at {place} is not of the log: it is neither a numbered line nor a checkpoint"
    )]
    Stray {
        /// The run.
        run: String,
        /// Where the line is.
        place: Position,
    },
    /// A line of a run that cannot be read, although the run has not ended there.
    #[error("run {run}: the line at {place} cannot be read, and the run goes on behind it")]
    Unreadable {
        /// The run.
        run: String,
        /// Where the line is.
        place: Position,
    },
    /// A checkpoint that contradicts itself, stands in a wrong place, or cannot be made by its key or its run.
    #[error("run {run}: the checkpoint at {place} is invalid: {why}")]
    Checkpoint {
        /// The run.
        run: String,
        /// Where the checkpoint is.
        place: Position,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The end of a log is missing, although the log of another run has a signed checkpoint over it.
    #[error(
        "run {run}: lines {first} to {last} of the log are missing at its end: another log has a checkpoint over them at {told}"
    )]
    Cut {
        /// The run.
        run: String,
        /// Sequence number of the first missing line.
        first: u64,
        /// Sequence number of the last line that must have been written.
        last: u64,
        /// Where the log of another run has the checkpoint.
        told: Position,
    },
    /// The whole log of a run is missing, although the log of another run has a signed checkpoint of it.
    #[error(
        "run {run}: the log of {origin} with at least {size} lines is missing: another log has a checkpoint of it at {told}"
    )]
    RunMissing {
        /// The run.
        run: String,
        /// The name of the log.
        origin: String,
        /// Number of lines that must have been written.
        size: u64,
        /// Where the log of another run has the checkpoint.
        told: Position,
    },
    /// Two checkpoints of one size have different roots: the key has signed two histories.
    #[error(
        "run {run}: the checkpoints over {size} lines at {first} and {second} contradict each other"
    )]
    Contradiction {
        /// The run.
        run: String,
        /// Number of lines under both.
        size: u64,
        /// Where one of them is.
        first: Position,
        /// Where the other one is.
        second: Position,
    },
}

/// Lines at the beginning of a log, or between the end of one file and the beginning of another, that are in none of the files.
/// The kubelet deletes the oldest files of a container, so this alone is no fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogGap {
    /// The run.
    pub run: String,
    /// Sequence number of the first missing line.
    pub first: u64,
    /// Sequence number of the last missing line.
    pub last: u64,
    /// The line before, if there is one.
    pub after: Option<Position>,
    /// The line after.
    pub before: Position,
}

impl fmt::Display for LogGap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            run,
            first,
            last,
            after,
            before,
        } = self;
        write!(
            f,
            "run {run}: lines {first} to {last} of the log are in none of the files: "
        )?;
        match after {
            Some(after) => write!(f, "between {after} and {before}"),
            None => write!(f, "before {before}"),
        }
    }
}
