//! Reads the lines of issuance logs from the files in which clusters keep them: as the controller wrote them, as the container
//! runtime stores them, and as `kubectl logs` prints them.

mod assemble;
mod entry;
mod head;
mod wrapping;

use std::{
    fmt,
    io::{self, BufRead},
    mem,
    sync::Arc,
};

use serde::de::IgnoredAny;

pub(super) use self::head::{LineKind, ParsedLine, parsed};
use self::wrapping::{OutputStream, Unwrapped, unwrapped};
pub use self::{
    assemble::Assembler,
    entry::{
        EntryApproval, EntryCrl, EntryIssuer, EntryRequest, EntryRequester, EntryRevocation,
        EntryToken, LogEntry,
    },
};

/// Every line of a log begins like this.
pub(super) const BEGINNING: &[u8] = b"{\"time\":\"";

/// Octets after which a container runtime splits a line. `kubectl logs` prints the parts without a line break between them.
/// A line of the other stream stands between two parts if it was written meanwhile.
const PART: usize = 16 * 1024;

/// Longest line that is put together from parts.
const LONGEST: usize = 1 << 20;

/// Number of lines of the other stream between two parts after which the rest of a line is given up.
const BETWEEN: u32 = 1000;

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The file.
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: u64,
}

/// Reads files, in any order, and finds the lines of the log in them. If a line was split between two files, because they were
/// rotated meanwhile, its parts are found in both.
#[derive(Debug, Default)]
pub struct LogFiles {
    /// Beginnings of lines at the ends of files.
    heads: Vec<Fragment>,
    /// First lines of files that may be the rest of a line.
    tails: Vec<Fragment>,
}

#[derive(Clone, Debug)]
struct Fragment {
    octets: Vec<u8>,
    place: Position,
}

/// The state of one file.
#[derive(Debug, Default)]
struct OpenFile {
    stdout: Parts,
    stderr: Parts,
    /// The beginning of a line that `kubectl logs` continues after a line of the other stream.
    cut: Option<Cut>,
}

/// A line of one stream, as far as it was read.
#[derive(Debug, Default)]
struct Parts {
    begun: bool,
    unfinished: Option<Fragment>,
}

#[derive(Debug)]
struct Cut {
    fragment: Fragment,
    /// Number of lines of the other stream since.
    between: u32,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

impl LogFiles {
    /// Reads one file to its end. Calls `take` with each line, including lines that are not from a log.
    ///
    /// # Errors
    /// The file could not be read.
    pub fn read(
        &mut self,
        name: &str,
        mut file: impl BufRead,
        take: &mut impl FnMut(&[u8], &Position),
    ) -> io::Result<()> {
        let mut place = Position {
            file: name.into(),
            line: 0,
        };
        let mut octets = Vec::new();
        let mut open = OpenFile::default();
        loop {
            octets.clear();
            if file.read_until(b'\n', &mut octets)? == 0 {
                break;
            }
            place.line += 1;
            let line = octets.strip_suffix(b"\n").unwrap_or(&octets);
            match unwrapped(line) {
                Unwrapped::Plain(text) => open.plain(text, &place, take),
                Unwrapped::Stored {
                    stream,
                    whole,
                    text,
                } => {
                    if let Some(first) = open.part(stream, whole, text, &place, take) {
                        self.tail(first, take);
                    }
                }
            }
        }
        let OpenFile {
            stdout,
            stderr,
            cut,
        } = open;
        if let Some(cut) = cut {
            take(&cut.fragment.octets, &cut.fragment.place);
        }
        for parts in [stdout, stderr] {
            if let Some(last) = parts.unfinished {
                self.head(last, take);
            }
        }
        Ok(())
    }

    /// Calls `take` with the parts of lines whose other parts are in none of the files.
    pub fn finish(self, take: &mut impl FnMut(&[u8], &Position)) {
        for Fragment { octets, place } in self.heads.into_iter().chain(self.tails) {
            take(&octets, &place);
        }
    }

