//! Runs one pod of the chart in containers, as kubelet does: images, arguments, environment, volumes, identity and
//! privileges are those of a Pod on the API server with the template that helm has installed.
//!
//! Unlike on a node, the containers share this machine's network, where the API server is, so the addresses of health and
//! metrics differ; and containers are not restarted.

use anyhow::{Context as _, Result};
use rig::Cluster;
use serde_json::{Value, json};

use super::{
    container::Container,
    privileges::privileges,
    volumes::{Storage, Volumes},
};
use crate::chart::{
    NAMESPACE, RELEASE, named,
    pod::{list, probes_succeed, read, variables},
};

/// The running containers of one pod. Dropping it ends them.
pub(super) struct RunningPod {
    // Dropped in this order, which is kubelet's.
    controller: Container,
    sidecars: Vec<Container>,
}

impl RunningPod {
    /// Creates a Pod from the template of a Deployment or DaemonSet, runs its containers, and waits until the probes
    /// succeed.
    pub(super) async fn start(
        cluster: &Cluster,
        kind: &str,
        name: &str,
        storage: &Storage,
    ) -> Result<Self> {
        let pod = make(cluster, kind, name).await?;
        let folder = cluster.plane().log_dir();
        let volumes = Volumes::make(cluster, &pod, &folder.join(name), storage).await?;
        let start = |container: &Value| {
            let args = arguments(cluster, &pod, container, &volumes)?;
            let called = container["name"].as_str().context("no name")?;
            // Names of containers as kubelet gives them.
            let uid = pod["metadata"]["uid"].as_str().context("no UID")?;
            Container::start(&format!("k8s_{called}_{name}_{uid}"), &args, folder)
        };
        let spec = &pod["spec"];
        let mut sidecars = Vec::new();
        for container in list(&spec["initContainers"]) {
            let started = start(container)?;
            if container["restartPolicy"] == "Always" {
                sidecars.push(started);
            } else {
                started.succeeds().await?;
            }
        }
        let container = named(&spec["containers"], "pkcs11-issuer")?;
        let controller = start(container)?;
        probes_succeed(controller.client(), container).await?;
        Ok(Self {
            controller,
            sidecars,
        })
    }

    /// Returns the container of the controller.
    pub(super) fn controller(&self) -> &Container {
        &self.controller
    }

    /// Returns the sidecars, which started before the controller.
    pub(super) fn sidecars(&self) -> &[Container] {
        &self.sidecars
    }
}

/// Creates a Pod from a workload's template and returns it as the API server has it, with defaults and UID.
async fn make(cluster: &Cluster, kind: &str, name: &str) -> Result<Value> {
    let workload = read(cluster, kind, RELEASE).await?;
    let template = &workload["spec"]["template"];
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": template["spec"]});
    pod["metadata"] = template["metadata"].clone();
    pod["metadata"]["name"] = json!(name);
    pod["metadata"]["namespace"] = json!(NAMESPACE);
    cluster.apply(&pod).await?;
    read(cluster, "pod", name).await
}

/// Returns the options, the image and the arguments of `docker run` for one container.
fn arguments(
    cluster: &Cluster,
    pod: &Value,
    container: &Value,
    volumes: &Volumes,
) -> Result<Vec<String>> {
    let mut args = vec!["--network=host".to_owned()];
    args.extend(privileges(pod, container)?);
    args.extend(volumes.mounts(container)?);
    args.extend(environment(cluster, pod, container)?);
    let texts = |field: &str| -> Vec<String> {
        list(&container[field])
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    let mut command = texts("command").into_iter();
    args.extend(
        command
            .next()
            .map(|program| format!("--entrypoint={program}")),
    );
    args.push(container["image"].as_str().context("no image")?.to_owned());
    args.extend(command);
    args.extend(texts("args"));
    Ok(args)
}

fn environment(cluster: &Cluster, pod: &Value, container: &Value) -> Result<Vec<String>> {
    let url = cluster.plane().url();
    let (host, port) = url
        .strip_prefix("https://")
        .and_then(|address| address.rsplit_once(':'))
        .context("an address without a port")?;
    let mut options = vec![
        format!("--env=KUBERNETES_SERVICE_HOST={host}"),
        format!("--env=KUBERNETES_SERVICE_PORT={port}"),
        "--env=PKCS11_ISSUER_HEALTH_ADDRESS=127.0.0.1:0".to_owned(),
        "--env=PKCS11_ISSUER_METRICS_ADDRESS=127.0.0.1:0".to_owned(),
    ];
    let meta = &pod["metadata"];
    let (name, uid) = (meta["name"].as_str(), meta["uid"].as_str());
    let variables = variables(container, name.context("no name")?, uid.context("no UID")?)?;
    options.extend(
        variables
            .iter()
            .map(|(name, value)| format!("--env={name}={value}")),
    );
    Ok(options)
}
