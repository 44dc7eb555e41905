//! Runs cert-manager on a control plane: its CRDs, its chart's RBAC and webhook configurations, its processes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, PostParams};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::authority::Pair;
use crate::chart::{self, NAMESPACE, RIGHTS};
use crate::kubeconfig;
use crate::plane::ControlPlane;
use crate::poll::until;
use crate::ports::{free_ports, retry_on_taken_port};
use crate::process::{Process, Program};

const READY: Duration = Duration::from_secs(60);

/// The kinds that make the API server call the webhook.
const WEBHOOKS: [&str; 2] = [
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

/// Options of cert-manager that differ from its defaults.
#[derive(Clone, Debug)]
pub struct CertManagerOptions {
    /// Whether the approver runs and has its RBAC (default), as the chart's `disableAutoApproval` decides.
    pub approver: bool,
    /// The chart's `approveSignerNames`: the signers for which the approver may approve, by default cert-manager's two kinds
    /// and ours.
    pub approve_signer_names: Vec<String>,
    /// Feature gates of the controllers and the webhook, by default none.
    pub feature_gates: Vec<String>,
    /// Whether annotated Gateways get Certificates (default no). If so, the Gateway API's CRDs are installed.
    pub gateway_api: bool,
    /// Protocols of Gateway listeners in addition to HTTPS and TLS, by default none.
    pub gateway_api_extra_protocols: Vec<String>,
    /// The back-off after the first failed request of a Certificate, by default cert-manager's one hour.
    pub minimum_backoff: Option<Duration>,
    /// Number of objects that each controller handles concurrently, by default cert-manager's five. cert-manager does not
    /// limit its request rate because our API server has priority and fairness.
    pub concurrent_workers: u16,
    /// The namespace of the Secrets of ClusterIssuers, by default `cert-manager`.
    pub cluster_resource_namespace: String,
}

impl Default for CertManagerOptions {
    fn default() -> Self {
        let signers = [
            "issuers.cert-manager.io/*",
            "clusterissuers.cert-manager.io/*",
            "pkcs11issuers.pkcs11-issuer.dev/*",
            "pkcs11clusterissuers.pkcs11-issuer.dev/*",
        ];
        Self {
            approver: true,
            approve_signer_names: signers.map(str::to_owned).to_vec(),
            feature_gates: Vec::new(),
            gateway_api: false,
            gateway_api_extra_protocols: Vec::new(),
            minimum_backoff: None,
            concurrent_workers: 5,
            cluster_resource_namespace: NAMESPACE.to_owned(),
        }
    }
}

/// cert-manager's controllers and webhook, which run under the service accounts of its chart. Dropping it ends them.
#[derive(Debug)]
pub struct CertManager {
    controller: Process,
    webhook: Process,
    admin: PathBuf,
}

impl CertManager {
    /// Installs cert-manager, starts it, and waits until its webhook answers.
    ///
    /// # Errors
    ///
    /// When a program is not built, an object is refused, or the webhook does not answer within a minute.
    pub async fn start(plane: &ControlPlane, options: CertManagerOptions) -> Result<Self> {
        retry_on_taken_port(|| Self::try_start(plane, &options)).await
    }

    async fn try_start(plane: &ControlPlane, options: &CertManagerOptions) -> Result<Self> {
        let [port] = free_ports()?;
        let (serving, ca) = plane.serving_certificate("cert-manager-webhook")?;
        let (_, objects) = tokio::try_join!(
            install_crds(plane, options),
            render_chart(plane, options, port, &ca)
        )?;
        chart::install(plane, objects).await?;
        let cert_manager = Self {
            webhook: start_webhook(plane, options, port, &serving)?,
            controller: start_controller(plane, options)?,
            admin: plane.admin_kubeconfig(),
        };
        cert_manager.webhook_answers().await?;
        Ok(cert_manager)
    }

    /// Returns the process with the controllers.
    pub fn controller(&self) -> &Process {
        &self.controller
    }

    /// Returns the process with the admission webhooks.
    pub fn webhook(&self) -> &Process {
        &self.webhook
    }

    /// Freezes the webhook: a write to one of cert-manager's objects stays in flight until [`CertManager::resume_webhook`]
    /// or until the API server gives up after the webhook's timeout.
    ///
    /// # Errors
    ///
    /// When the webhook does not run.
    pub fn pause_webhook(&self) -> Result<()> {
        self.webhook.signal(Signal::STOP)
    }

    /// Resumes a frozen webhook.
    ///
    /// # Errors
    ///
    /// When the webhook does not run.
    pub fn resume_webhook(&self) -> Result<()> {
        self.webhook.signal(Signal::CONT)
    }

    /// Kills the webhook: the API server refuses each write to cert-manager's objects with status 500.
    pub fn stop_webhook(&self) {
        self.webhook.kill();
    }

    /// Starts the webhook again and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it ends or does not answer within a minute.
    pub async fn start_webhook(&self) -> Result<()> {
        retry_on_taken_port(async || {
            self.webhook.restart()?;
            self.webhook_answers().await
        })
        .await
    }

    /// Waits until the webhook answers, by creating an Issuer in a dry run, which passes through the webhook.
    async fn webhook_answers(&self) -> Result<()> {
        let issuer = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Issuer",
            "metadata": {"name": "does-the-webhook-answer"},
            "spec": {"selfSigned": {}},
        });
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Issuer"));
        let client = kubeconfig::client(&self.admin).await?;
        let issuers = Api::<DynamicObject>::namespaced_with(client, NAMESPACE, &kind);
        let issuer: DynamicObject = serde_json::from_value(issuer)?;
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        until("cert-manager's webhook to answer", READY, async || {
            self.webhook.check_running()?;
            self.controller.check_running()?;
            Ok(issuers.create(&dry_run, &issuer).await.ok())
        })
        .await?;
        Ok(())
    }
}

