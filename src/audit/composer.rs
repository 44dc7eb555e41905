//! Composes the lines of one run: numbers them, keeps every leaf within its limit, and hashes them into the tree.

use std::io::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use serde::{Serialize, de::IgnoredAny};

use super::{
    LogRun,
    checkpoint::Checkpoint,
    fields::Fields,
    tree::{Frontier, TreeHash},
};

/// Most octets of a leaf. An entry of a C2SP tlog-tiles entry bundle has a length of 16 bits.
pub(super) const MAX_LEAF: usize = 65_535;

/// Most octets of the text in a continuation leaf, escaped. It leaves room for the other members.
const MAX_TEXT: usize = MAX_LEAF - 512;

/// Composes the lines of one run. Only the frontier of the tree is kept.
pub(super) struct Composer {
    run: LogRun,
    frontier: Frontier,
    /// Number of lines that say more than the heads of others, without continuations.
    events: u64,
    /// Number of leaves under the last checkpoint.
    checked: u64,
}

/// The state of a log at one moment, for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeHead {
    pub(super) checkpoint: Checkpoint,
    pub(super) frontier: Frontier,
    /// Number of lines that say more than the heads of others, without continuations.
    pub(super) events: u64,
}

impl TreeHead {
    /// Returns the text that is signed: origin, size and root, each on a line.
    #[must_use]
    pub fn text(&self) -> String {
        self.checkpoint.text()
    }

    /// Returns the number of lines that say more than the heads of others, without continuations.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }
}

/// Stands in a line for the value of a member that follows in continuation leaves.
#[derive(Serialize)]
struct Replaced {
    /// SHA-256 of the member's JSON text, hexadecimal.
    sha256: String,
    /// Its length in octets.
    octets: usize,
    /// Number of its elements, if it is a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
}

impl Replaced {
    fn new(value: &[u8]) -> Self {
        let elements = serde_json::from_slice::<Vec<IgnoredAny>>(value);
        Self {
            sha256: hex::encode(digest(&SHA256, value)),
            octets: value.len(),
            count: elements.ok().map(|elements| elements.len()),
        }
    }
}

impl Composer {
    pub(super) fn new(run: LogRun) -> Self {
        Self {
            run,
            frontier: Frontier::default(),
            events: 0,
            checked: 0,
        }
    }

    pub(super) const fn run(&self) -> &LogRun {
        &self.run
    }

    /// Returns the number of leaves.
    pub(super) const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Appends a line to `out`. If it is too long for a leaf, its longest members follow in continuation leaves.
    pub(super) fn line(
        &mut self,
        out: &mut Vec<u8>,
        time: Timestamp,
        event: &str,
        parts: &[&Fields],
    ) {
        let begin = out.len();
        self.head(out, time, event);
        for part in parts.iter().filter(|part| !part.text().is_empty()) {
            out.push(b',');
            out.extend_from_slice(part.text());
        }
        out.push(b'}');
        if out.len() - begin > MAX_LEAF {
            out.truncate(begin);
            self.long_line(out, time, event, parts);
        } else {
            self.leaf(out, begin);
        }
        self.events += u64::from(event != "heads");
    }

    /// Returns the state of the log, unless the last checkpoint covers all leaves.
    pub(super) fn unchecked(&self) -> Option<TreeHead> {
        (self.frontier.size() > self.checked).then(|| TreeHead {
            checkpoint: Checkpoint {
                origin: self.run.origin.clone(),
                size: self.frontier.size(),
                root: self.frontier.root(),
            },
            frontier: self.frontier.clone(),
            events: self.events,
        })
    }

