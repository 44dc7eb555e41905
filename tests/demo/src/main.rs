//! Starts a control plane, signs a certificate on a token and verifies it with openssl: `make demo`.
//!
//! With the environment variable `KEEP=1` everything keeps running until Ctrl-C or SIGTERM. However the demo ends, it ends
//! every process that it has started.

mod chain;
mod keep;
mod play;
mod steps;
mod token;

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::steps::say;

/// Exit codes of a program ended by SIGINT, SIGTERM or SIGHUP: 128 plus the number of the signal, as in a shell.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;
const HUNG_UP: u8 = 129;

#[tokio::main]
async fn main() -> ExitCode {
    let Ok(mut signals) = Signals::new() else {
        eprintln!("error: cannot install handlers for SIGINT, SIGTERM and SIGHUP");
        return ExitCode::FAILURE;
    };
    // A signal drops the future of `play`, which ends its processes.
    let played = tokio::select! {
        played = play::play() => played,
        code = signals.received() => {
            eprintln!("\nStopped. All processes of the demo have ended.");
            return ExitCode::from(code);
        }
    };
    let stage = match played {
        Ok(stage) => stage,
        Err(error) => return failed(&error),
    };
    if std::env::var("KEEP").is_ok_and(|keep| !["", "0"].contains(&keep.as_str())) {
        if let Err(error) = keep::instructions(&stage).await.and_then(|text| say(&text)) {
            return failed(&error);
        }
        signals.received().await;
    }
    ExitCode::SUCCESS
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal and returns the exit code for it.
    async fn received(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => TERMINATED,
            _ = self.hangup.recv() => HUNG_UP,
        }
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!(
        "\nThe demo failed. {error:#}\n\n\
         To find out more, run `CONTROL_PLANE_KEEP=1 make demo`: it keeps the logs of all processes and prints their folder."
    );
    ExitCode::FAILURE
}
