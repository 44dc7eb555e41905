//! How a signal ends the process: what has begun is finished within a time, and then the process ends, whatever hangs.

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

/// How long the last line of the log may take: the log can be what hangs.
const TELL_WITHIN: Duration = Duration::from_millis(100);

/// SIGTERM and SIGINT of this process.
///
/// A thread of its own takes them, because the one that does the work may be blocked: by a disk, by a pipe that nobody
/// reads, by a program that a kubeconfig names.
#[derive(Debug)]
pub(super) struct Signals {
    stop: CancellationToken,
    /// How long the process may take to end; unset as long as it has begun nothing.
    within: Arc<OnceLock<Duration>>,
}

impl Signals {
    /// Takes the signals from now on. The first one ends the process at once, with this exit code, until
    /// [`Self::drain_within`] is called.
    ///
    /// # Errors
    /// When the operating system gives no signals, or no thread.
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

    /// Something is about to begin that is to be finished: from now on the first signal cancels the token that is
    /// returned, and the process has so long to end. Then, or at a second signal, it is ended.
    pub(super) fn drain_within(&self, within: Duration) -> CancellationToken {
        self.within.get_or_init(|| within);
        self.stop.clone()
    }
}

/// Ends the process and says so, if the log takes it.
fn end(why: &'static str, code: i32) {
    thread::spawn(move || {
        warn!("{why}: ending with work left undone");
        process::exit(code);
    });
    thread::sleep(TELL_WITHIN);
    process::exit(code);
}
