//! Prints one line per step, with the time that it took.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Width of a step's description, in columns; its time follows.
const WIDTH: usize = 66;

/// The steps of one run.
#[derive(Debug)]
pub(crate) struct Steps {
    start: Instant,
}

impl Steps {
    pub(crate) fn begin() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// Prints what a step does, does it, and prints how long it took.
    pub(crate) async fn step<T>(
        &self,
        what: &str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let start = Instant::now();
        say(&format!("{what:WIDTH$}"))?;
        let done = work.await;
        match &done {
            Ok(_) => say(&format!("{}\n", seconds(start.elapsed())))?,
            Err(_) => say("failed\n")?,
        }
        done.with_context(|| format!("{what}: failed after {}", seconds(start.elapsed()).trim()))
    }

    /// Prints the time since the first step began.
    pub(crate) fn total(&self) -> Result<()> {
        let total = seconds(self.start.elapsed());
        say(&format!("{:WIDTH$}{total}\n", "Total"))
    }
}

/// Writes to standard output and flushes it.
pub(crate) fn say(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .context("write to standard output")
}

fn seconds(time: Duration) -> String {
    format!("{:5.1} s", time.as_secs_f32())
}
