//! Ends the process when a PKCS#11 call lasts too long: a C call cannot be cancelled.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use hsm::protocol::Ending;

use crate::answers::Answers;

/// Watches every [`Seat`].
#[derive(Clone, Debug)]
pub(crate) struct Watchdog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    seats: Mutex<Vec<Arc<AtomicU64>>>,
}

/// One thread's place under the watchdog.
#[derive(Debug)]
pub(crate) struct Seat {
    started: Instant,
    /// Milliseconds after `started` at which the call began, plus one; 0 outside a call.
    since: Arc<AtomicU64>,
}

impl Watchdog {
    /// Starts the watching thread.
    pub(crate) fn start(hang_after: Duration, answers: Arc<Answers>) -> std::io::Result<Self> {
        let watchdog = Self(Arc::new(Inner {
            started: Instant::now(),
            seats: Mutex::default(),
        }));
        let watched = Arc::clone(&watchdog.0);
        thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || {
                loop {
                    thread::sleep((hang_after / 8).clamp(SHORTEST_TICK, LONGEST_TICK));
                    if watched.longest_call() > hang_after {
                        answers.end(Ending::Hung);
                    }
                    // A quick token that hangs may have left an answer waiting for the next.
                    answers.flush();
                }
            })?;
        Ok(watchdog)
    }

    /// A place for one more thread.
    pub(crate) fn seat(&self) -> Seat {
        let since = Arc::new(AtomicU64::new(0));
        self.0
            .seats
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&since));
        Seat {
            started: self.0.started,
            since,
        }
    }
}

const SHORTEST_TICK: Duration = Duration::from_millis(10);
const LONGEST_TICK: Duration = Duration::from_secs(1);

impl Inner {
    fn longest_call(&self) -> Duration {
        let now = milliseconds(self.started.elapsed());
        let seats = self.seats.lock().unwrap_or_else(PoisonError::into_inner);
        let calls = seats
            .iter()
            .map(|since| since.load(Ordering::Relaxed))
            .filter(|since| *since != 0);
        Duration::from_millis(
            calls
                .map(|since| now.saturating_sub(since - 1))
                .max()
                .unwrap_or_default(),
        )
    }
}

impl Seat {
    /// Runs calls into the library under the watchdog's eyes.
    pub(crate) fn during<T>(&self, calls: impl FnOnce() -> T) -> T {
        self.next_call();
        let result = calls();
        self.since.store(0, Ordering::Relaxed);
        result
    }

    /// Within [`Self::during`]: the call before has returned, and another begins.
    pub(crate) fn next_call(&self) {
        self.since
            .store(milliseconds(self.started.elapsed()) + 1, Ordering::Relaxed);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
