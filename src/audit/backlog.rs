//! Bounded queue between the writers of lines and the sinks. Every sink takes lines at its own pace.
//!
//! Waking a thread costs more than writing a line. So a sink is woken for a line that somebody waits for, and takes with it
//! everything that was appended meanwhile; and each caller is woken once.

mod state;
mod waiters;

use std::{
    io,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::{sync::watch, task::yield_now};

use self::{
    state::{BacklogState, SinkPosition, wide},
    waiters::Waiters,
};
use super::{
    LogCounts, SinkTrouble,
    composer::{Composer, TreeHead},
    fields::Fields,
};

/// Octets of waiting lines. Beyond this limit, only checkpoints and lines of `Need::Always` are taken.
const ROOM: usize = 4 << 20;

/// Most octets that a sink takes at once. More than one line always fits.
const BATCH: usize = 256 << 10;

/// A sink that has just accepted lines takes more of them within this time only if somebody waits for one, or if they fill
/// a batch.
const GATHER: Duration = Duration::from_millis(5);

/// Whether a line may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The line is always taken. The caller must bound the number of such lines.
    Always,
    /// The line is dropped and counted if there is no room.
    IfRoom,
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
    state: Mutex<BacklogState>,
    /// Wakes the sinks.
    work: Condvar,
    /// Number of sinks that have ended.
    ended: watch::Sender<usize>,
}

impl Backlog {
    pub(super) fn new(
        composer: Composer,
        sinks: impl IntoIterator<Item = String>,
        found: Vec<(&'static str, Fields)>,
        patience: Duration,
    ) -> Self {
        let sinks = sinks.into_iter().map(|name| SinkPosition {
            name,
            accepted: 0,
            idle: false,
            error: None,
        });
        Self {
            state: Mutex::new(BacklogState {
                composer,
                lines: Vec::new(),
                start: 0,
                sinks: sinks.collect(),
                waiters: Waiters::default(),
                accepted_lines: 0,
                appended_lines: 0,
                moved: Instant::now(),
                dropped: 0,
                stopped: false,
                unfinished: false,
                found,
                ending: Ending::Never,
                patience,
            }),
            work: Condvar::new(),
            ended: watch::Sender::default(),
        }
    }

    /// Appends the first line of the run, unless it is there.
    pub(super) fn begin(&self, time: Timestamp) {
        let mut state = self.state.lock();
        state.begin(time);
        self.announce(state);
    }

    /// Appends a line and returns its position; `None` if it was dropped, or if the run has stopped.
    pub(super) fn append(
        &self,
        need: Need,
        time: Timestamp,
        event: &str,
        parts: &[&Fields],
    ) -> Option<u64> {
        let mut state = self.state.lock();
        if state.stopped {
            return None;
        }
        if need == Need::IfRoom && !state.has_room() {
            state.dropped += 1;
            return None;
        }
        state.begin(time);
        state.admit_drops(time);
        state.extend(|composer, lines| composer.line(lines, time, event, parts));
        let end = state.end();
        self.announce(state);
        Some(end)
    }

    /// Notes that the run must not have *stopped*.
    pub(super) fn leave_unfinished(&self) {
        self.state.lock().unfinished = true;
    }

    /// Appends *stopped*, unless there is no line or the run is unfinished. No leaf follows.
    pub(super) fn stop(&self, time: Timestamp) {
        let mut state = self.state.lock();
        if !state.stopped && state.composer.size() > 0 {
            state.tell_drops(time);
            if !state.unfinished {
                state.extend(|composer, lines| composer.line(lines, time, "stopped", &[]));
            }
        }
        state.stopped = true;
        self.announce(state);
    }

    /// Wakes the sinks for lines that nobody waits for yet, if some have nothing else to do or there is a whole batch.
    fn announce(&self, state: MutexGuard<'_, BacklogState>) {
        let wake = state.lines.len() >= BATCH || state.sinks.iter().any(|sink| sink.idle);
        drop(state);
        if wake {
            self.work.notify_all();
        }
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
        self.announce(state);
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
        // Callers that are ready now append their lines first, and the sinks take all of them at once.
        yield_now().await;
        let accepted = {
            let mut state = self.state.lock();
            if state.accepted() >= position {
                return;
            }
            let end = state.end();
            state.waiters.add(position, end)
        };
        self.work.notify_all();
        // Fails only without a sender, and `self` holds it.
        accepted.await.ok();
    }

    /// Tells the sinks to end when every line is accepted, and waits until they have ended.
    pub(super) async fn ended(&self) {
        let sinks = {
            let mut state = self.state.lock();
            state.ending = Ending::WhenDone;
            state.sinks.len()
        };
        self.work.notify_all();
        let mut ended = self.ended.subscribe();
        // Fails only without a sender, and `self` holds it.
        ended.wait_for(|ended| *ended >= sinks).await.ok();
    }

    /// Tells the sinks to end, even if a line is not accepted.
    pub(super) fn abandon(&self) {
        self.state.lock().ending = Ending::Now;
        self.work.notify_all();
    }

    /// Returns what the sink with this number has to do next. Blocks the thread until there is something, at most for
    /// `idle`.
    pub(super) fn next(&self, sink: usize, idle: Option<Duration>) -> Task {
        let begun = Instant::now();
        let mut gathering = true;
        let mut state = self.state.lock();
        loop {
            if !gathering || state.is_due(sink) {
                if let Some(lines) = state.batch(sink) {
                    return Task::Lines(lines);
                }
                if state.ending != Ending::Never {
                    return Task::End;
                }
            }
            if gathering {
                gathering = !self.work.wait_until(&mut state, begun + GATHER).timed_out();
                continue;
            }
            state.set_idle(sink, true);
            let late = match idle {
                None => {
                    self.work.wait(&mut state);
                    false
                }
                Some(idle) => self.work.wait_until(&mut state, begun + idle).timed_out(),
            };
            state.set_idle(sink, false);
            if late {
                return Task::Idle;
            }
        }
    }

    /// Notes that a sink has accepted lines of this many octets.
    pub(super) fn advance(&self, sink: usize, octets: usize) {
        let mut state = self.state.lock();
        let before = state.accepted();
        if let Some(position) = state.sinks.get_mut(sink) {
            position.accepted += wide(octets);
            position.error = None;
        }
        let accepted = state.accepted();
        if accepted > before {
            // A sink that takes lines says nothing about the one that takes none.
            state.moved = Instant::now();
        }
        state.forget_until(accepted);
        let waiters = state.waiters.remove_until(accepted);
        drop(state);
        for waiter in waiters {
            // It may have lost its patience.
            waiter.send(()).ok();
        }
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
        self.ended.send_modify(|ended| *ended += 1);
    }
}
