//! Renders charts with `helm template` and selects the objects that a control plane needs.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::plane::ControlPlane;
use crate::tools::Tools;

/// The namespace of all releases of cert-manager's project.
pub(crate) const NAMESPACE: &str = "cert-manager";

/// The kinds that give a program its rights. The rest of a chart needs a kubelet, which does not exist here.
pub(crate) const RIGHTS: [&str; 5] = [
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "ServiceAccount",
];

/// A chart with the name and the namespace of its release.
#[derive(Clone, Copy, Debug)]
pub struct Chart<'a> {
    /// The folder or the package of the chart.
    pub path: &'a Path,
    /// Name of the release.
    pub release: &'a str,
    /// Namespace of the release.
    pub namespace: &'a str,
}

impl Chart<'_> {
    /// Returns the objects that `helm template` renders with these values.
    ///
    /// # Errors
    ///
    /// When helm is not built or fails; the message is helm's.
    pub async fn render(&self, values: &Value) -> Result<Vec<Value>> {
        let home = tempfile::tempdir().context("create a folder for helm")?;
        let file = home.path().join("values.json");
        std::fs::write(&file, values.to_string())
            .with_context(|| format!("write {}", file.display()))?;
        let file = file
            .to_str()
            .context("the folder of temporary files is not UTF-8")?;
        let path = self
            .path
            .to_str()
            .context("the path of the chart is not UTF-8")?;
        let rendered = helm(&[
            "template",
            self.release,
            path,
            "--namespace",
            self.namespace,
            "--values",
            file,
        ])
        .await?;
        serde_saphyr::from_multiple(&rendered).context("parse what helm prints")
    }
}

/// Runs helm and returns its standard output. It does not see the user's plug-ins, caches or cluster: to use a cluster, give
/// `--kubeconfig`.
///
/// # Errors
///
/// When helm is not built or fails; the message is helm's.
pub async fn helm(args: &[&str]) -> Result<String> {
    let home = tempfile::tempdir().context("create a folder for helm")?;
    let output = Command::new(Tools::locate()?.program("helm")?)
        .args(args)
        .env("HELM_CONFIG_HOME", home.path())
        .env("HELM_CACHE_HOME", home.path())
        .env("HELM_DATA_HOME", home.path())
        .env_remove("KUBECONFIG")
        .kill_on_drop(true)
        .output()
        .await
        .context("run helm")?;
    if !output.status.success() {
        bail!(
            "helm {}: {}",
            args.first().copied().unwrap_or_default(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    String::from_utf8(output.stdout).context("read what helm prints")
}

/// Renders a chart of cert-manager's project as a release of this name in [`NAMESPACE`].
pub(crate) async fn render(release: &str, path: &Path, values: &Value) -> Result<Vec<Value>> {
    let chart = Chart {
        path,
        release,
        namespace: NAMESPACE,
    };
    chart.render(values).await
}

/// Whether an object is of one of these kinds.
pub(crate) fn is_of(object: &Value, kinds: &[&str]) -> bool {
    let kind = object.get("kind").and_then(Value::as_str);
    kind.is_some_and(|kind| kinds.contains(&kind))
}

/// Applies the namespace of the release and then the objects.
pub(crate) async fn install(plane: &ControlPlane, mut objects: Vec<Value>) -> Result<()> {
    objects.insert(
        0,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}),
    );
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    plane.apply(&list.to_string()).await
}

/// Applies the CRDs of a folder or a file and waits until the API server serves them.
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
