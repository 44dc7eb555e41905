//! Tests of the control plane and cert-manager. They need the programs that `make tools` builds.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use control_plane::{
    CertManager, CertManagerOptions, ControlPlane, Options, Process, Program, Signal, until,
};

mod cert_manager;
mod plane;
mod process;

/// Timeout of every wait. It is long, because it only matters when an event never comes.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start() -> Result<ControlPlane> {
    ControlPlane::start(Options::default()).await
}

/// Returns the ids of the processes that have the folder in their arguments.
fn processes_of(folder: &Path) -> Result<Vec<u32>> {
    let folder = folder.to_str().context("the folder is not UTF-8")?;
    let entries = std::fs::read_dir("/proc")?.flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    // A process that has just ended has no arguments.
    let args =
        |id: &u32| std::fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default();
    Ok(ids.filter(|id| args(id).contains(folder)).collect())
}
