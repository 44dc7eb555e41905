//! The signals that ask a process to end, taken without a moment in which one is lost.

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
    /// Takes the signals from now on: one that arrives before ends the process, as the kernel does it, and none is lost
    /// between.
    ///
    /// To be called inside a tokio runtime with its I/O driver, before the process has a second thread: the signals are
    /// held back for the calling thread alone.
    ///
    /// # Errors
    /// When the operating system gives no signals.
    pub fn take() -> io::Result<Self> {
        // The kernel calls the handler before the handler knows what to do: a signal of that moment would be swallowed.
        // Held back, it is delivered when the mask is put back.
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

    /// Waits until one of them arrives. One that arrived since the last call counts.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
