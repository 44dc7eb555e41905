//! kube-scheduler on a control plane.

use anyhow::Result;

use crate::plane::ControlPlane;
use crate::process::{Process, Program};
use crate::tools::Tools;

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
        let kubeconfig = plane.user("system:kube-scheduler", None)?;
        let program = Tools::of("kubernetes")?.program("kube-scheduler")?;
        let program = Program::new(program).args([
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            // Nobody asks it anything.
            "--secure-port=0".to_owned(),
        ]);
        Ok(Self {
            process: Process::start("kube-scheduler", program, plane.log_dir())?,
        })
    }

    /// The process: its log, its end.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
