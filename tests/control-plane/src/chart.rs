//! Charts: what `helm template` renders, and what of it the processes of a control plane need.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::plane::ControlPlane;

/// Where everything of cert-manager's project is released.
pub(crate) const NAMESPACE: &str = "cert-manager";

/// The kinds by which a program gets its rights; there is no kubelet for the rest of a chart.
pub(crate) const RIGHTS: [&str; 5] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ServiceAccount",
];

/// Renders a chart, released by this name into [`NAMESPACE`].
pub(crate) async fn render(
    plane: &ControlPlane,
    release: &str,
    chart: &Path,
    values: &Value,
) -> Result<Vec<Value>> {
    let file = plane.log_dir().join(format!("{release}-values.json"));
    plane.folder().write(&file, &values.to_string())?;
    let output = Command::new(plane.tools().program("helm")?)
        .args(["template", release])
        .arg(chart)
        .args(["--namespace", NAMESPACE, "--values"])
        .arg(&file)
        // Neither the user's plug-ins nor their caches take part.
        .env("HELM_CONFIG_HOME", plane.log_dir())
        .env("HELM_CACHE_HOME", plane.log_dir())
        .env("HELM_DATA_HOME", plane.log_dir())
        .kill_on_drop(true)
        .output()
        .await
        .context("run helm")?;
    if !output.status.success() {
        bail!(
            "helm template {release}: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    let rendered = String::from_utf8(output.stdout).context("read what helm prints")?;
    serde_saphyr::from_multiple(&rendered).context("parse what helm prints")
}

/// Whether an object is of one of these kinds.
pub(crate) fn is_of(object: &Value, kinds: &[&str]) -> bool {
    let kind = object.get("kind").and_then(Value::as_str);
    kind.is_some_and(|kind| kinds.contains(&kind))
}

/// Applies objects, and the namespace of their release before them.
pub(crate) async fn install(plane: &ControlPlane, mut objects: Vec<Value>) -> Result<()> {
    objects.insert(
        0,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
    );
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    plane.apply(&list.to_string()).await
}

/// Applies the CRDs of a folder, or of one file, and waits until the API server serves them.
pub(crate) async fn install_folder(plane: &ControlPlane, crds: &Path) -> Result<()> {
    let crds = crds.to_str().context("the path of the CRDs is not UTF-8")?;
    plane
        .kubectl(&["apply", "--server-side", "-f", crds])
        .await?;
    plane
        .kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=60s",
            "-f",
            crds,
        ])
        .await?;
    Ok(())
}
