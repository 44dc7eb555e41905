//! The whole way through Kubernetes, measured: `make bench-e2e`.
//!
//! On one control plane, in one run, CertificateRequests are drained by our controller with its worker, by cert-manager's
//! own CA issuer, and by a program that signs nothing and writes a constant certificate: the limit that the API server
//! sets. Prints tables and writes `target/bench/e2e.json`. What it measures is said in `measured.rs`.

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

/// Measures the whole way of a request through Kubernetes.
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
    /// Be the limit: write a constant certificate to every approved request. The benchmark starts itself for it.
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
        // One thread, as the controller has it.
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
