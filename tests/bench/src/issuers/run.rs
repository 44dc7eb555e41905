//! One run: the start of a controller with issuers that have no status yet, and its rest afterwards.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use anyhow::Result;
use bench::Spent;

use crate::{field::Field, watch::all_ready};

/// Time after the last status write in which the controller writes its last Events.
const SETTLE: Duration = Duration::from_secs(15);

/// The measurements of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Seconds from the start of the process until every issuer is ready.
    pub(crate) ready: f64,
    /// Number of issuers that were reported as not ready before.
    pub(crate) outages: f64,
    /// Status writes, including refused ones.
    pub(crate) statuses: f64,
    /// Calls that the API server refused with status 429.
    pub(crate) refused: f64,
    /// Events written.
    pub(crate) events: f64,
    /// Secrets read until all were ready.
    pub(crate) reads: f64,
    /// CPU seconds of the controller and its workers until all issuers are ready.
    pub(crate) cpu: f64,
    /// Secrets read per minute at rest.
    pub(crate) reads_at_rest: f64,
    /// CPU usage of the controller and its workers at rest, in percent of a core.
    pub(crate) cpu_at_rest: f64,
    /// Peak memory of the controller in MB.
    pub(crate) controller: f64,
    /// Sum of the peak memory of the controller and its workers in MB.
    pub(crate) memory: f64,
}

pub(crate) async fn run(field: &Field, rest: NonZeroU16) -> Result<Measured> {
    field.make_issuers().await?;
    let issuers = field.issuers().await?;
    let before = field.calls().await?;
    let started = Instant::now();
    let controller = field.launch()?;
    let outages = all_ready(issuers, field.count).await;
    controller.process().check_running()?;
    let outages = outages?;
    let ready = started.elapsed().as_secs_f64();
    let process = controller.process().id();
    let cpu = Spent::by(process)?.cpu_seconds;
    let at_ready = field.calls().await?;

    tokio::time::sleep(SETTLE).await;
    let (settled, calm) = (Spent::by(process)?, field.calls().await?);
    let seconds = f64::from(rest.get());
    tokio::time::sleep(Duration::from_secs(rest.get().into())).await;
    controller.process().check_running()?;
    let (spent, after) = (Spent::by(process)?, field.calls().await?);
    Ok(Measured {
        ready,
        outages,
        statuses: after.statuses - before.statuses,
        refused: after.refused - before.refused,
        events: after.events - before.events,
        reads: at_ready.reads - before.reads,
        cpu,
        reads_at_rest: (after.reads - calm.reads) / seconds * 60.0,
        cpu_at_rest: (spent.cpu_seconds - settled.cpu_seconds) / seconds * 100.0,
        controller: Spent::by_one(process)?.peak_megabytes,
        memory: spent.peak_megabytes,
    })
}
