//! Lines that look like those of a log and are none: torn ones, and those that somebody changed or inserted.

use std::collections::{BTreeMap, HashMap, HashSet};

use memchr::memmem;

use super::{LogFault, Position, run::RunLines};
use crate::audit::{
    read::{BEGINNING, is_whole},
    tree::TreeHash,
};

/// The name of the field before the name of a run.
const RUN: &[u8] = b"\"run\":\"";

/// Most octets of the name of a run.
const LONGEST_RUN: usize = 64;

/// A line that looks like one of a log.
#[derive(Debug)]
pub(super) struct UnreadLine {
    /// The run that it names.
    run: Option<String>,
    /// The run of the line before, if its name occurs, too.
    previous: Option<String>,
    place: Position,
    hash: TreeHash,
    octets: u64,
    /// It is JSON to its end, so it was not cut short.
    whole: bool,
    /// It begins as lines of a log do, with the name of the first field.
    begins: bool,
}

/// A line *torn* of a run.
#[derive(Debug)]
pub(super) struct ToldTorn {
    pub(super) hash: TreeHash,
    pub(super) line: LostLine,
}

/// A line without an end: its process was killed while it wrote, or its other part is in none of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornLine {
    /// The run, unless the line was cut before its name.
    pub run: Option<String>,
    /// Where it is.
    pub place: Position,
    /// Number of octets that are there.
    pub octets: u64,
    /// The run whose line *torn* has the hash of these octets.
    pub named_by: Option<String>,
}

/// A line *torn* about octets that are in none of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostLine {
    /// The run that found them.
    pub run: String,
    /// Where it says so.
    pub place: Position,
}

/// What became of the lines that look like those of a log.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) torn: Vec<TornLine>,
    pub(super) lost: Vec<LostLine>,
    /// Number of lines that are not of a log.
    pub(super) foreign: u64,
    pub(super) faults: Vec<LogFault>,
}

impl UnreadLine {
    /// Reads a line that is neither leaf nor checkpoint. `None` if it does not look like one of a log. `previous` is the run of
    /// the last line that is one.
    pub(super) fn of(octets: &[u8], place: &Position, previous: &str) -> Option<Self> {
        let run = named_run(octets);
        let occurs = octets.starts_with(b"{")
            && !previous.is_empty()
            && memmem::find(octets, previous.as_bytes()).is_some();
        let begins = octets.starts_with(BEGINNING);
        let looks = run.is_some() || occurs || begins || BEGINNING.starts_with(octets);
        if octets.is_empty() || !looks {
            return None;
        }
        Some(Self {
            run,
            previous: occurs.then(|| previous.to_owned()),
            place: place.clone(),
            hash: TreeHash::of_leaf(octets),
            octets: u64::try_from(octets.len()).unwrap_or(u64::MAX),
            whole: is_whole(octets),
            begins,
        })
    }
}

/// Returns the name of the run in a line that cannot be parsed.
fn named_run(octets: &[u8]) -> Option<String> {
    let at = memmem::find(octets, RUN)?;
    let name = octets.get(at + RUN.len()..)?;
    let name = name.get(..name.iter().position(|octet| *octet == b'"')?)?;
    let name = str::from_utf8(name).ok()?;
    (name.len() <= LONGEST_RUN).then(|| name.to_owned())
}

/// Judges lines that look like those of a log, when all files were read. `told` are the lines *torn*.
pub(super) fn settle(
    unread: Vec<UnreadLine>,
    told: Vec<ToldTorn>,
    runs: &BTreeMap<String, RunLines>,
) -> Settled {
    let mut settled = Settled::default();
    let mut told: HashMap<TreeHash, LostLine> = told
        .into_iter()
        .map(|ToldTorn { hash, line }| (hash, line))
        .collect();
    for line in unread {
        // A checkpoint names its run twice. One of the names may have been changed.
        let mut names = line.run.iter().chain(&line.previous);
        let known = names.find_map(|run| Some((run.clone(), runs.get(run)?)));
        if let Some((run, lines)) = &known
            && (line.whole || lines.goes_on_after(&line.place))
        {
            let (run, place) = (run.clone(), line.place);
            settled.faults.push(match line.whole {
                true => LogFault::Stray { run, place },
                false => LogFault::Unreadable { run, place },
            });
            continue;
        }
        let named_by = told.remove(&line.hash).map(|told| told.run);
        if line.whole || known.is_none() && named_by.is_none() && !line.begins {
            settled.foreign += 1;
            continue;
        }
        settled.torn.push(TornLine {
            run: line.run,
            place: line.place,
            octets: line.octets,
            named_by,
        });
    }
    if !told.is_empty() {
        // Only the line break is missing from a line that can be read.
        let hashes: HashSet<_> = runs.values().flat_map(RunLines::hashes).collect();
        told.retain(|hash, _| !hashes.contains(hash));
    }
    settled.lost = told.into_values().collect();
    settled
        .lost
        .sort_by(|one, other| one.place.cmp(&other.place));
    settled
}
