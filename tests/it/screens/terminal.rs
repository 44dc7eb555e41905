//! A pseudo-terminal of a fixed width, and what a program shows on it.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    os::fd::OwnedFd,
    process::Command,
};

use anyhow::{Context as _, Result};
use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Winsize, tcsetwinsize},
};

/// Width of the terminal in characters: what fits a window beside a browser.
pub(crate) const COLUMNS: u16 = 120;

/// Runs a command with a terminal as its stdin, stdout and stderr, and as the controlling terminal of its session, which
/// libraries ask for its size. Returns what it writes, with `\n` at the end of lines.
pub(crate) fn on_terminal(command: &mut Command) -> Result<String> {
    let (ours, theirs) = terminal()?;
    let mut session = Command::new("setsid");
    session
        .args(["--ctty", "--wait"])
        .arg(command.get_program());
    session.args(command.get_args());
    for (name, value) in command.get_envs() {
        session.env(name, value.context("a variable was removed")?);
    }
    session.stdin(theirs.try_clone()?);
    session.stdout(theirs.try_clone()?).stderr(theirs);
    let mut child = session.spawn().context("failed to run setsid")?;
    // With the ends of the terminal that are in it.
    drop(session);
    let shown = read(ours)?;
    child.wait()?;
    Ok(shown.replace("\r\n", "\n"))
}

/// Returns both ends of a terminal.
fn terminal() -> Result<(File, OwnedFd)> {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let name = ptsname(&ours, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = open(name, flags, Mode::empty())?;
    let size = Winsize {
        ws_row: 50,
        ws_col: COLUMNS,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    tcsetwinsize(&theirs, size)?;
    Ok((ours.into(), theirs))
}

/// Reads until nobody has the other end any more, which Linux reports as EIO.
fn read(mut ours: File) -> Result<String> {
    let mut octets = Vec::new();
    let mut some = [0; 4096];
    loop {
        match ours.read(&mut some) {
            Ok(0) => break,
            Ok(count) => octets.extend_from_slice(&some[..count]),
            Err(error) if error.raw_os_error() == Some(Errno::IO.raw_os_error()) => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("failed to read the terminal"),
        }
    }
    Ok(String::from_utf8(octets)?)
}
