//! Whose turn it is, measured: `make bench-fair` and `make bench-slow`.
//!
//! On a control plane of its own: what a backlog of another tenant, or another token that hangs, costs a request; and how
//! much of a slow token is used.

mod fair;
mod slow;
mod stage;

use std::{num::NonZeroUsize, process::ExitCode};

use anyhow::Result;
use bench::Report;
use clap::{Parser, Subcommand};

/// Measures whose turn it is.
#[derive(Debug, Parser)]
#[command(name = "bench-turns")]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// One request at a time, beside a backlog of another tenant and beside another token that hangs.
    Fair {
        /// Approved requests of the other tenant.
        #[arg(long, default_value = "10000")]
        backlog: NonZeroUsize,
        /// Approved requests that wait for the token that hangs.
        #[arg(long, default_value = "1000")]
        hanging: NonZeroUsize,
    },
    /// A token that takes 0.3 s, and one that takes 2 s, for each signature.
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
