//! The process that loads a PKCS#11 library and signs with the keys of one token.
//!
//! It serves one client on the socket that it inherits as its standard input and is crash-only: it never re-initialises
//! the library, never logs out and never finalises. When one of these would be needed it ends, and the client starts
//! another worker. As a sidecar it listens, and starts itself once per connection.

mod answers;
mod hangup;
mod hardening;
mod key;
mod listen;
mod login;
mod mechanism;
mod pool;
mod recovery;
mod requests;
mod say;
mod serve;
mod token;
mod watchdog;

use std::{io, path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, ValueEnum};

use self::say::say;

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
    /// Serve every client that connects to a Unix socket, each with a worker process of its own, until SIGTERM.
    ///
    /// The socket's file has mode 0600. Environment variables are handed to the workers.
    Listen {
        /// The PKCS#11 library that the workers load.
        #[arg(long)]
        module: PathBuf,
        /// Path of the socket to listen on.
        #[arg(long)]
        socket: PathBuf,
        /// The one user who may connect; the socket is given to it. Default: the user of this process, and root.
        #[arg(long)]
        allow_uid: Option<u32>,
        /// How long the workers may go on after SIGTERM or SIGINT, in seconds. Workers whose clients have not closed by
        /// then are ended. A second signal ends them at once.
        #[arg(long, value_name = "SECONDS", default_value_t = 25)]
        drain_timeout: u32,
        /// Format of the log lines on standard error.
        #[arg(long, value_name = "FORMAT", default_value = "text")]
        log_format: LogFormat,
    },
}

/// Format of the log lines of a listener and its workers.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// One line of text, for people.
    Text,
}

impl LogFormat {
    /// Starts logging to standard error.
    fn start(self) {
        let lines = tracing_subscriber::fmt().with_writer(io::stderr);
        match self {
            Self::Json => lines.json().flatten_event(true).init(),
            Self::Text => lines.with_ansi(false).init(),
        }
    }
}

fn main() -> ExitCode {
    let command = Command::parse();
    // A panic ends the process: with a dead session thread it would still look alive.
    std::panic::set_hook(Box::new(|panic| {
        say(format_args!("{panic}"));
        signal_hook::low_level::exit(101);
    }));
    let result = match command {
        Command::Serve { module } => hardening::harden().and_then(|()| serve::serve(&module)),
        Command::Listen {
            module,
            socket,
            allow_uid,
            drain_timeout,
            log_format,
        } => {
            log_format.start();
            let drain = Duration::from_secs(drain_timeout.into());
            listen::listen(&socket, module, allow_uid, drain)
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}
