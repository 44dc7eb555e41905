//! The signals that ask a process to end, taken over without losing one.

use std::io;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use tokio::signal::unix::{self, SignalKind, signal};

/// SIGTERM and SIGINT of this process.
#[derive(Debug)]
pub struct EndSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
}

impl EndSignals {
    /// Takes over the signals. A signal that arrives earlier ends the process by the kernel's default action, and no
    /// signal is lost in between.
    ///
    /// To be called inside a tokio runtime with its I/O driver, before the process has a second thread: the signals are
    /// blocked for the calling thread only.
    ///
    /// # Errors
    /// The operating system refuses to block the signals or to register their handlers.
    pub fn take() -> io::Result<Self> {
        // tokio installs the handler before it can receive signals, so a signal at that moment would be lost. A blocked
        // signal is delivered when the mask is restored.
        let held_back = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        let before = held_back.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
        let taken = signal(SignalKind::terminate()).and_then(|terminate| {
            let interrupt = signal(SignalKind::interrupt())?;
            Ok(Self {
                terminate,
                interrupt,
            })
        });
        before.thread_set_mask()?;
        taken
    }

    /// Waits until one of the signals arrives. A signal that arrived since the last call counts.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
