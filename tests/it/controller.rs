//! The controller against a real API server, cert-manager's webhook and a real token, under its own RBAC.

mod approval;
mod beside;
pub(crate) mod between;
mod clusters;
mod contract;
mod counted;
mod crash;
mod crls;
mod ending;
mod fair;
mod fences;
mod grants;
mod health;
mod issuers;
mod kept;
mod limits;
mod others;
mod patience;
mod pins;
pub(crate) mod pods;
pub(crate) mod readers;
mod reload;
mod replicas;
mod reserved;
mod rights;
mod rollover;
mod rotation;
mod seen;
mod signing_requests;
mod soak;
mod start;
mod stories;
mod told;
mod unread;

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{IssuerName, Options, PATIENCE, Programs, Rig};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The namespace whose own issuers may use the token.
const TENANT: &str = "tenant";

/// The programs that cargo built for these tests.
pub(crate) fn programs() -> Result<Programs> {
    Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())
}

/// Starts a rig for one test alone: for tests that break something.
async fn own_rig(controller_args: &[&str]) -> Result<Rig> {
    own_rig_with(controller_args, json!({})).await
}

/// Starts a rig for one test alone. `values` are the values of the chart that give the rights which the flags need.
async fn own_rig_with(controller_args: &[&str], values: Value) -> Result<Rig> {
    own_rig_of(Options {
        controller_args: controller_args.iter().map(|&arg| arg.to_owned()).collect(),
        values,
        ..Options::default()
    })
    .await
}

/// Starts a rig for one test alone, with these options besides those of every rig.
async fn own_rig_of(options: Options) -> Result<Rig> {
    let rig = Rig::start(Options {
        programs: Some(programs()?),
        namespaces: vec![TENANT.to_owned()],
        ..options
    })
    .await?;
    rig.cluster()
        .apply_issuer(&issuer(), &rig.authority().issuer_spec())
        .await?;
    rig.cluster().issuer_is_ready(&issuer()).await?;
    Ok(rig)
}

/// Returns the rig of all tests that do not disturb each other, each in a namespace of its own.
async fn shared_rig() -> Result<&'static Rig> {
    static RIG: OnceCell<Rig> = OnceCell::const_new();
    let flags = ["--crl-address", "127.0.0.1:0"];
    let values = json!({"crl": {"enabled": true}});
    RIG.get_or_try_init(|| own_rig_with(&flags, values)).await
}

/// The cluster issuer of every rig.
pub(crate) fn issuer() -> IssuerName {
    IssuerName::cluster("issuing")
}

/// Counts the controller's successful writes to the status of one request, according to the API server's audit log.
fn status_writes(rig: &Rig, namespace: &str, name: &str) -> Result<usize> {
    let log = rig
        .cluster()
        .plane()
        .audit_log()?
        .writes()
        .by(rig::CONTROLLER);
    Ok(log
        .on("certificaterequests.cert-manager.io")
        .of(namespace, name)
        .succeeded()
        .len())
}

/// Waits until the audit log has `count` writes to the status of one request, and fails if it has more. A write appears in
/// the log a moment after its client has the answer.
async fn status_writes_are(rig: &Rig, namespace: &str, name: &str, count: usize) -> Result<()> {
    let what = format!("{count} status writes of {namespace}/{name}");
    let written = until(&what, PATIENCE, async || {
        let written = status_writes(rig, namespace, name)?;
        Ok((written >= count).then_some(written))
    });
    assert_eq!(written.await?, count, "{namespace}/{name}");
    Ok(())
}

/// Returns the reasons of the Events that the controller wrote about one request. The namespace of a cluster-scoped request
/// is "".
fn event_reasons(rig: &Rig, namespace: &str, name: &str) -> Result<Vec<String>> {
    let log = rig
        .cluster()
        .plane()
        .audit_log()?
        .writes()
        .by(rig::CONTROLLER)
        .on("events")
        .succeeded();
    let about = |event: &Value| {
        let regarding = &event["regarding"];
        regarding["namespace"].as_str().unwrap_or_default() == namespace
            && regarding["name"] == name
    };
    let events = log
        .iter()
        .filter_map(|event| event.request_object.as_ref())
        .filter(|event| about(event));
    Ok(events
        .filter_map(|event| event["reason"].as_str().map(str::to_owned))
        .collect())
}

/// Verifies a chain, leaf first, up to a root with openssl.
pub(crate) fn openssl_verifies(chain: &str, root: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str, text: &str| -> Result<std::path::PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path)
    };
    let (chain, root) = (file("chain.pem", chain)?, file("root.pem", root)?);
    let output = Command::new("openssl")
        .args(["verify", "-x509_strict", "-purpose", "sslserver", "-CAfile"])
        .args([root.as_path(), Path::new("-untrusted"), &chain, &chain])
        .output()
        .context("run openssl")?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
