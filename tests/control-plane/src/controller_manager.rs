//! Runs kube-controller-manager on a control plane.

use anyhow::Result;

use crate::component;
use crate::plane::ControlPlane;
use crate::process::Process;

/// The controllers to run: for garbage collection, finished requests, aggregated roles and deleted namespaces; and, for the
/// nodes of [`Kwok`](crate::Kwok), for the taints of nodes, the pods of workloads and disruption budgets.
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

/// A running kube-controller-manager. Each controller runs under the service account and the role that Kubernetes gives it.
/// Dropping it ends it.
#[derive(Debug)]
pub struct ControllerManager {
    process: Process,
}

impl ControllerManager {
    /// Starts kube-controller-manager. Kinds that are installed later are garbage collected only half a minute later.
    ///
    /// # Errors
    ///
    /// When the program is not built or a file cannot be written.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let args = [
            &*format!("--controllers={}", CONTROLLERS.join(",")),
            "--use-service-account-credentials",
            // The CSR cleaner runs at once and then every hour, so delay it until its informer has the requests.
            "--controller-start-interval=2s",
        ];
        let process = component::start(plane, "kube-controller-manager", &args)?;
        Ok(Self { process })
    }

    /// Returns the process, for its log, its exit status and a restart.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
