//! The process that loads a PKCS#11 library and signs with the keys of one token.
//!
//! It serves one client on the socket that it inherits as its standard input and is crash-only: it never
//! re-initialises the library, never logs out and never finalises. When something needs that, it ends, and the
//! client starts another.

mod answers;
mod hardening;
mod job;
mod key;
mod login;
mod mechanism;
mod pool;
mod reader;
mod recovery;
mod serve;
mod token;
mod watchdog;

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

/// Serves one PKCS#11 token to pkcs11-issuer.
#[derive(Debug, Parser)]
#[command(name = "pkcs11-hsm-worker", version)]
enum Command {
    /// Serve the client that is connected to standard input, a Unix socket, until it closes.
    Serve {
        /// The PKCS#11 library to load.
        #[arg(long)]
        module: PathBuf,
    },
}

fn main() -> ExitCode {
    let Command::Serve { module } = Command::parse();
    // Nothing may outlive a panic: a process with a dead session thread would look alive.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("pkcs11-hsm-worker: {panic}");
        signal_hook::low_level::exit(101);
    }));
    let result = hardening::harden().and_then(|()| serve::serve(&module));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pkcs11-hsm-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
