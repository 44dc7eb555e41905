//! Installations in a real control plane, whole and broken on purpose. The table runs on one control plane, and each row mends
//! what it breaks.

mod rights;
mod servers;

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use control_plane::{CertManagerOptions, Chart};
use rig::{Authority, Cluster, NAMESPACE, Programs, chart_path};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{Reported, command};

/// Values with which the chart gives the controller every right, but for Secrets in the namespaces of issuers.
fn everything() -> Value {
    json!({
        "podCertificateRequests": true,
        "clusterTrustBundles": true,
        "trustConfigMaps": true,
        "reissue": true,
        "audit": Authority::checkpoints(),
        "crl": {"enabled": true, "onDelete": true},
    })
}

/// Returns what the chart installs with these values.
async fn rendered(values: &Value) -> Result<Vec<Value>> {
    let mut all = json!({
        "modules": {"any": {"path": "/any.so"}},
        "tokens": {"issuing": {"module": "any", "label": "any", "pinFile": "/any"}},
    });
    let more = values.as_object().context("no values")?.clone();
    all.as_object_mut().context("no values")?.extend(more);
    let chart = Chart {
        path: &chart_path(),
        release: "pkcs11-issuer",
        namespace: NAMESPACE,
    };
    chart.render(&all).await
}

/// A cluster in which the chart is installed, as far as no kubelet is needed.
struct Installed(Cluster);

impl Installed {
    async fn new(cluster: Cluster, values: &Value) -> Result<Self> {
        let installed = Self(cluster);
        installed.deploy(values).await?;
        Ok(installed)
    }

    /// Applies the Deployment, and says in place of a kubelet that its pods are ready.
    async fn deploy(&self, values: &Value) -> Result<()> {
        let objects = rendered(values).await?;
        let mut deployments = objects.iter().filter(|it| it["kind"] == "Deployment");
        let deployment = deployments.next().context("no Deployment")?;
        self.0.apply(deployment).await?;
        self.ready(2).await
    }

    async fn ready(&self, pods: u32) -> Result<()> {
        let status = json!({"status": {"replicas": 2, "readyReplicas": pods}}).to_string();
        let patch = [
            "patch",
            "deployment",
            "pkcs11-issuer",
            "--subresource=status",
            "--type=merge",
            "-p",
            &status,
        ];
        self.own(&patch).await
    }

    async fn kubectl(&self, words: &[&str]) -> Result<()> {
        self.0.plane().kubectl(words).await.map(drop)
    }

    /// Runs kubectl in the controller's namespace.
    async fn own(&self, words: &[&str]) -> Result<()> {
        self.kubectl(&[&["--namespace", NAMESPACE], words].concat())
            .await
    }

    fn command(&self) -> Result<Command> {
        let mut command = command()?;
        command
            .arg("--kubeconfig")
            .arg(self.0.plane().admin_kubeconfig());
        Ok(command)
    }

    fn reported(&self) -> Result<Reported> {
        Reported::of(&mut self.command()?)
    }

    /// Checks that the fault is named first, with a cure.
    fn is_named_first(&self, id: &str) -> Result<()> {
        named_first(id, &self.reported()?)
    }
}

fn named_first(id: &str, reported: &Reported) -> Result<()> {
    let first = reported.first();
    let first = first.with_context(|| format!("{id}: nothing is wrong: {reported:?}"))?;
    ensure!(first["id"] == id, "{id}: {first}\n{reported:?}");
    let filled = |field: &str| first[field].as_str().is_some_and(|text| !text.is_empty());
    ensure!(
        filled("message") && filled("cure") && filled("page"),
        "{id}: {first}"
    );
    Ok(())
}

async fn cluster() -> Result<Cluster> {
    let programs = Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    Cluster::start(&programs, CertManagerOptions::default()).await
}

#[tokio::test]
async fn each_fault_of_a_cluster_is_named_first_and_a_whole_one_has_none() -> Result<()> {
    let installed = Installed::new(cluster().await?, &json!({})).await?;
    let whole = installed.reported()?;
    ensure!(
        whole.first().is_none() && whole.code == Some(0),
        "{whole:?}"
    );
    for id in [
        "clock-agrees",
        "crds-current",
        "controller-rights",
        "approver-rights",
        "workload-ready",
    ] {
        ensure!(whole.finding(id)?["state"] == "ok", "{id}: {whole:?}");
    }
    ensure!(
        whole.finding("issuers-ready")?["state"] == "skipped",
        "{whole:?}"
    );
    objects(&installed).await?;
    rights::rights(&installed).await?;
    kinds(&installed).await
}

