//! The fields of a line by which it is placed in its log.

use std::borrow::Cow;

use serde::Deserialize;

use super::last_beginning;

/// What the tree needs to know of a line; the rest is under its hash.
#[derive(Debug, Deserialize)]
pub(in crate::audit) struct Head<'a> {
    #[serde(borrow)]
    pub(in crate::audit) run: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::audit) event: Cow<'a, str>,
    pub(in crate::audit) seq: Option<u64>,
    #[serde(borrow)]
    pub(in crate::audit) origin: Option<Cow<'a, str>>,
    pub(in crate::audit) lost: Option<String>,
    pub(in crate::audit) checkpoint: Option<String>,
    pub(in crate::audit) frontier: Option<Vec<String>>,
    #[serde(borrow)]
    pub(in crate::audit) heads: Option<Vec<Cow<'a, str>>>,
}

/// What a line is in its log.
#[derive(Clone, Copy, Debug)]
pub(in crate::audit) enum LineKind<'a> {
    /// The leaf with this number.
    Leaf(u64),
    /// A checkpoint: its text or signed note.
    Checkpoint(&'a str),
}

impl Head<'_> {
    /// Returns what the line is. `None` if it is neither, as no writer makes it: no command may take such a line for a part of
    /// the log, because no checkpoint covers it.
    pub(in crate::audit) fn kind(&self) -> Option<LineKind<'_>> {
        match (self.seq, &self.checkpoint, &*self.event) {
            (Some(seq), None, event) if event != "checkpoint" => Some(LineKind::Leaf(seq)),
            (None, Some(note), "checkpoint") => Some(LineKind::Checkpoint(note)),
            (Some(_) | None, _, _) => None,
        }
    }
}

/// A line of a file that has a line of a log.
#[derive(Debug)]
pub(in crate::audit) struct ParsedLine<'a> {
    /// What is before the line of the log: usually nothing, or the line of a process that was killed while it wrote.
    pub(in crate::audit) before: &'a [u8],
    /// The line of the log.
    pub(in crate::audit) octets: &'a [u8],
    pub(in crate::audit) head: Head<'a>,
}

/// Parses a line. If a process was killed while it wrote, its last line has no end, and the first line of the next run follows
/// in the same line of the file: then that one is returned.
pub(in crate::audit) fn parsed(octets: &[u8]) -> Option<ParsedLine<'_>> {
    if let Ok(head) = serde_json::from_slice(octets) {
        return Some(ParsedLine {
            before: &[],
            octets,
            head,
        });
    }
    let (before, octets) = octets.split_at_checked(last_beginning(octets)?)?;
    let head = serde_json::from_slice(octets).ok()?;
    Some(ParsedLine {
        before,
        octets,
        head,
    })
}
