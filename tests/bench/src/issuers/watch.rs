//! Watches the issuers to see which are ready and which were reported as not ready before.

use std::collections::HashMap;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::TryStreamExt as _;
use kube::api::{Api, DynamicObject};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::Value;
use tokio::time::timeout;

/// The longest time without any change before the benchmark fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until `count` issuers are ready. Returns how many of them were reported as not ready before.
pub(crate) async fn all_ready(issuers: Api<DynamicObject>, count: u16) -> Result<f64> {
    let mut seen = HashMap::<String, Seen>::new();
    let mut events = pin!(
        watcher(issuers, watcher::Config::default())
            .default_backoff()
            .applied_objects()
    );
    while seen.values().filter(|seen| seen.ready).count() < usize::from(count) {
        let next = timeout(PATIENCE, events.try_next()).await;
        let issuer = next.with_context(|| format!("no issuer has changed for {PATIENCE:?}"))??;
        let issuer = issuer.context("the watch of the issuers has ended")?;
        let seen = seen
            .entry(issuer.metadata.name.clone().unwrap_or_default())
            .or_default();
        match ready(&issuer.data) {
            Some("True") => seen.ready = true,
            Some(_) => (seen.ready, seen.was_not) = (false, true),
            None => {}
        }
    }
    let outages = seen.values().filter(|seen| seen.was_not).count();
    Ok(f64::from(u32::try_from(outages)?))
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    ready: bool,
    was_not: bool,
}

/// Returns the status of the condition `Ready`.
fn ready(issuer: &Value) -> Option<&str> {
    let conditions = issuer.pointer("/status/conditions")?.as_array()?;
    let is_ready =
        |condition: &&Value| condition.get("type").and_then(Value::as_str) == Some("Ready");
    conditions.iter().find(is_ready)?.get("status")?.as_str()
}
