//! Drains requests that were approved while no issuer ran, then restarts our controller among the finished requests.

use std::time::Instant;

use anyhow::{Context as _, Result};
use bench::percentile;
use rig::Controller;

use crate::contestant::{Contestant, Key};
use crate::field::{Field, PlaneSpent, Writes};
use crate::load::{clear, fill};
use crate::measured::Measured;
use crate::running::{Running, at_rest, launch};
use crate::watch::{Phase, Watch};

/// Measurements of our controller, started among finished requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Restarted {
    /// Seconds from the start of the process until it says that it is ready.
    pub(crate) ready: f64,
    /// As [`Measured::memory`], once the controller is idle.
    pub(crate) memory: f64,
}

/// Creates and approves requests, has a contestant drain them, and removes them.
pub(crate) async fn drain(
    field: &Field,
    contestant: Contestant,
    count: usize,
) -> Result<(Measured, Option<Restarted>)> {
    let (namespace, requests) = field.namespace().await?;
    let issuer = field.issuer_of(contestant).await?;
    let admin = field.admin().await?;
    let mut watch = Watch::start(admin.clone(), &namespace);
    fill(&requests, &issuer, count).await?;
    watch.until(Phase::Approved, count).await?;

    let before = Before::now(field).await?;
    let started = Instant::now();
    let running = Running::start(field, contestant)?;
    let issued = watch.until(Phase::Issued, count).await;
    let issued = issued.with_context(|| format!("{contestant} did not issue all requests"))?;
    let took: Vec<f64> = issued
        .iter()
        .map(|at| at.duration_since(started).as_secs_f64())
        .collect();
    let measured = before.until_settled(field, &running, &took).await?;
    drop(running);

    let restarted = match contestant {
        Contestant::Ours {
            key: Key::P256,
            events: false,
        } => Some(restart(field).await?),
        Contestant::Ours { .. } | Contestant::CertManager | Contestant::Limit { .. } => None,
    };
    drop(watch);
    clear(&admin, &namespace).await?;
    Ok((measured, restarted))
}

/// The counters before a contestant starts.
pub(crate) struct Before {
    plane: PlaneSpent,
    writes: Writes,
}

impl Before {
    pub(crate) async fn now(field: &Field) -> Result<Self> {
        let writes = field.writes().await?;
        // Do not measure the garbage of earlier work, such as creating a thousand requests.
        field.collect_garbage().await?;
        let plane = at_rest(|| field.spent(), PlaneSpent::seconds).await?;
        Ok(Self { plane, writes })
    }

    /// Waits until the contestant is idle and returns the measurements of the run. `took` has, for each certificate, the
    /// seconds from the start until it was published.
    pub(crate) async fn until_settled(
        &self,
        field: &Field,
        running: &Running<'_>,
        took: &[f64],
    ) -> Result<Measured> {
        let spent = running.settled().await?;
        let plane = field.spent()?;
        let writes = field.writes().await?;
        let requests = count_of(took)?;
        let per_thousand = |seconds: f64| seconds / requests * 1000.0;
        let (first, last) = (percentile(took, 0), percentile(took, 100));
        Ok(Measured {
            rate: (requests - 1.0) / (last - first),
            first,
            p50: percentile(took, 50) * 1000.0,
            p99: percentile(took, 99) * 1000.0,
            cpu: per_thousand(spent.cpu_seconds),
            api_server: per_thousand(plane.api_server - self.plane.api_server),
            etcd: per_thousand(plane.etcd - self.plane.etcd),
            webhook: per_thousand(plane.webhook - self.plane.webhook),
            memory: spent.peak_megabytes,
            statuses: (writes.statuses - self.writes.statuses) / requests,
            events: (writes.events - self.writes.events) / requests,
        })
    }
}

/// Returns the number of values.
pub(crate) fn count_of(values: &[f64]) -> Result<f64> {
    Ok(f64::from(u32::try_from(values.len())?))
}

async fn restart(field: &Field) -> Result<Restarted> {
    let started = Instant::now();
    let controller: Controller = launch(field, Key::P256, false)?;
    controller.is_ready().await?;
    let ready = started.elapsed().as_secs_f64();
    let running = Running::Ours(controller);
    let memory = running.settled().await?.peak_megabytes;
    Ok(Restarted { ready, memory })
}
