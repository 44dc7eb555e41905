//! A cluster on which helm does everything that is ours, and what is issued there.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options, helm};
use rig::{Authority, Cluster, IssuerName, csr_for, request_spec};
use serde_json::Value;

use super::{NAMESPACE, RELEASE};
use crate::controller::openssl_verifies;

/// A release of the chart with the same values throughout.
pub(super) struct Release {
    pub(super) cluster: Cluster,
    values: PathBuf,
}

impl Release {
    /// Starts a control plane with cert-manager, whose approver does not run, and makes the namespace. Nothing is
    /// installed yet.
    pub(super) async fn prepare(values: &Value) -> Result<Self> {
        let plane = ControlPlane::start(Options::default()).await?;
        let cert_manager = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cert_manager = CertManager::start(&plane, cert_manager).await?;
        let file = plane.log_dir().join("values.json");
        fs::write(&file, values.to_string())?;
        Ok(Self {
            cluster: Cluster::prepare(plane, cert_manager).await?,
            values: file,
        })
    }

    /// Makes the Secret with the PIN of a token.
    pub(super) async fn apply_pin(&self, authority: &Authority) -> Result<()> {
        let pin = BTreeMap::from([("pin", authority.token().user_pin().to_owned())]);
        self.cluster.apply_secret(NAMESPACE, "hsm-pin", &pin).await
    }

    /// `helm install` or `helm upgrade`, with a chart and the values.
    pub(super) async fn apply(&self, command: &[&str], chart: &str) -> Result<String> {
        let values = self.values.to_str().context("not UTF-8")?;
        let mut args = command.to_vec();
        args.extend([RELEASE, chart, "--values", values]);
        self.helm(&args).await
    }

    /// helm, on this cluster and in the namespace of the release.
    pub(super) async fn helm(&self, args: &[&str]) -> Result<String> {
        let kubeconfig = self.cluster.plane().admin_kubeconfig();
        let kubeconfig = kubeconfig.to_str().context("not UTF-8")?;
        let mut args = args.to_vec();
        args.extend(["--namespace", NAMESPACE, "--kubeconfig", kubeconfig]);
        helm(&args).await
    }

    /// Makes the issuer, once the API server serves our kinds.
    pub(super) async fn apply_issuer(&self, spec: &Value) -> Result<()> {
        let established = "wait --for=condition=Established --timeout=60s crd pkcs11issuers.pkcs11-issuer.dev \
                           pkcs11clusterissuers.pkcs11-issuer.dev";
        let wait: Vec<_> = established.split_whitespace().collect();
        self.cluster.plane().kubectl(&wait).await?;
        self.cluster.apply_issuer(&issuer(), spec).await
    }

    /// Has the controller that runs issue one certificate.
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

/// The cluster issuer of every release.
pub(super) fn issuer() -> IssuerName {
    IssuerName::cluster("issuing")
}
