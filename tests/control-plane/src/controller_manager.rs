//! kube-controller-manager on a control plane.

use anyhow::Result;

use crate::component;
use crate::plane::ControlPlane;
use crate::process::Process;

/// The controllers that have work here: for owners that are gone, finished requests, aggregated roles, namespaces that
/// end; and where [`Kwok`](crate::Kwok) has nodes, for the taints of nodes, the pods of workloads, and what may be evicted.
const CONTROLLERS: [&str; 9] = [
    "garbage-collector-controller",
    "certificatesigningrequest-cleaner-controller",
    "clusterrole-aggregation-controller",
    "namespace-controller",
    "node-lifecycle-controller",
    "daemonset-controller",
    "deployment-controller",
    "replicaset-controller",
    "disruption-controller",
];

/// A running kube-controller-manager, each controller under the service account and the role that Kubernetes gives it.
/// Dropping it ends it.
#[derive(Debug)]
pub struct ControllerManager {
    process: Process,
}

impl ControllerManager {
    /// Starts it. Kinds that are installed later are garbage collected half a minute later only.
    ///
    /// # Errors
    ///
    /// When the program is not built or a file cannot be written.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let args = [
            &*format!("--controllers={}", CONTROLLERS.join(",")),
            "--use-service-account-credentials",
            // The cleaner looks at once and then every hour: let there be something to see by then.
            "--controller-start-interval=2s",
        ];
        let process = component::start(plane, "kube-controller-manager", &args)?;
        Ok(Self { process })
    }

    /// The process: its log, its end, another start.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
