//! kube-scheduler on a control plane.

use anyhow::Result;

use crate::component;
use crate::plane::ControlPlane;
use crate::process::Process;

/// A running kube-scheduler, under the roles that Kubernetes gives it. Dropping it ends it.
#[derive(Debug)]
pub struct Scheduler {
    process: Process,
}

impl Scheduler {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// When the program is not built or a file cannot be written.
    pub fn start(plane: &ControlPlane) -> Result<Self> {
        let process = component::start(plane, "kube-scheduler", &[])?;
        Ok(Self { process })
    }

    /// The process: its log, its end.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
