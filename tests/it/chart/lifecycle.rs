//! Installing, upgrading, rolling back and uninstalling by helm on the real API server, and the controller that issues
//! all the while with what helm installed.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options, helm};
use rig::{Authority, Cluster, IssuerName, Programs, chart_path, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{
    NAMESPACE, RELEASE,
    pod::{Pod, read},
    value_set,
};
use crate::controller::{openssl_verifies, programs};

/// The chart as it was first, from which everybody upgrades.
const FIRST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/chart/pkcs11-issuer-0.0.1.tgz"
);
const RECORD: &str = "pkcs11-issuer-pin-state";

/// A cluster on which helm does everything that is ours.
struct Stage {
    cluster: Cluster,
    authority: Authority,
    programs: Programs,
    values: PathBuf,
}

impl Stage {
    async fn start() -> Result<Self> {
        let plane = ControlPlane::start(Options::default()).await?;
        let cert_manager = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cert_manager = CertManager::start(&plane, cert_manager).await?;
        let authority = Authority::new(KeyKind::P256)?;
        let token = authority.token();
        let module = json!({"softhsm": {"path": token.module(), "env": token.env()}});
        let values = value_set("softhsm", json!({"modules": module}))?;
        let file = plane.log_dir().join("values.json");
        fs::write(&file, values.to_string())?;
        let cluster = Cluster::prepare(plane, cert_manager).await?;
        let pin = token.user_pin().to_owned();
        cluster
            .apply_secret(NAMESPACE, "hsm-pin", &BTreeMap::from([("pin", pin)]))
            .await?;
        Ok(Self {
            cluster,
            authority,
            programs: programs()?,
            values: file,
        })
    }

    /// `helm install`, `helm upgrade` with a chart and the values.
    async fn apply(&self, command: &[&str], chart: &str) -> Result<String> {
        let values = self.values.to_str().context("not UTF-8")?;
        let mut args = command.to_vec();
        args.extend([RELEASE, chart, "--values", values]);
        self.helm(&args).await
    }

    async fn helm(&self, args: &[&str]) -> Result<String> {
        let kubeconfig = self.cluster.plane().admin_kubeconfig();
        let kubeconfig = kubeconfig.to_str().context("not UTF-8")?;
        let mut args = args.to_vec();
        args.extend(["--namespace", NAMESPACE, "--kubeconfig", kubeconfig]);
        helm(&args).await
    }

    /// Has a controller, started from what is installed now, issue one certificate.
    async fn issues(&self, name: &str) -> Result<()> {
        let pod = Pod::start(&self.cluster, &self.programs, name).await?;
        self.cluster.issuer_is_ready(&issuer()).await?;
        let requests = self.cluster.requests("default").await?;
        let spec = request_spec(&issuer(), &csr_for("web.example")?);
        requests.create(name, spec).await?;
        requests.approve(name).await?;
        let issued = requests.reaches(name, "Issued").await?;
        let chain = issued.certificate().context("no certificate")?;
        openssl_verifies(&chain, &self.authority.root().pem())?;
        pod.stop().await
    }

    /// The same where the first chart is installed: the program of that time wrote a status by PATCH, that of today, which
    /// runs in its place, does so by PUT.
    async fn issues_with_the_first_chart(&self, name: &str) -> Result<()> {
        let plane = self.cluster.plane();
        let account = format!("--serviceaccount={NAMESPACE}:{RELEASE}");
        let role = "create clusterrole puts --verb=update --resource=certificaterequests.cert-manager.io/status";
        plane.kubectl(&role.split(' ').collect::<Vec<_>>()).await?;
        let bind = ["create", "clusterrolebinding", "puts", "--clusterrole=puts"];
        plane
            .kubectl(&[&bind[..], &[account.as_str()]].concat())
            .await?;
        self.issues(name).await?;
        let undo = ["delete", "clusterrole/puts", "clusterrolebinding/puts"];
        plane.kubectl(&undo).await?;
        Ok(())
    }

    /// What the record of PIN tries has, which is never nothing once a controller has logged in.
    async fn record(&self) -> Result<(Value, Value)> {
        let record = read(&self.cluster, "secret", RECORD).await?;
        let data = record["data"].clone();
        ensure!(
            data.as_object().is_some_and(|data| !data.is_empty()),
            "the record is empty"
        );
        Ok((record["metadata"]["uid"].clone(), data))
    }

    /// The label that says which chart an object is of.
    async fn chart_of_deployment(&self) -> Result<String> {
        let deployment = read(&self.cluster, "deployment", RELEASE).await?;
        let label = deployment["metadata"]["labels"]["helm.sh/chart"].as_str();
        Ok(label.context("no label")?.to_owned())
    }
}

fn issuer() -> IssuerName {
    IssuerName::cluster("issuing")
}

#[tokio::test]
async fn install_upgrade_rollback_and_uninstall_keep_issuing_and_the_record_of_pin_tries()
-> Result<()> {
    let stage = Stage::start().await?;
    let chart = chart_path();
    let chart = chart.to_str().context("not UTF-8")?;

    let said = stage.apply(&["install"], FIRST).await?;
    let next = "kubectl create secret generic hsm-pin";
    assert!(
        said.contains(next) && said.contains("kind: PKCS11ClusterIssuer"),
        "{said}"
    );
    let established = "wait --for=condition=Established --timeout=60s crd pkcs11issuers.pkcs11-issuer.dev \
                       pkcs11clusterissuers.pkcs11-issuer.dev";
    let wait: Vec<_> = established.split_whitespace().collect();
    stage.cluster.plane().kubectl(&wait).await?;
    stage
        .cluster
        .apply_issuer(&issuer(), &stage.authority.issuer_spec())
        .await?;
    stage.issues_with_the_first_chart("first").await?;
    let record = stage.record().await?;

    stage.apply(&["upgrade"], chart).await?;
    assert_ne!(stage.chart_of_deployment().await?, "pkcs11-issuer-0.0.1");
    assert_eq!(stage.record().await?, record);
    stage.issues("upgraded").await?;
    let record = stage.record().await?;

    stage.helm(&["rollback", RELEASE, "1"]).await?;
    assert_eq!(stage.chart_of_deployment().await?, "pkcs11-issuer-0.0.1");
    assert_eq!(stage.record().await?, record);
    stage.issues_with_the_first_chart("rolled-back").await?;
    let record = stage.record().await?;

    // As helm 3 does it.
    stage
        .apply(&["upgrade", "--server-side=false"], chart)
        .await?;
    assert_eq!(stage.record().await?, record);

    stage.helm(&["uninstall", RELEASE]).await?;
    assert!(read(&stage.cluster, "deployment", RELEASE).await.is_err());
    assert_eq!(stage.record().await?, record);
    let status = stage.cluster.issuer_status(&issuer()).await?;
    assert!(status.ready().is_some(), "the issuer is there");

    // What was left is taken over.
    stage.apply(&["install"], chart).await?;
    assert_eq!(stage.record().await?, record);
    stage.issues("installed-again").await
}
