//! Bounded queue between the writers of lines and the sinks. Every sink takes lines at its own pace.

use std::{
    io,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::{
    LogCounts, SinkTrouble,
    composer::{Composer, TreeHead},
    fields::Fields,
};

/// Octets of waiting lines. Beyond this limit, only checkpoints and lines of `Need::Always` are taken.
const ROOM: usize = 4 << 20;

/// Most octets that a sink takes at once. More than one line always fits.
const BATCH: usize = 256 << 10;

/// Whether a line may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The line is always taken. The caller must bound the number of such lines.
    Always,
    /// The line is dropped and counted if there is no room.
    IfRoom,
}

/// Progress of the sinks.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Position up to which every sink has accepted the lines.
    accepted: u64,
    /// Number of sinks that have ended.
    ended: usize,
}

/// When the sinks end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The sinks do not end.
    Never,
    /// When every line is accepted.
    WhenDone,
    /// At once, even if a line is not accepted.
    Now,
}

/// Next task of a sink.
pub(super) enum Task {
    /// Accept these lines.
    Lines(Vec<u8>),
    /// No line came for a while.
    Idle,
    /// End.
    End,
}

/// The waiting lines. A position is a number of octets since the beginning of the run.
pub(super) struct Backlog {
    state: Mutex<State>,
    /// Wakes the sinks.
    work: Condvar,
    progress: watch::Sender<Progress>,
}

