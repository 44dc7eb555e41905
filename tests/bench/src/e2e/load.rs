//! Creates the requests of a run and removes them after it.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams};
use rig::{Requests, csr_for};
use serde_json::{Value, json};

use crate::watch::kind;

/// Number of requests created concurrently.
const CONCURRENCY: usize = 32;

/// Creates and approves one request with a new key.
pub(crate) async fn ask(requests: &Requests, issuer: &Value, name: &str) -> Result<()> {
    let mut spec = json!({"issuerRef": issuer, "usages": ["digital signature", "server auth"]});
    let csr = csr_for(&format!("{name}.bench.example"))?;
    if let Some(spec) = spec.as_object_mut() {
        spec.insert("request".to_owned(), STANDARD.encode(csr.as_bytes()).into());
    }
    requests
        .create_approved(name, spec)
        .await
        .with_context(|| format!("create the request {name}"))
}

/// Creates and approves `count` requests.
pub(crate) async fn fill(requests: &Requests, issuer: &Value, count: usize) -> Result<()> {
    stream::iter(0..count)
        .map(|number| async move { ask(requests, issuer, &format!("web-{number}")).await })
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await
}

/// Removes all requests and Events of a namespace.
pub(crate) async fn clear(client: &Client, namespace: &str) -> Result<()> {
    let requests = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &kind());
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    let (all, one) = (ListParams::default(), ListParams::default().limit(1));
    while !requests.list(&one).await?.items.is_empty() {
        removed(
            requests
                .delete_collection(&DeleteParams::default(), &all)
                .await,
        )?;
    }
    while !events.list(&one).await?.items.is_empty() {
        removed(
            events
                .delete_collection(&DeleteParams::default(), &all)
                .await,
        )?;
    }
    Ok(())
}

/// Treats a timeout of the API server as success, because the next call removes the rest.
fn removed<T>(result: kube::Result<T>) -> Result<()> {
    match result {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 504 => Ok(()),
        Err(error) => Err(error).context("remove the requests and Events of a run"),
    }
}
