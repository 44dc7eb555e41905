//! Ends the process when a PKCS#11 call lasts too long, because a C call cannot be cancelled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use hsm::protocol::ExitReason;

use crate::answers::Answers;

/// Thread that watches every [`WatchdogSeat`].
#[derive(Clone, Debug)]
pub(crate) struct Watchdog(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    seats: Mutex<Vec<Arc<AtomicU64>>>,
}

/// A session thread's registration with the watchdog.
#[derive(Debug)]
pub(crate) struct WatchdogSeat {
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
                        answers.end(ExitReason::Hung);
                    }
                    // An answer may still wait to be written together with the next one, whose call now hangs although
                    // earlier calls were quick.
                    answers.flush();
                }
            })?;
        Ok(watchdog)
    }

    /// Registers one more thread.
    pub(crate) fn seat(&self) -> WatchdogSeat {
        let since = Arc::new(AtomicU64::new(0));
        self.0.seats.lock().push(Arc::clone(&since));
        WatchdogSeat {
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
        let seats = self.seats.lock();
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

impl WatchdogSeat {
    /// Runs calls into the library while the watchdog watches them.
    pub(crate) fn during<T>(&self, calls: impl FnOnce() -> T) -> T {
        self.next_call();
        let result = calls();
        self.since.store(0, Ordering::Relaxed);
        result
    }

    /// Restarts the time of the call: within [`Self::during`], the previous call has returned and another begins.
    pub(crate) fn next_call(&self) {
        self.since
            .store(milliseconds(self.started.elapsed()) + 1, Ordering::Relaxed);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX - 1)
}
