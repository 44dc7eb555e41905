//! Measures what the metrics cost per certificate, in microseconds of processor time: every call of `Metrics` for one
//! request, with 100 issuers that have metrics of their own.
//!
//! Takes the median of five runs of `BENCH_ROUNDS` rounds (default 100 000), prints a table and writes
//! `target/bench/metrics.json`. Fails above the goal.

use std::{env, process, time::Duration};

use bench::{Report, Row, Spent, median, spread};
use pkcs11_issuer::{
    audit::RequestKind,
    metrics::{
        ApiVerb, IssuerId, Metrics, RequestResult, SignOutcome, TimedStage, TokenFunction,
        WaitReason,
    },
};

/// The goal, in microseconds.
const MOST: f64 = 5.0;
const RUNS: usize = 5;

/// Makes the calls for one certificate. The request enters and leaves two reasons to wait, which changes a count four times.
fn certificate(metrics: &Metrics, issuer: IssuerId<'_>, round: i64) {
    let kind = RequestKind::CertificateRequest;
    let took = Duration::from_micros(700);
    let counts = [
        (WaitReason::Queue, 1),
        (WaitReason::Queue, 0),
        (WaitReason::InProgress, 1),
        (WaitReason::InProgress, 0),
    ];
    for (reason, count) in counts {
        metrics.waiting(kind, reason, count, (count > 0).then_some(round));
    }
    metrics.undecided(kind, 0, None);
    metrics.stage(TimedStage::Queue, took);
    metrics.stage(TimedStage::Turn, took);
    metrics.token_called("issuing", TokenFunction::Sign, took);
    metrics.signed("issuing", SignOutcome::Signed, took);
    metrics.last_signature("issuing", round);
    metrics.api_called(ApiVerb::Put, Some(200), took);
    metrics.clock_offset(0.1);
    metrics.stage(TimedStage::Write, took);
    metrics.request(kind, issuer, RequestResult::Issued);
    metrics.published_after(kind, took);
    // The Event.
    metrics.api_called(ApiVerb::Post, Some(201), took);
    metrics.clock_offset(0.1);
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let rounds: u32 = match env::var("BENCH_ROUNDS") {
        Ok(rounds) => rounds.parse()?,
        Err(_) => 100_000,
    };
    let names: Vec<_> = (0..100).map(|number| format!("issuer-{number}")).collect();
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        let metrics = Metrics::with_issuers("0", "0", names.len());
        let before = Spent::by_one(process::id())?.cpu_seconds;
        for (round, name) in (0..rounds).zip(names.iter().cycle()) {
            let issuer = IssuerId {
                kind: "PKCS11Issuer",
                namespace: Some("shop"),
                name,
            };
            certificate(&metrics, issuer, i64::from(round));
        }
        let spent = Spent::by_one(process::id())?.cpu_seconds - before;
        runs.push(spent * 1e6 / f64::from(rounds));
    }
    let cost = median(&runs);
    let mut report = Report::new("metrics");
    let row = Row::new("metrics per certificate", "µs", cost).spread(spread(&runs));
    report.push(row.at_most(MOST));
    report.print("");
    report.write()?;
    Ok(report.goals_are_reached()?)
}
