//! What this process gives up before it loads foreign code.

use std::io;

use rustix::process::{Signal, set_parent_process_death_signal};

/// No core dump may hold the PIN, no program may gain rights through us, and nothing may outlive the client.
pub(crate) fn harden() -> io::Result<()> {
    hsm::harden()?;
    // In addition only: what ends an orphan for certain is the end of its socket.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
