//! Runs approver-policy on a control plane.

use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use crate::chart::{self, NAMESPACE, RIGHTS};
use crate::plane::ControlPlane;
use crate::ports::{free_ports, retry_on_taken_port};
use crate::process::{Process, Program};
use crate::tools::Tools;

const SET: &str = "approver-policy";
const ACCOUNT: &str = "cert-manager-approver-policy";
const READY: Duration = Duration::from_secs(60);

/// A running approver-policy, which approves and denies CertificateRequests by CertificateRequestPolicies. It runs under the
/// service account and the RBAC of its chart. Its webhook, which checks policies, is not called. Dropping it ends it.
#[derive(Debug)]
pub struct ApproverPolicy {
    process: Process,
}

impl ApproverPolicy {
    /// Installs approver-policy with the right to approve for these signers (the chart's `approveSignerNames`), starts it,
    /// and waits until its controllers run.
    ///
    /// # Errors
    ///
    /// When the program is not built, an object is refused, or it ends or its controllers do not run within a minute.
    pub async fn start(plane: &ControlPlane, approve_signer_names: &[&str]) -> Result<Self> {
        let tools = Tools::of(SET)?;
        chart::install_folder(plane, &tools.share("crds")?).await?;
        let values = json!({
            "app": {"approveSignerNames": approve_signer_names},
            "crds": {"enabled": false},
        });
        let mut objects = chart::render(SET, &tools.share("chart")?, &values).await?;
        objects.retain(|object| chart::is_of(object, &RIGHTS));
        chart::install(plane, objects).await?;
        let kubeconfig = plane.service_account(NAMESPACE, ACCOUNT)?;
        retry_on_taken_port(async || {
            let [port] = free_ports()?;
            let program = Program::new(tools.program(SET)?).args([
                format!("--kubeconfig={}", kubeconfig.display()),
                format!("--leader-election-namespace={NAMESPACE}"),
                "--metrics-bind-address=0".to_owned(),
                "--readiness-probe-bind-address=0".to_owned(),
                "--webhook-host=127.0.0.1".to_owned(),
                format!("--webhook-port={port}"),
                format!("--webhook-service-name={ACCOUNT}"),
                format!("--webhook-ca-secret-namespace={NAMESPACE}"),
                format!("--webhook-ca-secret-name={ACCOUNT}-tls"),
            ]);
            let process = Process::start(SET, program, plane.log_dir())?;
            process.line("Starting workers", READY).await?;
            Ok(Self { process })
        })
        .await
    }

    /// Returns the process, for its log and its exit status.
    pub fn process(&self) -> &Process {
        &self.process
    }
}
