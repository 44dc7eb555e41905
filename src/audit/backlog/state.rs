//! The waiting lines of a backlog, without its threads.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use memchr::{memchr_iter, memrchr};

use super::{BATCH, Ending, ROOM, waiters::Waiters};
use crate::audit::{SinkTrouble, composer::Composer, fields::Fields};

/// The lines that are not on every sink yet, and who waits for what.
pub(super) struct BacklogState {
    pub(super) composer: Composer,
    /// Lines that a sink has not accepted yet.
    pub(super) lines: Vec<u8>,
    /// Position of the first of them.
    pub(super) start: u64,
    pub(super) sinks: Vec<SinkPosition>,
    pub(super) waiters: Waiters,
    /// Lines that every sink has accepted.
    pub(super) accepted_lines: u64,
    /// Lines that were appended.
    pub(super) appended_lines: u64,
    /// When every sink had last accepted one more line, or the first of the waiting lines was appended.
    pub(super) moved: Instant,
    /// Lines that were dropped since the last leaf.
    pub(super) dropped: u64,
    /// Whether no leaf may follow, because the run has ended.
    pub(super) stopped: bool,
    /// Whether the run ends without *stopped*, because the fate of a certificate is not known.
    pub(super) unfinished: bool,
    /// What the sinks found when they were opened; it follows the first line.
    pub(super) found: Vec<(&'static str, Fields)>,
    pub(super) ending: Ending,
    /// A sink without progress for this long counts as stalled.
    pub(super) patience: Duration,
}

/// How far a sink is.
pub(super) struct SinkPosition {
    pub(super) name: String,
    pub(super) accepted: u64,
    /// Whether any line wakes the sink, and not only one that somebody waits for.
    pub(super) idle: bool,
    /// Why the sink did not accept the next lines at the last try.
    pub(super) error: Option<String>,
}

impl BacklogState {
    /// Appends the first line of the run, unless it is there.
    pub(super) fn begin(&mut self, time: Timestamp) {
        if self.composer.size() > 0 || self.stopped {
            return;
        }
        let run = self.composer.run().clone();
        let started = Fields::default()
            .with("origin", &run.origin)
            .with("version", run.program.version)
            .with("commit", run.program.commit);
        self.extend(|composer, lines| composer.line(lines, time, "started", &[&started]));
        for (event, fields) in std::mem::take(&mut self.found) {
            self.extend(|composer, lines| composer.line(lines, time, event, &[&fields]));
        }
    }

    /// Appends the leaf that says how many lines were dropped, if some were and there is room.
    pub(super) fn admit_drops(&mut self, time: Timestamp) {
        if self.has_room() {
            self.tell_drops(time);
        }
    }

    /// Appends the leaf that says how many lines were dropped, if some were.
    pub(super) fn tell_drops(&mut self, time: Timestamp) {
        if self.dropped > 0 && !self.stopped {
            let fields = Fields::default().with("lines", &self.dropped);
            self.dropped = 0;
            self.extend(|composer, lines| composer.line(lines, time, "dropped-lines", &[&fields]));
        }
    }

    pub(super) fn extend(&mut self, append: impl FnOnce(&mut Composer, &mut Vec<u8>)) {
        if self.lines.is_empty() {
            self.moved = Instant::now();
        }
        let before = self.lines.len();
        append(&mut self.composer, &mut self.lines);
        self.appended_lines += count(self.lines.get(before..).unwrap_or_default());
    }

    /// Position after the last line.
    pub(super) fn end(&self) -> u64 {
        self.start + wide(self.lines.len())
    }

    /// Position up to which every sink has accepted the lines.
    pub(super) fn accepted(&self) -> u64 {
        let accepted = self.sinks.iter().map(|sink| sink.accepted);
        accepted.min().unwrap_or_default()
    }

    /// Returns whether a sink must not wait for more lines.
    pub(super) fn is_due(&self, sink: usize) -> bool {
        let accepted = self.sinks.get(sink).map_or(0, |sink| sink.accepted);
        self.ending != Ending::Never
            || self.waiters.wanted() > accepted
            || self.end() - accepted >= wide(BATCH)
    }

    pub(super) fn set_idle(&mut self, sink: usize, idle: bool) {
        if let Some(sink) = self.sinks.get_mut(sink) {
            sink.idle = idle;
        }
    }

    pub(super) const fn has_room(&self) -> bool {
        self.lines.len() < ROOM
    }

    pub(super) fn trouble(&self) -> Option<(String, SinkTrouble)> {
        let failing = self.sinks.iter().find_map(|sink| {
            let error = sink.error.clone()?;
            Some((sink.name.clone(), SinkTrouble::Failing(error)))
        });
        failing.or_else(|| {
            let slowest = self.sinks.iter().min_by_key(|sink| sink.accepted)?;
            let stalled = !self.lines.is_empty() && self.moved.elapsed() >= self.patience;
            let why = match (stalled, self.has_room()) {
                (true, _) => SinkTrouble::Stalled,
                (false, false) => SinkTrouble::Full,
                (false, true) => return None,
            };
            Some((slowest.name.clone(), why))
        })
    }

    /// Returns whole lines that the sink has not accepted yet, if there are any.
    pub(super) fn batch(&self, sink: usize) -> Option<Vec<u8>> {
        let accepted = self.sinks.get(sink)?.accepted;
        let offset = usize::try_from(accepted - self.start).ok()?;
        let lines = self.lines.get(offset..).filter(|lines| !lines.is_empty())?;
        let most = lines.get(..BATCH).unwrap_or(lines);
        let length = memrchr(b'\n', most)? + 1;
        lines.get(..length).map(<[u8]>::to_vec)
    }

    pub(super) fn forget_until(&mut self, position: u64) {
        let octets = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let octets = octets.min(self.lines.len());
        self.accepted_lines += count(self.lines.get(..octets).unwrap_or_default());
        self.lines.drain(..octets);
        self.start = position;
        if self.lines.is_empty() {
            self.lines.shrink_to(BATCH);
        }
    }
}

/// Returns the number of lines.
fn count(lines: &[u8]) -> u64 {
    wide(memchr_iter(b'\n', lines).count())
}

pub(super) fn wide(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}
