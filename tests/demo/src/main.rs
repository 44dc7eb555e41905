//! From nothing to a certificate signed on a token and verified by openssl: `make demo`.
//!
//! With the environment variable `KEEP=1` everything keeps running until Ctrl-C or SIGTERM. Whatever happens, every
//! process that it has started is gone when it ends.

mod chain;
mod keep;
mod play;
mod steps;

use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::steps::say;

/// What a shell reports of a program that SIGINT, SIGTERM or SIGHUP has ended: 128 and the signal's number.
const INTERRUPTED: u8 = 130;
const TERMINATED: u8 = 143;
const HUNG_UP: u8 = 129;

#[tokio::main]
async fn main() -> ExitCode {
    let Ok(mut signals) = Signals::new() else {
        eprintln!("error: this system does not let a program wait for signals");
        return ExitCode::FAILURE;
    };
    // Dropping the play, as a signal does, ends its processes.
    let played = tokio::select! {
        played = play::play() => played,
        code = signals.received() => {
            eprintln!("\nStopped. Every process of the demo is gone.");
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

    /// Waits for one of them and returns the exit code that goes with it.
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
         If this does not say what to do: `CONTROL_PLANE_KEEP=1 make demo` keeps the logs of every process and says where."
    );
    ExitCode::FAILURE
}
