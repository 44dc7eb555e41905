//! Measures the whole path of a request through Kubernetes: `make bench-e2e`.
//!
//! On one control plane, our controller with its worker, cert-manager's own CA issuer, and a program that signs nothing and
//! writes a constant certificate each drain CertificateRequests. The last one shows the limit that the API server sets.
//! Prints tables and writes `target/bench/e2e.json`. `measured.rs` lists the figures.

mod contestant;
mod drain;
mod field;
mod in_flight;
mod limit;
mod load;
mod measured;
mod plan;

mod running;
mod tables;
mod watch;
mod write;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::{limit::Limit, plan::Plan};

/// Measures the whole path of a request through Kubernetes.
#[derive(Debug, Parser)]
#[command(name = "bench-e2e", args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    plan: Plan,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run as the limit: write a constant certificate to every approved request. The benchmark starts itself with this
    /// command.
    Limit(Limit),
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> Result<()> {
    let Args { command, plan } = args;
    match command {
        // One thread, like the controller.
        Some(Command::Limit(limit)) => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(limit.run()),
        None => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?
            .block_on(plan.run()),
    }
}