struct State {
    composer: Composer,
    /// Lines that a sink has not accepted yet.
    lines: Vec<u8>,
    /// Position of the first of them.
    start: u64,
    sinks: Vec<Position>,
    /// Lines that every sink has accepted.
    accepted_lines: u64,
    /// Lines that were appended.
    appended_lines: u64,
    /// When a sink last accepted a line, or the first of the waiting lines was appended.
    moved: Instant,
    /// Lines that were dropped since the last leaf.
    dropped: u64,
    /// What the sinks found when they were opened; it follows the first line.
    found: Vec<(&'static str, Fields)>,
    ending: Ending,
    /// A sink without progress for this long counts as stalled.
    patience: Duration,
}

struct Position {
    name: String,
    accepted: u64,
    /// Why the sink did not accept the next lines at the last try.
    error: Option<String>,
}

impl Backlog {
    pub(super) fn new(
        composer: Composer,
        sinks: impl IntoIterator<Item = String>,
        found: Vec<(&'static str, Fields)>,
        patience: Duration,
    ) -> Self {
        let sinks = sinks.into_iter().map(|name| Position {
            name,
            accepted: 0,
            error: None,
        });
        Self {
            state: Mutex::new(State {
                composer,
                lines: Vec::new(),
                start: 0,
                sinks: sinks.collect(),
                accepted_lines: 0,
                appended_lines: 0,
                moved: Instant::now(),
                dropped: 0,
                found,
                ending: Ending::Never,
                patience,
            }),
            work: Condvar::new(),
            progress: watch::Sender::default(),
        }
    }

    /// Appends the first line of the run, unless it is there.
    pub(super) fn begin(&self, time: Timestamp) {
        self.state.lock().begin(time);
        self.work.notify_all();
    }

    /// Appends a line and returns its position; `None` if it was dropped.
    pub(super) fn append(
        &self,
        need: Need,
        time: Timestamp,
        event: &str,
        parts: &[&Fields],
    ) -> Option<u64> {
        let mut state = self.state.lock();
        if need == Need::IfRoom && !state.has_room() {
            state.dropped += 1;
            return None;
        }
        state.begin(time);
        state.admit_drops(time);
        state.extend(|composer, lines| composer.line(lines, time, event, parts));
        let end = state.end();
        drop(state);
        self.work.notify_all();
        Some(end)
    }

    /// Returns the number of leaves.
    pub(super) fn size(&self) -> u64 {
        self.state.lock().composer.size()
    }

    /// Returns the state of the log, unless the last checkpoint covers all leaves.
    pub(super) fn unchecked(&self, time: Timestamp) -> Option<TreeHead> {
        let mut state = self.state.lock();
        state.admit_drops(time);
        state.composer.unchecked()
    }

    /// Appends a checkpoint and returns its position. It stands after the lines that were appended since `head`, but does
    /// not cover them.
    pub(super) fn checkpoint(&self, time: Timestamp, head: &TreeHead, text: &str) -> u64 {
        let mut state = self.state.lock();
        state.extend(|composer, lines| composer.checkpoint(lines, time, head, text));
        let end = state.end();
        drop(state);
        self.work.notify_all();
        end
    }

    /// Returns the name of the run.
    pub(super) fn run(&self) -> String {
        self.state.lock().composer.run().id.clone()
    }

    /// Returns why the sinks accept nothing at present, with the name of the sink; `None` if they accept lines.
    pub(super) fn trouble(&self) -> Option<(String, SinkTrouble)> {
        self.state.lock().trouble()
    }

    /// Returns whether lines that may be dropped are taken.
    pub(super) fn has_room(&self) -> bool {
        self.state.lock().has_room()
    }

    pub(super) fn counts(&self) -> LogCounts {
        let state = self.state.lock();
        LogCounts {
            lines: state.accepted_lines,
            waiting: state.appended_lines - state.accepted_lines,
            failing: state.trouble().is_some(),
        }
    }

    /// Waits until every sink has accepted everything up to a position.
    pub(super) async fn accepted(&self, position: u64) {
        let mut progress = self.progress.subscribe();
        // Fails only without a sender, and `self` holds it.
        progress
            .wait_for(|progress| progress.accepted >= position)
            .await
            .ok();
    }

    /// Tells the sinks to end when every line is accepted, and waits until they have ended.
    pub(super) async fn ended(&self) {
        let sinks = {
            let mut state = self.state.lock();
            state.ending = Ending::WhenDone;
            state.sinks.len()
        };
        self.work.notify_all();
        let mut progress = self.progress.subscribe();
        progress
            .wait_for(|progress| progress.ended >= sinks)
            .await
            .ok();
    }

    /// Tells the sinks to end, even if a line is not accepted.
    pub(super) fn abandon(&self) {
        self.state.lock().ending = Ending::Now;
        self.work.notify_all();
    }

    /// Returns what the sink with this number has to do next. Blocks the thread until there is something, at most for
    /// `idle`.
    pub(super) fn next(&self, sink: usize, idle: Option<Duration>) -> Task {
        let mut state = self.state.lock();
        loop {
            if let Some(lines) = state.batch(sink) {
                return Task::Lines(lines);
            }
            if state.ending != Ending::Never {
                return Task::End;
            }
            match idle {
                None => self.work.wait(&mut state),
                Some(idle) => {
                    if self.work.wait_for(&mut state, idle).timed_out() {
                        return Task::Idle;
                    }
                }
            }
        }
    }

    /// Notes that a sink has accepted lines of this many octets.
    pub(super) fn advance(&self, sink: usize, octets: usize) {
        let mut state = self.state.lock();
        if let Some(position) = state.sinks.get_mut(sink) {
            position.accepted += wide(octets);
            position.error = None;
        }
        state.moved = Instant::now();
        let accepted = state.sinks.iter().map(|sink| sink.accepted).min();
        let accepted = accepted.unwrap_or_default();
        state.forget_until(accepted);
        drop(state);
        self.progress.send_if_modified(|progress| {
            let moved = accepted > progress.accepted;
            progress.accepted = accepted;
            moved
        });
    }

    /// Notes that a sink failed with this error.
    pub(super) fn failed(&self, sink: usize, error: &io::Error) {
        if let Some(position) = self.state.lock().sinks.get_mut(sink) {
            position.error = Some(error.to_string());
        }
    }

    /// Blocks the thread of a sink for `pause`. Returns early, with `false`, if the sink must end at once.
    pub(super) fn pause(&self, pause: Duration) -> bool {
        let mut state = self.state.lock();
        let until = Instant::now() + pause;
        while state.ending != Ending::Now && !self.work.wait_until(&mut state, until).timed_out() {}
        state.ending != Ending::Now
    }

    /// Notes that a sink works again after it failed while no lines waited.
    pub(super) fn recovered(&self, sink: usize) {
        if let Some(position) = self.state.lock().sinks.get_mut(sink) {
            position.error = None;
        }
    }

    /// Notes that a sink has ended.
    pub(super) fn end(&self) {
        self.progress.send_modify(|progress| progress.ended += 1);
    }
}

impl State {
    fn begin(&mut self, time: Timestamp) {
        if self.composer.size() > 0 {
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

    /// Appends the leaf that says how many lines were dropped, if some were.
    fn admit_drops(&mut self, time: Timestamp) {
        if self.dropped > 0 && self.has_room() {
            let fields = Fields::default().with("lines", &self.dropped);
            self.dropped = 0;
            self.extend(|composer, lines| composer.line(lines, time, "dropped-lines", &[&fields]));
        }
    }

    fn extend(&mut self, append: impl FnOnce(&mut Composer, &mut Vec<u8>)) {
        if self.lines.is_empty() {
            self.moved = Instant::now();
        }
        let before = self.lines.len();
        append(&mut self.composer, &mut self.lines);
        self.appended_lines += count(self.lines.get(before..).unwrap_or_default());
    }

    /// Position after the last line.
    fn end(&self) -> u64 {
        self.start + wide(self.lines.len())
    }

    const fn has_room(&self) -> bool {
        self.lines.len() < ROOM
    }

    fn trouble(&self) -> Option<(String, SinkTrouble)> {
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
    fn batch(&self, sink: usize) -> Option<Vec<u8>> {
        let accepted = self.sinks.get(sink)?.accepted;
        let offset = usize::try_from(accepted - self.start).ok()?;
        let lines = self.lines.get(offset..).filter(|lines| !lines.is_empty())?;
        let most = lines.get(..BATCH).unwrap_or(lines);
        let length = most.iter().rposition(|octet| *octet == b'\n')? + 1;
        lines.get(..length).map(<[u8]>::to_vec)
    }

    fn forget_until(&mut self, position: u64) {
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
    wide(lines.iter().filter(|octet| **octet == b'\n').count())
}

fn wide(octets: usize) -> u64 {
    u64::try_from(octets).unwrap_or(u64::MAX)
}
