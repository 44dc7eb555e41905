//! Verification of issuance logs: which lines agree with the checkpoints, and where others were changed, removed, repeated or
//! moved.

mod boundary;
mod fault;
mod judge;
mod run;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, BufRead},
};

use self::{
    boundary::Boundary,
    judge::Leaf,
    run::{LoggedCheckpoint, RunLines},
};
pub use self::{
    fault::{LogFault, LogGap},
    judge::{ProvenBy, Verified},
    run::RunReport,
};
pub use super::read::Position;
use super::{
    note::VerifierKey,
    read::{LogFiles, parsed},
    tree::TreeHash,
};

/// Verifier of logs from any number of runs and replicas, whose files may come in any order.
#[derive(Debug, Default)]
pub struct Verifier {
    files: LogFiles,
    lines: Lines,
}

/// The lines of all files.
#[derive(Debug, Default)]
struct Lines {
    /// The keys that prove something. Signatures of others are ignored.
    keys: Vec<VerifierKey>,
    runs: BTreeMap<String, RunLines>,
    /// Signed checkpoints of other runs that logs have recorded, by run.
    heads: BTreeMap<String, Vec<Boundary>>,
    /// Checkpoints of other runs that none of the keys signed.
    unknown_heads: u64,
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
    /// Number of checkpoints that logs have of other runs and that none of the keys signed. They prove nothing.
    pub unknown_heads: u64,
    /// What is wrong, run by run.
    pub faults: Vec<LogFault>,
    /// Lines that are in none of the files, run by run.
    pub gaps: Vec<LogGap>,
}

impl Verifier {
    /// Returns a verifier for which the signatures of these keys, and of no others, are proof.
    #[must_use]
    pub fn trusting(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        Self {
            files: LogFiles::default(),
            lines: Lines {
                keys: keys.into_iter().collect(),
                ..Lines::default()
            },
        }
    }

    /// Reads one file to its end.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn read(&mut self, name: &str, file: impl BufRead) -> io::Result<()> {
        let Self { files, lines } = self;
        files.read(name, file, &mut |octets, place| lines.take(octets, place))
    }

    /// Returns the report on all files that were read.
    #[must_use]
    pub fn finish(self) -> LogReport {
        let Self { files, mut lines } = self;
        files.finish(&mut |octets, place| lines.take(octets, place));
        let Lines {
            keys: _,
            runs,
            mut heads,
            unknown_heads,
            foreign,
        } = lines;
        let (mut faults, mut gaps) = (Vec::new(), Vec::new());
        let runs = runs.into_iter().map(|(name, lines)| {
            let heads = heads.remove(&name).unwrap_or_default();
            lines.verify(name, heads, &mut faults, &mut gaps)
        });
        let runs = runs.collect();
        // The remaining heads belong to runs without a single line.
        faults.extend(heads.into_iter().filter_map(|(run, heads)| {
            let last = heads.into_iter().max_by_key(|head| head.size)?;
            Some(LogFault::RunMissing {
                run,
                origin: last.origin,
                size: last.size,
                told: last.place,
            })
        }));
        LogReport {
            runs,
            foreign,
            unknown_heads,
            faults,
            gaps,
        }
    }
}

impl Lines {
    fn take(&mut self, octets: &[u8], place: &Position) {
        let Some((octets, head)) = parsed(octets) else {
            self.foreign += u64::from(!octets.is_empty());
            return;
        };
        if head.seq.is_some() == head.checkpoint.is_some() {
            self.foreign += 1;
            return;
        }
        for note in head.heads.iter().flatten() {
            self.head(note, &head.run, place);
        }
        let run = self.runs.entry(head.run.into_owned()).or_default();
        if let Some(seq) = head.seq {
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
                place: place.clone(),
            });
        } else if let Some(text) = head.checkpoint {
            let frontier = head.frontier.unwrap_or_default();
            run.checkpoints.push(LoggedCheckpoint {
                hash: TreeHash::of_leaf(octets),
                boundary: Boundary::of_line(&text, &frontier, &self.keys, place.clone()),
                place: place.clone(),
            });
        }
    }

    /// Takes a checkpoint that the log of one run has of another.
    fn head(&mut self, note: &str, in_run: &str, place: &Position) {
        match Boundary::of_head(note, &self.keys, place.clone()) {
            Some((run, head)) if run != in_run => self.heads.entry(run).or_default().push(head),
            Some(_) => {}
            None => self.unknown_heads += 1,
        }
    }
}

#[cfg(test)]
mod tests;
