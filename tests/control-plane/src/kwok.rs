//! Runs kwok on a control plane.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::plane::ControlPlane;
use crate::process::{Process, Program};
use crate::tools::Tools;

const SET: &str = "kwok";
const READY: Duration = Duration::from_secs(60);

/// A running kwok, which stands in for the kubelets: it reports every Node as ready and renews its Lease, reports every
/// scheduled Pod as running, and removes deleted Pods at once. It runs under the service account and the role of its own
/// release. Dropping it ends it.
#[derive(Debug)]
pub struct Kwok {
    process: Process,
}

impl Kwok {
    /// Installs kwok's rights, starts it, and waits until it watches nodes.
    ///
    /// # Errors
    ///
    /// When the program is not built, an object is refused, or it ends or does not watch within a minute.
    pub async fn start(plane: &ControlPlane) -> Result<Self> {
        let tools = Tools::of(SET)?;
        let rights = tools.share("rbac")?;
        let rights = rights
            .to_str()
            .context("the path of the tools is not UTF-8")?;
        plane
            .kubectl(&["apply", "--server-side", "-f", rights])
            .await?;
        let kubeconfig = plane.service_account("kube-system", "kwok-controller")?;
        let mut args = vec![
            format!("--kubeconfig={}", kubeconfig.display()),
            "--manage-all-nodes".to_owned(),
            "--node-lease-duration-seconds=40".to_owned(),
        ];
        let stages = tools.share("stages")?;
        for stage in std::fs::read_dir(&stages)
            .with_context(|| format!("read the folder {}", stages.display()))?
        {
            args.push(format!("--config={}", stage?.path().display()));
        }
        let program = Program::new(tools.program(SET)?)
            .args(args)
            // Otherwise kwok reads the user's configuration.
            .env("KWOK_WORKDIR", plane.log_dir());
        let process = Process::start(SET, program, plane.log_dir())?;
        process.line("Watch all nodes", READY).await?;
        Ok(Self { process })
    }

    /// Returns the process, for its log and its exit status.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
