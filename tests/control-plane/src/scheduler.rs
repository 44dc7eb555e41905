//! Runs kube-scheduler on a control plane.

use anyhow::Result;

use crate::component;
use crate::plane::ControlPlane;
use crate::process::Process;

/// A running kube-scheduler with the roles that Kubernetes gives it. Dropping it ends it.
#[derive(Debug)]
pub struct Scheduler {
    process: Process,
}

impl Scheduler {
    /// Starts kube-scheduler.
    ///
    /// # Errors
    ///
    /// When the program is not built or a file cannot be written.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let process = component::start(plane, "kube-scheduler", &[])?;
        Ok(Self { process })
    }

    /// Returns the process, for its log and its exit status.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
