//! The demo itself, step by step.

use anyhow::{Context as _, Result};
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
use rig::{Cluster, Controller, ControllerOptions, IssuerName, PATIENCE, Programs};
use serde_json::Value;

use crate::chain::Chain;
use crate::steps::{Steps, say};
use crate::token::Token;

/// Number of lines of the controller's log that an error quotes.
const TAIL: usize = 12;
const HOST: &str = "web.example";

/// Everything that runs at the end of the demo. Dropping it ends all processes.
#[derive(Debug)]
pub(crate) struct Stage {
    // Dropped in this order.
    pub(crate) controller: Controller,
    pub(crate) cluster: Cluster,
}

/// Runs the whole demo.
pub(crate) async fn play() -> Result<Stage> {
    let steps = Steps::begin();
    let programs = Programs::find()?;
    let plane = steps
        .step(
            "Start etcd and kube-apiserver",
            ControlPlane::start(Options::default()),
        )
        .await?;
    let token = Token::make(&plane, &programs);
    let token = steps
        .step(
            "Make a SoftHSM token, a root key and an issuing key by `dev`",
            token,
        )
        .await?;
    let cert_manager = CertManager::start(&plane, CertManagerOptions::default());
    let cert_manager = steps.step("Start cert-manager", cert_manager).await?;
    let cluster = Cluster::install(plane, cert_manager, &programs);
    let cluster = steps
        .step("Install our CRDs and the controller's RBAC", cluster)
        .await?;
    let options = ControllerOptions::new(token.read("config.yaml")?, &programs);
    let controller = Controller::start(&cluster, &options);
    let controller = steps
        .step(
            "Start the controller under its own service account",
            controller,
        )
        .await?;
    let issuer = create_issuer(&cluster, &token);
    steps
        .step(
            "Create PKCS11ClusterIssuer/issuing and wait until it is ready",
            issuer,
        )
        .await
        .map_err(|error| with_log(&error, &controller))?;
    let certificate = create_certificate(&cluster, &token);
    steps
        .step(
            "Create Certificate default/web and wait until it is ready",
            certificate,
        )
        .await
        .map_err(|error| with_log(&error, &controller))?;
    let (chain, verdict) = steps
        .step("Verify the chain with openssl", async {
            let chain = Chain::read(cluster.plane(), "web-tls").await?;
            let verdict = chain.verify(HOST).await?;
            Ok((chain, verdict))
        })
        .await?;
    steps.total()?;

    say(&chain.decode().await?)?;
    say(&verdict)?;
    say(&record(&controller).await?)?;
    Ok(Stage {
        controller,
        cluster,
    })
}

async fn create_issuer(cluster: &Cluster, token: &Token) -> Result<()> {
    cluster.plane().apply(&token.read("issuer.yaml")?).await?;
    let issuing = IssuerName::cluster("issuing");
    cluster.issuer_is_ready(&issuing).await?;
    Ok(())
}

async fn create_certificate(cluster: &Cluster, token: &Token) -> Result<()> {
    let certificate = token.read("certificate.yaml")?;
    cluster.plane().apply(&certificate).await?;
    let timeout = format!("--timeout={}s", PATIENCE.as_secs());
    let wait = [
        "wait",
        "certificate/web",
        "-n",
        "default",
        "--for=condition=Ready",
        &timeout,
    ];
    cluster.plane().kubectl(&wait).await?;
    Ok(())
}

/// Returns the lines of the issuance log about the certificate.
async fn record(controller: &Controller) -> Result<String> {
    controller.logged("published", "default", "web-1").await?;
    let text = |line: &Value, field: &str| -> Result<String> {
        let value = line.pointer(field).and_then(Value::as_str);
        let value = value.with_context(|| format!("no {field} in {line}"))?;
        Ok(value.to_owned())
    };
    let lines = controller.lines_of("default", "web-1")?;
    let lines: Result<String> = lines
        .iter()
        .map(|line| {
            Ok(format!(
                "  {:30}  {:9}  serial {}, key {} on token {}\n",
                text(line, "/time")?,
                text(line, "/event")?,
                text(line, "/serial")?,
                text(line, "/keyId")?,
                text(line, "/token/name")?,
            ))
        })
        .collect();
    Ok(format!("\nIssuance log\n{}", lines?))
}

fn with_log(error: &anyhow::Error, controller: &Controller) -> anyhow::Error {
    let log = controller.process().log().unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines
        .get(lines.len().saturating_sub(TAIL)..)
        .unwrap_or_default();
    anyhow::anyhow!(
        "{error:#}\nThe controller's log ends with:\n{}",
        tail.join("\n")
    )
}
