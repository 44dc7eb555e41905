//! A closed loop: whenever a request is issued, the next one is created and approved.

use std::collections::HashMap;
use std::time::Instant;

use anyhow::{Context as _, Result};
use bench::percentile;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};

use crate::contestant::Contestant;
use crate::drain::{Before, count_of};
use crate::field::Field;
use crate::load::{ask, clear, fill};
use crate::measured::Measured;
use crate::running::Running;
use crate::watch::{Phase, Watch};

/// Keeps a fixed number of requests in flight until `count` are issued. One more request comes first and is not counted.
pub(crate) async fn in_flight(
    field: &Field,
    contestant: Contestant,
    depth: usize,
    count: usize,
) -> Result<Measured> {
    let (namespace, requests) = field.namespace().await?;
    let issuer = field.issuer_of(contestant).await?;
    let admin = field.admin().await?;
    let mut watch = Watch::start(admin.clone(), &namespace);
    fill(&requests, &issuer, 1).await?;
    let started = Instant::now();
    let running = Running::start(field, contestant)?;
    watch.until(Phase::Issued, 1).await?;
    let first = started.elapsed().as_secs_f64();
    let idle = running.settled().await?;

    let before = Before::now(field).await?;
    let mut names = (0..count).map(|number| format!("one-{number}"));
    let mut asked = FuturesUnordered::new();
    let next = |name: String| {
        let (requests, issuer) = (&requests, &issuer);
        async move { ask(requests, issuer, &name).await }.boxed()
    };
    asked.extend(names.by_ref().take(depth).map(next));
    let mut approved = HashMap::new();
    let (mut latencies, mut ends) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while latencies.len() < count {
        tokio::select! {
            Some(done) = asked.next() => done?,
            step = watch.step() => {
                let step = step.with_context(|| format!("{contestant} did not issue a request"))?;
                match step.phase {
                    Phase::Approved => {
                        approved.insert(step.name, step.at);
                    }
                    Phase::Issued => {
                        let since = approved.remove(&step.name).context("a request was issued without approval")?;
                        latencies.push(step.at.duration_since(since).as_secs_f64());
                        ends.push(step.at.duration_since(begun).as_secs_f64());
                        asked.extend(names.next().map(next));
                    }
                    Phase::Created | Phase::Failed => {}
                }
            }
        }
    }
    let measured = before.until_settled(field, &running, &ends).await?;
    drop(running);
    drop(watch);
    clear(&admin, &namespace).await?;
    Ok(Measured {
        first,
        p50: percentile(&latencies, 50) * 1000.0,
        p99: percentile(&latencies, 99) * 1000.0,
        cpu: measured.cpu - idle.cpu_seconds * 1000.0 / count_of(&ends)?,
        // Do not count the approvals, which are status writes too.
        statuses: measured.statuses - 1.0,
        ..measured
    })
}
