//! Runs trust-manager on a control plane.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::chart::{self, NAMESPACE, RIGHTS};
use crate::plane::ControlPlane;
use crate::ports::{free_ports, retry_on_taken_port};
use crate::process::{Process, Program};
use crate::tools::Tools;

const SET: &str = "trust-manager";
const READY: Duration = Duration::from_secs(60);

/// A running trust-manager, which copies CA certificates to every namespace as its Bundles say. It runs under the service
/// account and the RBAC of its chart. Its webhook, which checks Bundles, is not called. Dropping it ends it.
#[derive(Debug)]
pub struct TrustManager {
    process: Process,
}

impl TrustManager {
    /// Installs trust-manager for sources in this namespace (the chart's `app.trust.namespace`), starts it, and waits until
    /// its controllers run.
    ///
    /// # Errors
    ///
    /// When the program is not built, an object is refused, or it ends or its controllers do not run within a minute.
    pub async fn start(plane: &ControlPlane, trust_namespace: &str) -> Result<Self> {
        let tools = Tools::of(SET)?;
        chart::install_folder(plane, &tools.share("crds")?).await?;
        let values = json!({
            "app": {"trust": {"namespace": trust_namespace}},
            "crds": {"enabled": false},
            "defaultPackage": {"enabled": false},
        });
        let mut objects = chart::render(SET, &tools.share("chart")?, &values).await?;
        objects.retain(|object| chart::is_of(object, &RIGHTS));
        chart::install(plane, objects).await?;
        let certificates = plane.log_dir().join("trust-manager-webhook");
        std::fs::create_dir_all(&certificates)
            .with_context(|| format!("create {}", certificates.display()))?;
        let (serving, _) = plane.serving_certificate("trust-manager-webhook")?;
        plane
            .folder()
            .write(&certificates.join("tls.crt"), &serving.certificate)?;
        plane
            .folder()
            .write(&certificates.join("tls.key"), &serving.key)?;
        let kubeconfig = plane.service_account(NAMESPACE, SET)?;
        retry_on_taken_port(async || {
            let [port] = free_ports()?;
            let program = Program::new(tools.program(SET)?).args([
                format!("--kubeconfig={}", kubeconfig.display()),
                "--leader-elect=false".to_owned(),
                // Any free port, because no client needs it.
                "--metrics-port=0".to_owned(),
                "--readiness-probe-port=0".to_owned(),
                format!("--trust-namespace={trust_namespace}"),
                "--webhook-host=127.0.0.1".to_owned(),
                format!("--webhook-port={port}"),
                format!("--webhook-certificate-dir={}", certificates.display()),
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
