//! Hardening of this process before it loads foreign code.

use std::io;

use rustix::process::{Signal, set_parent_process_death_signal};

/// Hardens the process: no core dump holds the PIN, no program gains privileges through it, and it does not outlive the
/// process that started it.
pub(crate) fn harden() -> io::Result<()> {
    hsm::harden()?;
    // An additional measure: the end of the socket is what reliably ends an orphan.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
