//! The thread that ends the process when the client has closed the socket, so that a hung worker is never orphaned.

use std::{io, os::unix::net::UnixStream, thread};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use crate::say::say;

/// Starts the thread. It sleeps until the socket's other end is closed; octets that arrive do not wake it.
pub(crate) fn start(socket: UnixStream) -> io::Result<()> {
    thread::Builder::new()
        .name("hangup".into())
        .spawn(move || {
            loop {
                // The kernel reports a hang-up and an error even if they are not requested.
                let mut watched = [PollFd::new(&socket, PollFlags::RDHUP)];
                match poll(&mut watched, None) {
                    Ok(0) | Err(Errno::INTR) => {}
                    Ok(_) => signal_hook::low_level::exit(0),
                    Err(error) => {
                        say(format_args!("failed to watch the client: {error}"));
                        signal_hook::low_level::exit(1);
                    }
                }
            }
        })?;
    Ok(())
}
