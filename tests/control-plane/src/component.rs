//! Runs programs of Kubernetes' own control plane other than the API server.

use anyhow::Result;

use crate::plane::ControlPlane;
use crate::process::{Process, Program};
use crate::tools::Tools;

/// Starts a program as the user to which Kubernetes gives its roles, without leader election.
pub(crate) fn start(plane: &ControlPlane, name: &str, args: &[&str]) -> Result<Process> {
    let kubeconfig = plane.user(&format!("system:{name}"), None)?;
    let program = Program::new(Tools::of("kubernetes")?.program(name)?)
        .args([format!("--kubeconfig={}", kubeconfig.display())])
        // No client needs its HTTP server.
        .args(["--leader-elect=false", "--secure-port=0"])
        .args(args.iter().copied());
    Process::start(name, program, plane.log_dir())
}
