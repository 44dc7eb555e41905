//! Verification of issuance logs: which lines agree with the checkpoints, and where others were changed, removed, repeated or
//! moved.

mod boundary;
mod fault;
mod judge;
mod run;

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    io::{self, BufRead},
    sync::Arc,
};

use serde::Deserialize;

use self::{
    boundary::Boundary,
    judge::Leaf,
    run::{LoggedCheckpoint, RunLines},
};
pub use self::{
    fault::{LogFault, Position},
    judge::{ProvenBy, Verified},
    run::RunReport,
};
use super::{note::VerifierKey, tree::TreeHash};

/// Every line of a log begins like this.
const BEGINNING: &[u8] = b"{\"time\":\"";

/// Verifier of logs from any number of runs and replicas, whose files may come in any order.
#[derive(Debug, Default)]
pub struct Verifier {
    /// The keys that prove something. Signatures of others are ignored.
    keys: Vec<VerifierKey>,
    runs: BTreeMap<String, RunLines>,
    /// Signed checkpoints that logs have of other runs, by run.
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
    #[serde(borrow)]
    heads: Option<Vec<Cow<'a, str>>>,
}

impl Verifier {
    /// Returns a verifier for which the signatures of these keys, and of no others, are proof.
    #[must_use]
    pub fn trusting(keys: impl IntoIterator<Item = VerifierKey>) -> Self {
        Self {
            keys: keys.into_iter().collect(),
            ..Self::default()
        }
    }

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
        let Self {
            keys: _,
            runs,
            mut heads,
            unknown_heads,
            foreign,
        } = self;
        let mut faults = Vec::new();
        let runs = runs.into_iter().map(|(name, lines)| {
            let heads = heads.remove(&name).unwrap_or_default();
            lines.verify(name, heads, &mut faults)
        });
        let runs = runs.collect();
        // What is left of the heads is of runs without a single line.
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
        }
    }

    fn take(&mut self, octets: &[u8], place: Position, in_file: &mut HashSet<String>) {
        let Some((octets, head)) = parsed(octets) else {
            self.foreign += u64::from(!octets.is_empty());
            return;
        };
        if head.seq.is_some() == head.checkpoint.is_some() {
            self.foreign += 1;
            return;
        }
        for note in head.heads.iter().flatten() {
            self.head(note, &head.run, &place);
        }
        let new_to_file = in_file.insert(head.run.clone().into_owned());
        let run = self.runs.entry(head.run.into_owned()).or_default();
        if new_to_file {
            run.begin_file();
        }
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
                place,
            });
        } else if let Some(text) = head.checkpoint {
            let frontier = head.frontier.unwrap_or_default();
            run.checkpoints.push(LoggedCheckpoint {
                hash: TreeHash::of_leaf(octets),
                boundary: Boundary::of_line(&text, &frontier, &self.keys, place.clone()),
                place,
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

#[cfg(test)]
mod tests;