    fn tail(&mut self, tail: Fragment, take: &mut impl FnMut(&[u8], &Position)) {
        let joined = self.heads.iter().enumerate().find_map(|(at, head)| {
            let octets = [&*head.octets, &*tail.octets].concat();
            is_whole(&octets).then_some((at, octets))
        });
        match joined {
            Some((at, octets)) => take(&octets, &self.heads.swap_remove(at).place),
            None => self.tails.push(tail),
        }
    }

    fn head(&mut self, head: Fragment, take: &mut impl FnMut(&[u8], &Position)) {
        let joined = self.tails.iter().enumerate().find_map(|(at, tail)| {
            let octets = [&*head.octets, &*tail.octets].concat();
            is_whole(&octets).then_some((at, octets))
        });
        match joined {
            Some((at, octets)) => {
                self.tails.swap_remove(at);
                take(&octets, &head.place);
            }
            None => self.heads.push(head),
        }
    }
}

impl OpenFile {
    /// Takes a record of the container runtime. Returns the first line of a stream, if it may be the rest of a line that an
    /// earlier file begins.
    fn part(
        &mut self,
        stream: OutputStream,
        whole: bool,
        text: &[u8],
        place: &Position,
        take: &mut impl FnMut(&[u8], &Position),
    ) -> Option<Fragment> {
        let parts = match stream {
            OutputStream::Stdout => &mut self.stdout,
            OutputStream::Stderr => &mut self.stderr,
        };
        if whole && parts.begun && parts.unfinished.is_none() {
            take(text, place);
            return None;
        }
        let unfinished = parts.unfinished.get_or_insert_with(|| Fragment {
            octets: Vec::new(),
            place: place.clone(),
        });
        unfinished.octets.extend_from_slice(text);
        if !whole && unfinished.octets.len() <= LONGEST {
            return None;
        }
        let line = parts.unfinished.take()?;
        let first = !mem::replace(&mut parts.begun, true);
        if first && !line.octets.starts_with(BEGINNING) && line.octets.ends_with(b"}") {
            return Some(line);
        }
        take(&line.octets, &line.place);
        None
    }

    /// Takes a line without the runtime's fields.
    fn plain(&mut self, text: &[u8], place: &Position, take: &mut impl FnMut(&[u8], &Position)) {
        if let Some(mut cut) = self.cut.take() {
            if !text.starts_with(BEGINNING) && cut.between < BETWEEN {
                let fragment = &mut cut.fragment;
                let joined = [&*fragment.octets, text].concat();
                if text.ends_with(b"}") && is_whole(&joined) {
                    return take(&joined, &fragment.place);
                }
                if text.len() >= PART && joined.len() <= LONGEST {
                    // A further part, again with a line of the other stream behind it.
                    fragment.octets.extend(parts_of(text));
                } else {
                    take(text, place);
                }
                cut.between += 1;
                self.cut = Some(cut);
                return;
            }
            take(&cut.fragment.octets, &cut.fragment.place);
        }
        let is_cut = text.len() > PART
            && text.len() <= LONGEST
            && text.starts_with(BEGINNING)
            && !is_whole(text)
            && last_beginning(text) == Some(0);
        if is_cut {
            self.cut = Some(Cut {
                fragment: Fragment {
                    octets: parts_of(text).to_vec(),
                    place: place.clone(),
                },
                between: 0,
            });
        } else {
            take(text, place);
        }
    }
}

/// Returns the whole parts at the beginning of a text.
fn parts_of(text: &[u8]) -> &[u8] {
    text.get(..text.len() / PART * PART).unwrap_or(text)
}

/// Returns whether octets are JSON.
pub(super) fn is_whole(octets: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(octets).is_ok()
}

/// Returns where the last line of a log begins in a line of a file.
fn last_beginning(octets: &[u8]) -> Option<usize> {
    octets
        .windows(BEGINNING.len())
        .rposition(|window| window == BEGINNING)
}

#[cfg(test)]
mod tests;
