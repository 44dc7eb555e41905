//! Watches the requests of one namespace to see when each is approved and issued.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _};
use kube::Client;
use kube::api::{Api, ApiResource, GroupVersionKind, Object};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde::Deserialize;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// The group of our issuers.
pub(crate) const GROUP: &str = "pkcs11-issuer.dev";
/// The longest time without any change before the benchmark fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Returns the kind CertificateRequest.
pub(crate) fn kind() -> ApiResource {
    let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "CertificateRequest");
    ApiResource::from_gvk(&kind)
}

/// The phase of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Created,
    Approved,
    Issued,
    Failed,
}

/// A change of the phase of a request, with the time at which the watch showed it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) phase: Phase,
    pub(crate) at: Instant,
}

/// A watch of a namespace. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Watch {
    steps: UnboundedReceiver<Step>,
    task: JoinHandle<Result<()>>,
}

/// Only the fields of a request that the watch needs, so that it costs little compared with what is measured.
type Request = Object<Unread, Status>;

#[derive(Clone, Debug, Deserialize)]
struct Unread {}

#[derive(Clone, Debug, Default, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    #[serde(default)]
    reason: String,
}

impl Watch {
    /// Watches the requests of a namespace.
    pub(crate) fn start(client: Client, namespace: &str) -> Self {
        let (sender, steps) = unbounded_channel();
        let requests = Api::<Request>::namespaced_with(client, namespace, &kind());
        Self {
            steps,
            task: tokio::spawn(watch(requests, sender)),
        }
    }

    /// Waits for the next step of any request.
    ///
    /// # Errors
    /// There is no step in time, the watch breaks, or a request fails.
    pub(crate) async fn step(&mut self) -> Result<Step> {
        let step = tokio::time::timeout(PATIENCE, self.steps.recv()).await;
        let step = step.with_context(|| format!("no request has changed for {PATIENCE:?}"))?;
        let step = step.context("the watch of the requests has ended")?;
        if step.phase == Phase::Failed {
            bail!("the request {} failed", step.name);
        }
        Ok(step)
    }

    /// Waits until `count` requests have reached a phase, and returns the time at which each did.
    pub(crate) async fn until(&mut self, phase: Phase, count: usize) -> Result<Vec<Instant>> {
        let mut reached = Vec::with_capacity(count);
        while reached.len() < count {
            let step = self
                .step()
                .await
                .with_context(|| format!("{} of {count} requests are {phase:?}", reached.len()))?;
            if step.phase == phase {
                reached.push(step.at);
            }
        }
        Ok(reached)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(requests: Api<Request>, steps: UnboundedSender<Step>) -> Result<()> {
    let mut known = HashMap::<String, Phase>::new();
    let mut events = watcher(requests, watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    while let Some(request) = events.try_next().await? {
        let at = Instant::now();
        let name = request.metadata.name.clone().unwrap_or_default();
        let phase = phase(&request);
        if known.insert(name.clone(), phase) < Some(phase) {
            steps.send(Step { name, phase, at })?;
        }
    }
    Ok(())
}

fn phase(request: &Request) -> Phase {
    let conditions = request.status.iter().flat_map(|status| &status.conditions);
    let steps =
        conditions.map(
            |condition| match (condition.type_.as_str(), condition.reason.as_str()) {
                ("Ready", "Issued") => Phase::Issued,
                ("Ready", "Failed" | "Denied") => Phase::Failed,
                ("Approved", _) => Phase::Approved,
                (_, _) => Phase::Created,
            },
        );
    steps.max().unwrap_or(Phase::Created)
}
