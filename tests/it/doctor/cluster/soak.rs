//! Every fault of an installation in a control plane, which takes a minute: `make soak`. Each part mends what it breaks.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Result, ensure};
use rig::{Authority, NAMESPACE};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{Installed, cluster, named_first, rights};
use crate::doctor::Reported;

#[tokio::test]
#[ignore = "takes a minute: make soak"]
async fn each_fault_of_a_cluster_is_named_first() -> Result<()> {
    let installed = Installed::new(cluster().await?, &json!({})).await?;
    objects(&installed).await?;
    rights::of_the_approver(&installed).await?;
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
