//! Measures many issuers on few tokens: `make bench-issuers`.
//!
//! On one control plane, cluster issuers name one Secret and one of several tokens. The benchmark starts the controller and
//! measures its cost until all issuers are ready, and afterwards at rest. Prints a table and writes
//! `target/bench/issuers.json`.

mod field;
mod run;
mod watch;

use std::num::{NonZeroU16, NonZeroUsize};
use std::process::ExitCode;

use anyhow::Result;
use bench::{Report, Row, median, spread};
use clap::Parser;

use crate::{field::Field, run::Measured};

/// Measures a controller with many issuers at its start and at rest.
#[derive(Debug, Parser)]
#[command(name = "bench-issuers")]
struct Args {
    /// Number of issuers.
    #[arg(long, default_value = "1000")]
    issuers: NonZeroU16,
    /// Number of tokens; each issuer names one of them.
    #[arg(long, default_value = "4")]
    tokens: NonZeroUsize,
    /// Seconds to measure the controller at rest.
    #[arg(long, default_value = "120")]
    rest: NonZeroU16,
    /// Number of runs; the table shows medians.
    #[arg(long, default_value = "3")]
    runs: NonZeroUsize,
}

/// A figure of a run: its name, its unit and how it is read from [`Measured`].
type Figure = (&'static str, &'static str, fn(&Measured) -> f64);

const FIGURES: [Figure; 11] = [
    ("until all are ready", "s", |run| run.ready),
    ("told of an outage first", "issuers", |run| run.outages),
    ("status writes", "writes", |run| run.statuses),
    ("refused with 429", "calls", |run| run.refused),
    ("Events", "writes", |run| run.events),
    ("Secrets read until then", "GETs", |run| run.reads),
    ("CPU until then", "s", |run| run.cpu),
    ("at rest: Secrets read", "GETs/min", |run| run.reads_at_rest),
    ("at rest: CPU", "% of a core", |run| run.cpu_at_rest),
    ("memory of the controller", "MB", |run| run.controller),
    ("memory with its workers", "MB", |run| run.memory),
];

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(args: &Args) -> Result<()> {
    let field = Field::start(args.issuers.get(), args.tokens.get()).await?;
    let mut runs = Vec::new();
    for number in 1..=args.runs.get() {
        let run = run::run(&field, args.rest).await?;
        eprintln!(
            "run {number} of {}: all ready after {:.1} s",
            args.runs, run.ready
        );
        runs.push(run);
    }
    let mut report = Report::new("issuers");
    for (name, unit, figure) in FIGURES {
        let values: Vec<f64> = runs.iter().map(figure).collect();
        report.push(Row::new(name, unit, median(&values)).spread(spread(&values)));
    }
    report.print("");
    report.write()?;
    Ok(())
}
