//! Ends the process after a signal: drains for a limited time, then exits even if something hangs.

use std::{
    io, process,
    sync::{Arc, OnceLock},
    thread,
    time::Duration,
};

use hsm::EndSignals;
use tokio::{runtime::Builder, time::sleep};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::telemetry;

/// Time limit for the last log line, because the log itself may hang.
const TELL_WITHIN: Duration = Duration::from_millis(100);

/// Handler of SIGTERM and SIGINT.
///
/// It runs on its own thread, because the main thread may be blocked by a disk, by a pipe that nobody reads or by a
/// program that a kubeconfig names.
#[derive(Debug)]
pub(super) struct Signals {
    stop: CancellationToken,
    /// Time limit for the end of the process; unset until the process has begun work that a drain should finish.
    within: Arc<OnceLock<Duration>>,
}

impl Signals {
    /// Installs the handler. Until [`Self::drain_within`] is called, the first signal ends the process at once with exit
    /// code `code`.
    ///
    /// # Errors
    /// The operating system refused the signal handlers or the thread.
    pub(super) fn take(code: i32) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let mut signals = {
            let _entered = runtime.enter();
            EndSignals::take()?
        };
        let taken = Self {
            stop: CancellationToken::new(),
            within: Arc::default(),
        };
        let (stop, within) = (taken.stop.clone(), Arc::clone(&taken.within));
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                runtime.block_on(async {
                    signals.next().await;
                    let Some(within) = within.get() else {
                        process::exit(code);
                    };
                    stop.cancel();
                    let why = tokio::select! {
                        () = signals.next() => "a second signal came",
                        () = sleep(*within) => "the drain time is over",
                    };
                    end(why, code);
                });
            })?;
        Ok(taken)
    }

    /// Makes the first signal cancel the returned token instead of ending the process. The process then has `within` to
    /// end. After that time, or at a second signal, the handler ends it.
    pub(super) fn drain_within(&self, within: Duration) -> CancellationToken {
        self.within.get_or_init(|| within);
        self.stop.clone()
    }
}

/// Logs a last line, if the log accepts it in time, and ends the process.
fn end(why: &'static str, code: i32) {
    thread::spawn(move || {
        warn!("{why}: ending with work left undone");
        telemetry::flush(TELL_WITHIN);
        process::exit(code);
    });
    thread::sleep(TELL_WITHIN);
    process::exit(code);
}
