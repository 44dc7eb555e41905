//! Measures the fairness of turns: `make bench-fair` and `make bench-slow`.
//!
//! On its own control plane, measures how much a backlog of another tenant, or another token that hangs, delays a request;
//! and how well a slow token is used.

mod fair;
mod slow;
mod stage;

use std::{num::NonZeroUsize, process::ExitCode};

use anyhow::Result;
use bench::Report;
use clap::{Parser, Subcommand};

/// Measures the fairness of turns.
#[derive(Debug, Parser)]
#[command(name = "bench-turns")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Measure one request at a time, beside a backlog of another tenant and beside another token that hangs.
    Fair {
        /// Number of approved requests of the other tenant.
        #[arg(long, default_value = "10000")]
        backlog: NonZeroUsize,
        /// Number of approved requests that wait for the token that hangs.
        #[arg(long, default_value = "1000")]
        hanging: NonZeroUsize,
    },
    /// Measure a token that takes 0.3 s for each signature, and one that takes 2 s.
    Slow,
}

#[tokio::main]
async fn main() -> ExitCode {
    match measure(&Args::parse().what).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(what: &What) -> Result<()> {
    let (name, beside, rows) = match what {
        What::Fair { backlog, hanging } => {
            let rows = fair::measure(backlog.get(), hanging.get()).await?;
            ("fair", "alone", rows)
        }
        What::Slow => ("slow", "the token's own", slow::measure().await?),
    };
    let mut report = Report::new(name);
    for row in rows {
        report.push(row);
    }
    report.print(beside);
    report.write()?;
    Ok(())
}
