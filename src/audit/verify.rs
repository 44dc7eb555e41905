//! Verification of issuance logs: which lines agree with the checkpoints, and where others were changed, removed, repeated or
//! moved.

mod boundary;
mod fault;
mod judge;
mod run;
mod unread;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    io::{self, BufRead},
};

use self::{
    boundary::Boundary,
    judge::Leaf,
    run::{LoggedCheckpoint, RunLines},
    unread::{Settled, ToldTorn, UnreadLine, settle},
};
pub use self::{
    fault::{LogFault, LogGap},
    judge::{ProvenBy, Verified},
    run::RunReport,
    unread::{LostLine, TornLine},
};
pub use super::read::Position;
use super::{
    note::VerifierKey,
    read::{LineKind, LogFiles, ParsedLine, parsed},
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
    /// Lines that look like those of a log and are none.
    unread: Vec<UnreadLine>,
    /// The lines *torn*.
    told: Vec<ToldTorn>,
    /// Run of the last line that is of a log.
    previous: String,
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
    /// Lines without an end.
    pub torn: Vec<TornLine>,
    /// Lines *torn* about octets that are in none of the files, such as those of another sink.
    pub lost: Vec<LostLine>,
    /// What is wrong.
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

    /// Takes the next line of a file. [`LogFiles`] finds the lines.
    pub fn take(&mut self, octets: &[u8], place: &Position) {
        self.lines.take(octets, place);
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
            unread,
            told,
            previous: _,
        } = lines;
        let Settled {
            torn,
            lost,
            foreign: others,
            mut faults,
        } = settle(unread, told, &runs);
        let mut gaps = Vec::new();
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
            foreign: foreign + others,
            unknown_heads,
            torn,
            lost,
            faults,
            gaps,
        }
    }
}

impl Lines {
    fn take(&mut self, octets: &[u8], place: &Position) {
        let Some(ParsedLine {
            before,
            octets,
            head,
        }) = parsed(octets)
        else {
            self.other(octets, place);
            return;
        };
        if !before.is_empty() {
            self.unread
                .extend(UnreadLine::of(before, place, &self.previous));
        }
        let Some(kind) = head.kind() else {
            self.other(octets, place);
            return;
        };
        if self.previous != head.run {
            self.previous = head.run.clone().into_owned();
        }
        if let LineKind::Leaf(_) = kind {
            for note in head.heads.iter().flatten() {
                self.head(note, &head.run, place);
            }
            if let Some(hash) = head.lost.as_deref().and_then(TreeHash::parse) {
                let line = LostLine {
                    run: head.run.clone().into_owned(),
                    place: place.clone(),
                };
                self.told.push(ToldTorn { hash, line });
            }
        }
        let run = match self.runs.get_mut(&*head.run) {
            Some(run) => run,
            None => self.runs.entry(head.run.clone().into_owned()).or_default(),
        };
        let hash = TreeHash::of_leaf(octets);
        let place = place.clone();
        match kind {
            LineKind::Leaf(seq) => {
                run.stopped |= head.event == "stopped";
                run.leaf(Leaf { seq, hash, place });
                if head.event == "started" {
                    run.origin = head.origin.map(Cow::into_owned);
                }
            }
            LineKind::Checkpoint(text) => {
                let frontier = head.frontier.as_deref().unwrap_or_default();
                let boundary = Boundary::of_line(text, frontier, &self.keys, place.clone());
                run.checkpoint(LoggedCheckpoint {
                    hash,
                    boundary,
                    place,
                });
            }
        }
    }

    /// Takes a line that is neither leaf nor checkpoint.
    fn other(&mut self, octets: &[u8], place: &Position) {
        match UnreadLine::of(octets, place, &self.previous) {
            Some(unread) => self.unread.push(unread),
            None => self.foreign += u64::from(!octets.is_empty()),
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
