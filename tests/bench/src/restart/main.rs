//! Measures a start among many finished requests: `make bench-restart`.
//!
//! The finished requests are copies of an issued request, written directly to etcd. Prints a table and writes
//! `target/bench/restart.json`.

mod finished;
mod list;
mod start;
mod update;

use std::{num::NonZeroUsize, process::ExitCode};

use anyhow::Result;
use bench::{Report, Row, median, percentile, spread};
use clap::Parser;
use control_plane::CertManagerOptions;
use rig::{Authority, Cluster, Controller, IssuerName, Programs, csr_for, request_spec};

/// Measures starts of the controller among finished requests, and a rolling update.
#[derive(Debug, Parser)]
#[command(name = "bench-restart")]
struct Args {
    /// Number of starts; the table shows medians.
    #[arg(long, default_value = "3")]
    runs: NonZeroUsize,
    /// Number of finished requests.
    #[arg(long, default_value = "100000")]
    finished: u32,
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let done = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(run(&Args::parse())));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<()> {
    let programs = Programs::find()?;
    let authorities = Authority::copies(4)?;
    let options = CertManagerOptions {
        approver: false,
        ..CertManagerOptions::default()
    };
    let cluster = bench::cluster(&programs, options).await?;
    cluster.cert_manager()?.controller().kill();
    let [first, ..] = authorities.as_slice() else {
        anyhow::bail!("there must be a token");
    };
    let replica = start::launch(&cluster, &programs, first, "first")?;
    prepare(&cluster, first, &replica, args.finished).await?;
    replica.stop().await?;

    let (mut report, mut starts, mut lists) = (Report::new("restart"), Vec::new(), Vec::new());
    for run in 1..=args.runs.get() {
        lists.push(list::read(cluster.plane()).await?);
        let start = start::measure(&cluster, &programs, first, run).await?;
        eprintln!("run {run}: {start:?}; seconds of a client that only reads the list: {lists:?}");
        starts.push(start);
    }
    let all = |of: fn(&start::Start) -> f64| starts.iter().map(of).collect::<Vec<_>>();
    for (name, unit, values) in [
        (
            "approved while it starts, to issued",
            "s",
            all(|run| run.approved_meanwhile),
        ),
        (
            "approved before and last in the list, from start to issued",
            "s",
            all(|run| run.approved_before),
        ),
        (
            "memory of the controller",
            "MB",
            all(|run| run.controller_megabytes),
        ),
        (
            "memory of the worker",
            "MB",
            all(|run| run.worker_megabytes),
        ),
    ] {
        report.push(Row::new(name, unit, median(&values)).spread(spread(&values)));
    }
    let ready = all(|run| run.ready);
    let row = Row::new(
        "ready, beside a client that reads the list",
        "s",
        median(&ready),
    );
    report.push(row.spread(spread(&ready)).beside(median(&lists)));
    for (name, values) in update::measure(&cluster, &programs, &authorities).await? {
        for (of, hundredth) in [("p50", 50), ("p99", 99), ("slowest", 100)] {
            let name = format!("{name}, {of} from approval");
            report.push(Row::new(name, "s", percentile(&values, hundredth)));
        }
    }
    report.print("list");
    report.write()?;
    Ok(())
}

/// Issues one request and writes copies of it.
async fn prepare(
    cluster: &Cluster,
    authority: &Authority,
    replica: &Controller,
    finished: u32,
) -> Result<()> {
    replica.is_ready().await?;
    cluster
        .apply_issuer(&issuer(), &authority.issuer_spec())
        .await?;
    cluster.issuer_is_ready(&issuer()).await?;
    let requests = cluster.requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    requests.create_approved("finished", spec).await?;
    requests.reaches("finished", "Issued").await?;
    finished::multiply(cluster.plane(), "default", "finished", finished).await
}

fn issuer() -> IssuerName {
    IssuerName::cluster("bench")
}
