//! The cluster for all benchmarks.

use anyhow::Result;
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
use rig::{Cluster, Programs};

/// No audit log: a cluster need not have one, and it would add to the cost of every write.
const NO_AUDIT: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
rules: [{level: None}]
";

/// Starts a control plane with cert-manager and installs what the controller needs.
///
/// # Errors
/// When a program cannot be started, or the API server refuses an object.
pub async fn cluster(programs: &Programs, cert_manager: CertManagerOptions) -> Result<Cluster> {
    let plane = ControlPlane::start(Options {
        audit_policy: Some(NO_AUDIT.to_owned()),
        // The objects of a run are deleted before the next one, so delete them fast.
        api_server_args: vec!["--delete-collection-workers=8".to_owned()],
    });
    let plane = plane.await?;
    let cert_manager = CertManager::start(&plane, cert_manager).await?;
    Cluster::install(plane, cert_manager, programs).await
}
