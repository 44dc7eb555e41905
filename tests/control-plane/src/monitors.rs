//! Installs the kinds that tell the Prometheus operator what to scrape.

use anyhow::Result;

use crate::chart;
use crate::plane::ControlPlane;
use crate::tools::Tools;

/// Installs the CRDs ServiceMonitor and PodMonitor of the Prometheus operator and waits until the API server serves them.
/// The operator itself does not run.
///
/// # Errors
///
/// When the tool set is not built or a CRD is refused.
pub async fn install_monitors(plane: &ControlPlane) -> Result<()> {
    let tools = Tools::of("prometheus-operator")?;
    chart::install_folder(plane, &tools.share("crds")?).await
}
