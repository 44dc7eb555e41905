//! Lines of a worker on standard error.

use std::{
    fmt,
    io::{self, Write as _},
    sync::OnceLock,
};

use tracing::{dispatcher, error};

/// The token that this process serves.
static TOKEN: OnceLock<String> = OnceLock::new();

/// Sets the token that later lines name. Only the first call counts.
pub(crate) fn set_token(token: &impl ToString) {
    drop(TOKEN.set(token.to_string()));
}

/// Writes one line to standard error. Unlike `eprintln!`, it does not panic when the reader is gone: the lines of a
/// worker go through a pipe to the process that started it, which may have ended.
pub(crate) fn say(line: fmt::Arguments<'_>) {
    if dispatcher::has_been_set() {
        // This is the listener of a sidecar, and it cannot go on.
        error!("{line}");
        return;
    }
    let mut stderr = io::stderr();
    drop(match TOKEN.get() {
        Some(token) => writeln!(stderr, "pkcs11-hsm-worker: {token}: {line}"),
        None => writeln!(stderr, "pkcs11-hsm-worker: {line}"),
    });
}
