//! Reads the PIN: from a file, from a file descriptor, or from the terminal without an echo. Never from an argument.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader, IsTerminal as _, Read as _, Write as _},
    path::Path,
};

use cryptoki::types::AuthPin;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Returns the PIN without the line break at its end.
pub(crate) fn read(file: Option<&Path>, descriptor: Option<u32>) -> io::Result<AuthPin> {
    let mut octets = Zeroizing::new(String::new());
    match (file, descriptor) {
        (Some(path), _) => *octets = fs::read_to_string(path)?,
        (None, Some(number)) => {
            File::open(format!("/proc/self/fd/{number}"))?.read_to_string(&mut octets)?;
        }
        (None, None) => prompt(&mut octets)?,
    }
    let pin = octets.strip_suffix('\n').unwrap_or(&octets);
    if pin.is_empty() || pin.contains('\n') {
        return Err(io::Error::other("the PIN must be one line"));
    }
    Ok(AuthPin::from(pin.to_owned()))
}

/// Turns the echo on again, however the prompt ends.
struct Echo(File, rustix::termios::Termios);

impl Drop for Echo {
    fn drop(&mut self) {
        tcsetattr(&self.0, OptionalActions::Now, &self.1).ok();
    }
}

fn prompt(octets: &mut String) -> io::Result<()> {
    if !io::stdin().is_terminal() {
        return Err(io::Error::other(
            "there is no terminal to ask on; use --pin-file or --pin-fd",
        ));
    }
    let terminal = File::options().read(true).write(true).open("/dev/tty")?;
    let before = tcgetattr(&terminal)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Now, &silent)?;
    let echo = Echo(terminal, before);
    write!(&echo.0, "User PIN of the token: ")?;
    BufReader::new(&echo.0).read_line(octets)?;
    writeln!(&echo.0)
}
