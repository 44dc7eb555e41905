//! Tests installing, upgrading, rolling back and uninstalling with helm on a real API server, with a controller that issues
//! certificates at every step with what helm installed.

use anyhow::{Context as _, Result, ensure};
use rig::{Authority, Programs, chart_path};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{
    NAMESPACE, RELEASE,
    pod::{Pod, read},
    release::{Release, issuer},
    value_set,
};
use crate::controller::programs;

/// The first version of the chart, from which users upgrade.
const FIRST: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/it/chart/pkcs11-issuer-0.0.1.tgz"
);
const RECORD: &str = "pkcs11-issuer-pin-state";

/// A release and the token that its controllers use.
struct Stage {
    release: Release,
    authority: Authority,
    programs: Programs,
}

impl Stage {
    async fn start() -> Result<Self> {
        let authority = Authority::new(KeyKind::P256)?;
        let token = authority.token();
        let module = json!({"softhsm": {"path": token.module(), "env": token.env()}});
        let values = value_set("softhsm", json!({"modules": module}))?;
        let release = Release::prepare(&values).await?;
        release.apply_pin(&authority).await?;
        Ok(Self {
            release,
            authority,
            programs: programs()?,
        })
    }

    /// Starts a controller from what is installed now and issues one certificate.
    async fn issues(&self, name: &str) -> Result<()> {
        let pod = Pod::start(&self.release.cluster, &self.programs, name).await?;
        self.release.issues(name, &self.authority).await?;
        pod.stop().await
    }

    /// Issues one certificate while the first chart is installed. The program of that chart wrote fewer fields of a
    /// status, with PATCH. Today's program runs in its place: it uses PUT, and needs one more right and today's CRDs.
    async fn issues_with_the_first_chart(&self, name: &str) -> Result<()> {
        let plane = self.release.cluster.plane();
        // Only the kinds that the first chart has: helm does not take over an object that others have created.
        for kind in ["pkcs11issuers", "pkcs11clusterissuers"] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/crds");
            let definition = format!("{folder}/pkcs11-issuer.dev_{kind}.yaml");
            let apply = "apply --server-side --force-conflicts --field-manager=helm --filename";
            let apply = apply.split(' ').chain([definition.as_str()]);
            plane.kubectl(&apply.collect::<Vec<_>>()).await?;
        }
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

    /// Returns the PIN record, which is never empty once a controller has logged in.
    async fn record(&self) -> Result<(Value, Value)> {
        let record = read(&self.release.cluster, "secret", RECORD).await?;
        let data = record["data"].clone();
        ensure!(
            data.as_object().is_some_and(|data| !data.is_empty()),
            "the PIN record is empty"
        );
        Ok((record["metadata"]["uid"].clone(), data))
    }

    /// Returns the Deployment's label with the version of the chart.
    async fn chart_of_deployment(&self) -> Result<String> {
        let deployment = read(&self.release.cluster, "deployment", RELEASE).await?;
        let label = deployment["metadata"]["labels"]["helm.sh/chart"].as_str();
        Ok(label.context("no label")?.to_owned())
    }
}

#[tokio::test]
async fn install_upgrade_rollback_and_uninstall_keep_issuing_and_the_pin_record() -> Result<()> {
    let stage = Stage::start().await?;
    let release = &stage.release;
    let chart = chart_path();
    let chart = chart.to_str().context("not UTF-8")?;

    let said = release.apply(&["install"], FIRST).await?;
    let next = "kubectl create secret generic hsm-pin";
    assert!(
        said.contains(next) && said.contains("kind: PKCS11ClusterIssuer"),
        "{said}"
    );
    release.apply_issuer(&stage.authority.issuer_spec()).await?;
    stage.issues_with_the_first_chart("first").await?;
    let record = stage.record().await?;

    release.apply(&["upgrade"], chart).await?;
    assert_ne!(stage.chart_of_deployment().await?, "pkcs11-issuer-0.0.1");
    assert_eq!(stage.record().await?, record);
    stage.issues("upgraded").await?;
    let record = stage.record().await?;

    release.helm(&["rollback", RELEASE, "1"]).await?;
    assert_eq!(stage.chart_of_deployment().await?, "pkcs11-issuer-0.0.1");
    assert_eq!(stage.record().await?, record);
    stage.issues_with_the_first_chart("rolled-back").await?;
    let record = stage.record().await?;

    // Like helm 3.
    release
        .apply(&["upgrade", "--server-side=false"], chart)
        .await?;
    assert_eq!(stage.record().await?, record);

    release.helm(&["uninstall", RELEASE]).await?;
    assert!(read(&release.cluster, "deployment", RELEASE).await.is_err());
    assert_eq!(stage.record().await?, record);
    let status = release.cluster.issuer_status(&issuer()).await?;
    assert!(
        status.ready().is_some(),
        "the issuer must survive the uninstall"
    );

    // A new installation adopts the objects that were kept.
    release.apply(&["install"], chart).await?;
    assert_eq!(stage.record().await?, record);
    stage.issues("installed-again").await
}
