//! Installations in a real control plane. The whole table of faults takes a minute: `make soak`.

mod rights;
mod servers;
mod soak;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use control_plane::{CertManagerOptions, Chart};
use rig::{Authority, Cluster, NAMESPACE, Programs, chart_path};
use serde_json::{Value, json};

use super::{Reported, command};

/// Values with which the chart gives the controller every right, but for Secrets in the namespaces of issuers.
fn everything() -> Value {
    json!({
        "podCertificateRequests": true,
        "clusterTrustBundles": true,
        "trustConfigMaps": true,
        "reissue": true,
        "audit": Authority::checkpoints(),
        "crl": {"enabled": true, "onDelete": true},
    })
}

/// Returns what the chart installs with these values.
async fn rendered(values: &Value) -> Result<Vec<Value>> {
    let mut all = json!({
        "modules": {"any": {"path": "/any.so"}},
        "tokens": {"issuing": {"module": "any", "label": "any", "pinFile": "/any"}},
    });
    let more = values.as_object().context("no values")?.clone();
    all.as_object_mut().context("no values")?.extend(more);
    let chart = Chart {
        path: &chart_path(),
        release: "pkcs11-issuer",
        namespace: NAMESPACE,
    };
    chart.render(&all).await
}

/// A cluster in which the chart is installed, as far as no kubelet is needed.
struct Installed(Cluster);

impl Installed {
    async fn new(cluster: Cluster, values: &Value) -> Result<Self> {
        let installed = Self(cluster);
        installed.deploy(values).await?;
        Ok(installed)
    }

    /// Applies the Deployment, and says in place of a kubelet that its pods are ready.
    async fn deploy(&self, values: &Value) -> Result<()> {
        let objects = rendered(values).await?;
        let mut deployments = objects.iter().filter(|it| it["kind"] == "Deployment");
        let deployment = deployments.next().context("no Deployment")?;
        self.0.apply(deployment).await?;
        self.ready(2).await
    }

    async fn ready(&self, pods: u32) -> Result<()> {
        let status = json!({"status": {"replicas": 2, "readyReplicas": pods}}).to_string();
        let patch = [
            "patch",
            "deployment",
            "pkcs11-issuer",
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ];
        self.own(&patch).await
    }

    async fn kubectl(&self, words: &[&str]) -> Result<()> {
        self.0.plane().kubectl(words).await.map(drop)
    }

    /// Runs kubectl in the controller's namespace.
    async fn own(&self, words: &[&str]) -> Result<()> {
        self.kubectl(&[&["--namespace", NAMESPACE], words].concat())
            .await
    }

    fn command(&self) -> Result<Command> {
        let mut command = command()?;
        command
            .arg("--kubeconfig")
            .arg(self.0.plane().admin_kubeconfig());
        Ok(command)
    }

    fn reported(&self) -> Result<Reported> {
        Reported::of(&mut self.command()?)
    }

    /// Checks that the fault is named first, with a cure.
    fn is_named_first(&self, id: &str) -> Result<()> {
        named_first(id, &self.reported()?)
    }
}

fn named_first(id: &str, reported: &Reported) -> Result<()> {
    let first = reported.first();
    let first = first.with_context(|| format!("{id}: nothing is wrong: {reported:?}"))?;
    ensure!(first["id"] == id, "{id}: {first}\n{reported:?}");
    let filled = |field: &str| first[field].as_str().is_some_and(|text| !text.is_empty());
    ensure!(
        filled("message") && filled("cure") && filled("page"),
        "{id}: {first}"
    );
    Ok(())
}

async fn cluster() -> Result<Cluster> {
    let programs = Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    Cluster::start(&programs, CertManagerOptions::default()).await
}

#[tokio::test]
async fn a_whole_cluster_has_no_fault_and_each_right_of_the_chart_that_is_missing_is_named()
-> Result<()> {
    let installed = Installed::new(cluster().await?, &json!({})).await?;
    let whole = installed.reported()?;
    ensure!(
        whole.first().is_none() && whole.code == Some(0),
        "{whole:?}"
    );
    for id in [
        "clock-agrees",
        "crds-current",
        "controller-rights",
        "approver-rights",
        "workload-ready",
    ] {
        ensure!(whole.finding(id)?["state"] == "ok", "{id}: {whole:?}");
    }
    ensure!(
        whole.finding("issuers-ready")?["state"] == "skipped",
        "{whole:?}"
    );
    rights::those_of_the_chart(&installed).await
}