/// Breaks what the chart installs.
async fn objects(installed: &Installed) -> Result<()> {
    installed.ready(0).await?;
    installed.is_named_first("workload-ready")?;
    installed.ready(2).await?;
    let image = "example.org/pkcs11-issuer:0.0.9";
    let container = r#"jsonpath={.spec.template.spec.containers[0].name}"#;
    let get = [
        "get",
        "deployment",
        "pkcs11-issuer",
        "--namespace",
        NAMESPACE,
        "-o",
        container,
    ];
    let name = installed.0.plane().kubectl(&get).await?;
    installed
        .own(&[
            "set",
            "image",
            "deployment/pkcs11-issuer",
            &format!("{name}={image}"),
        ])
        .await?;
    installed.is_named_first("workload-version")?;
    installed
        .own(&["delete", "deployment", "pkcs11-issuer"])
        .await?;
    installed.is_named_first("workload-present")?;
    installed.deploy(&json!({})).await?;
    installed
        .own(&["delete", "secret", "pkcs11-issuer-pin-state"])
        .await?;
    installed.is_named_first("pin-state-present")?;
    installed
        .own(&["create", "secret", "generic", "pkcs11-issuer-pin-state"])
        .await?;
    installed
        .own(&["delete", "serviceaccount", "pkcs11-issuer"])
        .await?;
    installed.is_named_first("service-account-present")?;
    installed
        .own(&["create", "serviceaccount", "pkcs11-issuer"])
        .await?;
    let authority = Authority::new(KeyKind::P256)?;
    let issuer = rig::IssuerName::cluster("waiting");
    installed
        .0
        .apply_issuer(&issuer, &authority.issuer_spec())
        .await?;
    // No controller runs.
    installed.is_named_first("issuers-ready")?;
    issuer_of_the_cluster(installed, &authority).await?;
    evidence(installed).await?;
    installed
        .kubectl(&["delete", "pkcs11clusterissuers", "--all"])
        .await
}

/// Examines an issuer of the cluster whose certificates are in a Secret, which is first missing.
async fn issuer_of_the_cluster(installed: &Installed, authority: &Authority) -> Result<()> {
    let issuer = rig::IssuerName::cluster("stored");
    let spec = authority.issuer_spec_with_secret("chain");
    installed.0.apply_issuer(&issuer, &spec).await?;
    let examined = || {
        let mut command = installed.command()?;
        command.args(["--issuer", "PKCS11ClusterIssuer/stored", "--only", "issuer"]);
        Reported::of(&mut command)
    };
    named_first("certificate-present", &examined()?)?;
    installed
        .0
        .apply_secret(NAMESPACE, "chain", &authority.chain())
        .await?;
    let reported = examined()?;
    ensure!(reported.first().is_none(), "{reported:?}");
    ensure!(
        reported.finding("certificate-chain")?["state"] == "ok",
        "{reported:?}"
    );
    Ok(())
}

/// Writes evidence of a cluster with a Secret.
async fn evidence(installed: &Installed) -> Result<()> {
    let secret = BTreeMap::from([("pin", "open-sesame".to_owned())]);
    installed.0.apply_secret(NAMESPACE, "hsm", &secret).await?;
    let folder = tempfile::tempdir()?;
    let new = folder.path().join("evidence");
    let mut command = installed.command()?;
    Reported::of(command.arg("--evidence").arg(&new))?;
    for entry in fs::read_dir(&new)? {
        let text = fs::read_to_string(entry?.path())?;
        // In base64 as the API server stores it, too.
        ensure!(
            !text.contains("open-sesame") && !text.contains("b3Blbi1zZXNhbW"),
            "{text}"
        );
    }
    let cluster: Value = serde_json::from_str(&fs::read_to_string(new.join("cluster.json"))?)?;
    ensure!(
        cluster["issuers"][0]["spec"]["token"] == "issuing",
        "{cluster}"
    );
    ensure!(
        cluster["workload"]["name"] == "Deployment pkcs11-issuer",
        "{cluster}"
    );
    Ok(())
}

/// Changes and removes kinds; nothing mends cert-manager's afterwards.
async fn kinds(installed: &Installed) -> Result<()> {
    let ours = "certificaterevocations.pkcs11-issuer.dev";
    let other = json!([{
        "op": "replace", "path": "/spec/versions/0/schema/openAPIV3Schema/description", "value": "old",
    }]);
    installed
        .kubectl(&[
            "patch",
            "crd",
            ours,
            "--type=json",
            "-p",
            &other.to_string(),
        ])
        .await?;
    installed.is_named_first("crds-current")?;
    installed.kubectl(&["delete", "crd", ours]).await?;
    installed.is_named_first("crds-installed")?;
    let crds = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .arg("crds")
        .output()?;
    installed
        .0
        .plane()
        .apply(&String::from_utf8(crds.stdout)?)
        .await?;
    let theirs = "certificaterequests.cert-manager.io";
    let not_served = json!([{"op": "replace", "path": "/spec/versions/0/served", "value": false}]);
    installed
        .kubectl(&[
            "patch",
            "crd",
            theirs,
            "--type=json",
            "-p",
            &not_served.to_string(),
        ])
        .await?;
    installed.is_named_first("cert-manager-version")?;
    installed.kubectl(&["delete", "crd", theirs]).await?;
    installed.is_named_first("cert-manager-installed")
}