    /// Appends the line of a checkpoint, which is not a leaf. `text` is that of the head, with signatures if there are any.
    pub(super) fn checkpoint(
        &mut self,
        out: &mut Vec<u8>,
        time: Timestamp,
        head: &TreeHead,
        text: &str,
    ) {
        let subtrees = head.frontier.subtrees();
        let frontier: Vec<_> = subtrees.iter().map(ToString::to_string).collect();
        let fields = Fields::default()
            .with("time", &time)
            .with_plain("run", &self.run.id)
            .with_plain("event", "checkpoint")
            .with("checkpoint", text)
            .with("frontier", &frontier);
        out.push(b'{');
        out.extend_from_slice(fields.text());
        out.extend_from_slice(b"}\n");
        self.checked = self.checked.max(head.frontier.size());
    }

    fn head(&self, out: &mut Vec<u8>, time: Timestamp, event: &str) {
        let (run, seq) = (&self.run.id, self.frontier.size());
        // Writing to a vector cannot fail.
        write!(
            out,
            r#"{{"time":"{time}","run":"{run}","seq":{seq},"event":"{event}""#
        )
        .ok();
    }

    /// Ends the line that begins at `begin`, and adds it to the tree.
    fn leaf(&mut self, out: &mut Vec<u8>, begin: usize) {
        let line = out.get(begin..).unwrap_or_default();
        self.frontier.push(TreeHash::of_leaf(line));
        out.push(b'\n');
    }

    fn long_line(&mut self, out: &mut Vec<u8>, time: Timestamp, event: &str, parts: &[&Fields]) {
        let members: Vec<_> = parts.iter().flat_map(|part| part.members()).collect();
        let mut by_length: Vec<usize> = (0..members.len()).collect();
        let length = |index: usize| members.get(index).map_or(0, |(_, value)| value.len());
        by_length.sort_by_key(|index| length(*index));
        let (begin, of) = (out.len(), self.frontier.size());
        let mut replaced = Vec::new();
        loop {
            out.truncate(begin);
            self.head(out, time, event);
            for (index, (name, value)) in members.iter().enumerate() {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                if replaced.contains(&index) {
                    // Its members are text and numbers.
                    serde_json::to_writer(&mut *out, &Replaced::new(value)).ok();
                } else {
                    out.extend_from_slice(value);
                }
            }
            out.push(b'}');
            match by_length.pop() {
                Some(longest) if out.len() - begin > MAX_LEAF => replaced.push(longest),
                Some(_) | None => break,
            }
        }
        self.leaf(out, begin);
        replaced.sort_unstable();
        for (field, value) in replaced.iter().filter_map(|index| members.get(*index)) {
            self.continuations(out, time, of, field, &String::from_utf8_lossy(value));
        }
    }

    /// Appends the leaves with the JSON text of a member that was too long for the line with the number `of`.
    fn continuations(
        &mut self,
        out: &mut Vec<u8>,
        time: Timestamp,
        of: u64,
        field: &str,
        text: &str,
    ) {
        let texts = pieces(text);
        for (index, piece) in texts.iter().enumerate() {
            let fields = Fields::default()
                .with("of", &of)
                .with_plain("field", field)
                .with("part", &(index + 1))
                .with("parts", &texts.len())
                .with("text", piece);
            let begin = out.len();
            self.head(out, time, "continuation");
            out.push(b',');
            out.extend_from_slice(fields.text());
            out.push(b'}');
            self.leaf(out, begin);
        }
    }
}

/// Cuts a JSON text into pieces that fit into a leaf each, as JSON strings. A JSON text has no control characters, so that
/// only quotes and backslashes are escaped.
fn pieces(text: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let (mut rest, mut cost, mut cut) = (text, 0, 0);
    while let Some(character) = rest.get(cut..).and_then(|rest| rest.chars().next()) {
        let octets = character.len_utf8();
        let escaped = octets + usize::from(matches!(character, '"' | '\\'));
        if cost + escaped > MAX_TEXT {
            let (piece, after) = rest.split_at(cut);
            pieces.push(piece);
            (rest, cost, cut) = (after, 0, 0);
        }
        cost += escaped;
        cut += octets;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests;
