//! One run: the start of a controller beside issuers that nobody has looked at yet, and its rest afterwards.

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use anyhow::Result;
use bench::Spent;

use crate::{field::Field, watch::all_ready};

/// The controller writes its last Events, and nothing else, in this time after the last status.
const SETTLE: Duration = Duration::from_secs(15);

/// What one run has shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measured {
    /// Seconds from the start of the process until every issuer's status says that it is ready.
    pub(crate) ready: f64,
    /// Issuers whose status said before that they are not.
    pub(crate) outages: f64,
    /// Status writes until then, whatever the answer.
    pub(crate) statuses: f64,
    /// Calls that the API server refused with 429.
    pub(crate) refused: f64,
    /// Events written.
    pub(crate) events: f64,
    /// Secrets read until all were ready.
    pub(crate) reads: f64,
    /// Seconds of processor time until then, of the controller and its workers.
    pub(crate) cpu: f64,
    /// Secrets read in a minute while nothing happens.
    pub(crate) reads_at_rest: f64,
    /// Hundredths of a core that controller and workers use while nothing happens.
    pub(crate) cpu_at_rest: f64,
    /// The peak of the controller's memory, MB.
    pub(crate) controller: f64,
    /// The same, and the peaks of its workers.
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
