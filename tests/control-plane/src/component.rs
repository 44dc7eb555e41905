//! The programs of Kubernetes' own control plane besides the API server.

use anyhow::Result;

use crate::plane::ControlPlane;
use crate::process::{Process, Program};
use crate::tools::Tools;

/// Starts one of them as the user that Kubernetes gives its roles to, alone of its kind.
pub(crate) fn start(plane: &ControlPlane, name: &str, args: &[&str]) -> Result<Process> {
    let kubeconfig = plane.user(&format!("system:{name}"), None)?;
    let program = Program::new(Tools::of("kubernetes")?.program(name)?)
        .args([format!("--kubeconfig={}", kubeconfig.display())])
        // Nobody asks it anything.
        .args(["--leader-elect=false", "--secure-port=0"])
        .args(args.iter().copied());
    Process::start(name, program, plane.log_dir())
}