fn start_webhook(
    plane: &ControlPlane,
    options: &CertManagerOptions,
    port: u16,
    serving: &Pair,
) -> Result<Process> {
    let file =
        |name: &str, content: &str| plane.folder().write(&plane.log_dir().join(name), content);
    let certificate = file("cert-manager-webhook.crt", &serving.certificate)?;
    let key = file("cert-manager-webhook.key", &serving.key)?;
    let program = program(plane, options, "webhook", "cert-manager-webhook")?.args([
        format!("--secure-port={port}"),
        format!("--tls-cert-file={}", certificate.display()),
        format!("--tls-private-key-file={}", key.display()),
    ]);
    Process::start("cert-manager-webhook", program, plane.log_dir())
}

fn start_controller(plane: &ControlPlane, options: &CertManagerOptions) -> Result<Process> {
    let mut program = program(plane, options, "controller", "cert-manager")?.args([
        format!("--approver={}", options.approver),
        format!("--enable-gateway-api={}", options.gateway_api),
        format!("--concurrent-workers={}", options.concurrent_workers),
        format!(
            "--cluster-resource-namespace={}",
            options.cluster_resource_namespace
        ),
    ]);
    if !options.gateway_api_extra_protocols.is_empty() {
        program = program.args([format!(
            "--gateway-api-extra-protocols={}",
            options.gateway_api_extra_protocols.join(",")
        )]);
    }
    if let Some(wait) = options.minimum_backoff {
        program = program.args([format!(
            "--certificate-request-minimum-backoff-duration={}ms",
            wait.as_millis()
        )]);
    }
    Process::start("cert-manager-controller", program, plane.log_dir())
}

/// Returns the program with the arguments that both commands need, under the service account of the chart.
fn program(
    plane: &ControlPlane,
    options: &CertManagerOptions,
    command: &str,
    account: &str,
) -> Result<Program> {
    let kubeconfig = plane.service_account(NAMESPACE, account)?;
    Ok(Program::new(plane.tools().program("cert-manager")?).args([
        command.to_owned(),
        format!("--feature-gates={}", options.feature_gates.join(",")),
        format!("--kubeconfig={}", kubeconfig.display()),
    ]))
}

/// Installs cert-manager's CRDs without its processes: requests are stored, and nobody approves or completes them.
///
/// # Errors
///
/// When an object is refused.
pub async fn install_cert_manager_kinds(plane: &ControlPlane) -> Result<()> {
    chart::install_folder(plane, &plane.tools().share("crds")?).await
}

/// Applies the CRDs and waits until the API server serves them, so that no informer asks for a kind that does not exist.
async fn install_crds(plane: &ControlPlane, options: &CertManagerOptions) -> Result<()> {
    install_cert_manager_kinds(plane).await?;
    if options.gateway_api {
        chart::install_folder(plane, &plane.tools().share("gateway-api")?).await?;
    }
    Ok(())
}

/// Renders cert-manager's chart, keeps the objects that its processes need, and sets the webhook's CA in them.
async fn render_chart(
    plane: &ControlPlane,
    options: &CertManagerOptions,
    port: u16,
    ca: &str,
) -> Result<Vec<Value>> {
    let values = json!({
        "approveSignerNames": options.approve_signer_names,
        "crds": {"enabled": false},
        "disableAutoApproval": !options.approver,
        "startupapicheck": {"enabled": false},
        "webhook": {"url": {"host": format!("127.0.0.1:{port}")}},
    });
    let chart = plane.tools().share("chart")?;
    let mut objects = chart::render("cert-manager", &chart, &values).await?;
    objects.retain(|object| chart::is_of(object, &RIGHTS) || chart::is_of(object, &WEBHOOKS));
    for object in &mut objects {
        for webhook in object
            .get_mut("webhooks")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let client = webhook
                .get_mut("clientConfig")
                .and_then(Value::as_object_mut);
            let client = client.context("a webhook of cert-manager's chart has no clientConfig")?;
            client.insert("caBundle".to_owned(), STANDARD.encode(ca.as_bytes()).into());
        }
    }
    Ok(objects)
}
