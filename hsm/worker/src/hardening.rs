//! What this process gives up before it loads foreign code.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};

/// No core dump may hold the PIN, no program may gain rights through us, and nothing may outlive the client.
pub(crate) fn harden() -> io::Result<()> {
    setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    )?;
    // Also keeps other processes of the same user from reading our memory.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    // In addition only: what ends an orphan for certain is the end of its socket.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
