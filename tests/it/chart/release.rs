//! A cluster on which helm installs everything of ours, and checks of issuance on it.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result};
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
use rig::{Authority, Cluster, IssuerName, chart_path, csr_for, request_spec};
use serde_json::Value;

use super::{NAMESPACE, RELEASE};
use crate::controller::openssl_verifies;

/// A release of the chart, always with the same values.
pub(super) struct Release {
    pub(super) cluster: Cluster,
    values: String,
}

impl Release {
    /// Starts a cluster on which the chart is not installed yet.
    pub(super) async fn prepare(values: &Value) -> Result<Self> {
        let cluster = without_approver().await?;
        let values = write(&cluster, values)?;
        Ok(Self { cluster, values })
    }

    /// Creates the Secret with the PIN of a token.
    pub(super) async fn apply_pin(&self, authority: &Authority) -> Result<()> {
        let pin = BTreeMap::from([("pin", authority.token().user_pin().to_owned())]);
        self.cluster.apply_secret(NAMESPACE, "hsm-pin", &pin).await
    }

    /// Runs `helm install` or `helm upgrade` with a chart and the values.
    pub(super) async fn apply(&self, command: &[&str], chart: &str) -> Result<String> {
        let what = [RELEASE, chart, "--values", &self.values];
        self.helm(&[command, &what].concat()).await
    }

    /// Runs helm on this cluster in the namespace of the release.
    pub(super) async fn helm(&self, args: &[&str]) -> Result<String> {
        self.cluster.plane().helm(NAMESPACE, args).await
    }

    /// Creates the issuer once the API server serves our CRDs.
    pub(super) async fn apply_issuer(&self, spec: &Value) -> Result<()> {
        kinds_are_served(&self.cluster).await?;
        self.cluster.apply_issuer(&issuer(), spec).await
    }

    /// Issues one certificate with the running controller.
    pub(super) async fn issues(&self, name: &str, authority: &Authority) -> Result<()> {
        self.cluster.issuer_is_ready(&issuer()).await?;
        let requests = self.cluster.requests("default").await?;
        let spec = request_spec(&issuer(), &csr_for("web.example")?);
        requests.create(name, spec).await?;
        requests.approve(name).await?;
        let issued = requests.reaches(name, "Issued").await?;
        let chain = issued.certificate().context("no certificate")?;
        openssl_verifies(&chain, &authority.root().pem())
    }
}

/// Returns the cluster issuer of every release.
pub(super) fn issuer() -> IssuerName {
    IssuerName::cluster("issuing")
}

/// Starts a control plane with cert-manager but without its approver, and creates the namespace of the release.
pub(crate) async fn without_approver() -> Result<Cluster> {
    let plane = ControlPlane::start(Options::default()).await?;
    let options = CertManagerOptions {
        approver: false,
        ..CertManagerOptions::default()
    };
    let cert_manager = CertManager::start(&plane, options).await?;
    Cluster::prepare(plane, cert_manager).await
}

/// Installs the chart of this checkout and waits until the API server serves its CRDs.
pub(crate) async fn install(cluster: &Cluster, values: &Value) -> Result<()> {
    let (chart, values) = (chart_path(), write(cluster, values)?);
    let chart = chart.to_str().context("not UTF-8")?;
    let install = ["install", RELEASE, chart, "--values", &values];
    cluster.plane().helm(NAMESPACE, &install).await?;
    kinds_are_served(cluster).await
}

async fn kinds_are_served(cluster: &Cluster) -> Result<()> {
    let established = "wait --for=condition=Established --timeout=60s crd pkcs11issuers.pkcs11-issuer.dev \
                       pkcs11clusterissuers.pkcs11-issuer.dev";
    let wait: Vec<_> = established.split_whitespace().collect();
    cluster.plane().kubectl(&wait).await?;
    Ok(())
}

/// Writes values to a file for helm.
fn write(cluster: &Cluster, values: &Value) -> Result<String> {
    let file = cluster.plane().log_dir().join("values.json");
    fs::write(&file, values.to_string())?;
    Ok(file.to_str().context("not UTF-8")?.to_owned())
}
