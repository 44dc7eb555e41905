//! An example's values installed by helm.

use std::fs;

use anyhow::{Context as _, Result};
use control_plane::helm;
use rig::{Cluster, NAMESPACE, chart_path};
use serde_json::Value;

use crate::chart::RELEASE;

/// Installs the chart and waits until the API server serves its kinds.
pub(super) async fn install(cluster: &Cluster, values: &Value) -> Result<()> {
    let file = cluster.plane().log_dir().join("values.json");
    fs::write(&file, values.to_string())?;
    let file = file.to_str().context("not UTF-8")?;
    let chart = chart_path();
    let chart = chart.to_str().context("not UTF-8")?;
    let kubeconfig = cluster.plane().admin_kubeconfig();
    let kubeconfig = kubeconfig.to_str().context("not UTF-8")?;
    helm(&[
        "install",
        RELEASE,
        chart,
        "--values",
        file,
        "--namespace",
        NAMESPACE,
        "--kubeconfig",
        kubeconfig,
    ])
    .await?;
    let established = "wait --for=condition=Established --timeout=60s crd pkcs11issuers.pkcs11-issuer.dev \
                       pkcs11clusterissuers.pkcs11-issuer.dev";
    let wait: Vec<_> = established.split_whitespace().collect();
    cluster.plane().kubectl(&wait).await?;
    Ok(())
}
