//! The limit: a program that signs nothing and publishes a constant certificate for every approved request.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use futures::{TryStreamExt as _, future};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, Resource as _};
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::watch::{GROUP, kind};
use crate::write::{Constant, Write, now};

/// Number of requests handled concurrently: the controller's default.
const CONCURRENCY: usize = 32;

/// Arguments of the limit.
#[derive(Debug, Args)]
pub(crate) struct Limit {
    #[arg(long)]
    kubeconfig: PathBuf,
    #[arg(long)]
    write: Write,
    /// Write one Event for each certificate.
    #[arg(long)]
    events: bool,
    /// The chain to publish, PEM.
    #[arg(long)]
    certificate: PathBuf,
    /// The root to publish, PEM.
    #[arg(long)]
    ca: PathBuf,
}

impl Limit {
    /// Runs until it is killed. It builds its client and selects requests as the controller does.
    pub(crate) async fn run(self) -> Result<()> {
        let kubeconfig = Kubeconfig::read_from(&self.kubeconfig)?;
        let config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        let publisher = Publisher {
            client: Client::try_from(config)?,
            kind: kind(),
            write: self.write,
            events: self.events,
            constant: Constant {
                certificate: base64(&self.certificate)?,
                ca: base64(&self.ca)?,
            },
        };
        let requests = Api::<DynamicObject>::all_with(publisher.client.clone(), &publisher.kind);
        let ours = format!("spec.issuerRef.group={GROUP}");
        let selected = watcher::Config::default().fields(&ours);
        watcher(requests, selected)
            .applied_objects()
            .map_err(anyhow::Error::from)
            .try_filter(|request| future::ready(is_due(request)))
            .map_ok(|request| publisher.publish(request))
            .try_buffer_unordered(CONCURRENCY)
            .try_for_each(|()| future::ready(Ok(())))
            .await?;
        Ok(())
    }
}

struct Publisher {
    client: Client,
    kind: ApiResource,
    write: Write,
    events: bool,
    constant: Constant,
}

impl Publisher {
    async fn publish(&self, request: DynamicObject) -> Result<()> {
        let event = self.events.then(|| event(&request, &self.kind));
        let write = self.write.request(&self.kind, request, &self.constant)?;
        self.client.request::<IgnoredAny>(write).await?;
        if let Some(event) = event {
            let namespace = event.metadata.namespace.as_deref().unwrap_or_default();
            Api::<Event>::namespaced(self.client.clone(), namespace)
                .create(&PostParams::default(), &event)
                .await?;
        }
        Ok(())
    }
}

/// Whether a request is approved and has no certificate.
fn is_due(request: &DynamicObject) -> bool {
    let status = request.data.get("status");
    let conditions = status.and_then(|status| status.get("conditions")?.as_array());
    let approved = conditions.into_iter().flatten().any(|condition| {
        let is =
            |field: &str, value: &str| condition.get(field).and_then(Value::as_str) == Some(value);
        is("type", "Approved") && is("status", "True")
    });
    approved && status.is_some_and(|status| status.get("certificate").is_none())
}

/// Returns an Event of the same length as the controller's.
fn event(request: &DynamicObject, kind: &ApiResource) -> Event {
    let name = request.metadata.name.as_deref().unwrap_or_default();
    Event {
        action: Some("Sign".to_owned()),
        event_time: Some(MicroTime(now())),
        metadata: ObjectMeta {
            namespace: request.metadata.namespace.clone(),
            generate_name: Some(format!("{name}-")),
            ..ObjectMeta::default()
        },
        note: Some("Signed by nobody, serial 0123456789abcdef0123456789abcdef".to_owned()),
        reason: Some("Issued".to_owned()),
        regarding: Some(request.object_ref(kind)),
        reporting_controller: Some("pkcs11-issuer.dev/bench-limit".to_owned()),
        reporting_instance: Some("bench-limit".to_owned()),
        type_: Some("Normal".to_owned()),
        ..Event::default()
    }
}

fn base64(file: &Path) -> Result<String> {
    let octets = std::fs::read(file).with_context(|| format!("read {}", file.display()))?;
    Ok(STANDARD.encode(&octets))
}
