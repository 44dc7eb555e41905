//! Measures how much other requests delay a request.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bench::{Row, median, percentile};

use crate::stage::{Stage, first, other};

/// Number of requests that are measured alone.
const ALONE: usize = 200;
/// Long enough for the watchdog to end the worker of the hung token several times.
const HANGS: Duration = Duration::from_secs(60);

/// Measures requests alone, beside a backlog of another tenant, and beside another token that hangs.
pub(crate) async fn measure(backlog: usize, hanging: usize) -> Result<Vec<Row>> {
    let stage = Stage::start().await?;
    let alone = |namespace, issuer| stage.one_by_one(namespace, issuer, |done| Ok(done < ALONE));
    let (first, other) = (first(), other());
    let of_first = alone("alone", &first).await?;
    let of_other = alone("alone-other", &other).await?;

    stage.controller.stop().await?;
    stage.backlog("noisy", &first, backlog).await?;
    stage.controller.process().restart()?;
    stage.records("published", "noisy", 1).await?;
    let beside_backlog = stage
        .one_by_one("quiet", &first, |done| {
            // Reading the whole record takes a while, so do it rarely.
            Ok(done % 20 != 0 || stage.recorded("published", "noisy")?.len() < backlog)
        })
        .await?;
    ensure!(
        stage.recorded("discarded", "noisy")?.is_empty(),
        "requests of the backlog were discarded"
    );

    stage.library.rules("C_Sign hang")?;
    stage.backlog("hanging", &first, hanging).await?;
    let began = Instant::now();
    let beside_hanging = stage
        .one_by_one("quiet-other", &other, |_| Ok(began.elapsed() < HANGS))
        .await?;
    let mut rows = vec![Row::new(
        "requests beside the backlog",
        "requests",
        count(&beside_backlog),
    )];
    rows.extend(latencies(
        "beside a backlog of another tenant",
        &beside_backlog,
        &of_first,
    ));
    rows.push(Row::new(
        "requests beside the token that hangs",
        "requests",
        count(&beside_hanging),
    ));
    rows.extend(latencies(
        "beside another token that hangs",
        &beside_hanging,
        &of_other,
    ));
    Ok(rows)
}

fn count(values: &[f64]) -> f64 {
    u32::try_from(values.len()).map_or(f64::INFINITY, f64::from)
}

fn latencies(name: &str, measured: &[f64], alone: &[f64]) -> Vec<Row> {
    let row = |of: &str, value: fn(&[f64]) -> f64| {
        Row::new(format!("{name}, {of}"), "ms", value(measured)).beside(value(alone))
    };
    vec![
        row("median", median),
        row("p99", |values| percentile(values, 99)),
        row("slowest", |values| percentile(values, 100)),
    ]
}
