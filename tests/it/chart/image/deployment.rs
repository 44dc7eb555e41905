//! Runs a Deployment's pod in containers: with a copied library (the default), and with the worker in a sidecar.

use std::fs;

use anyhow::{Context as _, Result};
use rig::{Authority, chart_path};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{
    container::Container,
    image, in_values,
    kubelet::RunningPod,
    softhsm_image,
    volumes::{Storage, give_to_pods},
};
use crate::chart::{NAMESPACE, release::Release, value_set};

/// The path of the tokens in the containers, and the claim that has them.
const TOKENS: &str = "/var/lib/softhsm";
const CLAIM: &str = "tokens";

/// Returns SoftHSM's configuration of the token for a container.
fn softhsm_conf(authority: &Authority) -> Result<String> {
    let token = authority.token();
    let conf = token.env().remove("SOFTHSM2_CONF").context("no SoftHSM")?;
    let tokens = token.store().directory().join("tokens");
    let tokens = tokens.to_str().context("not UTF-8")?;
    Ok(fs::read_to_string(conf)?.replace(tokens, TOKENS))
}

/// Installs the chart in a namespace with Pod Security level *restricted* and starts a pod of its Deployment.
async fn installed(authority: &Authority, values: &Value) -> Result<(Release, RunningPod)> {
    let release = Release::prepare(values).await?;
    let restricted = "pod-security.kubernetes.io/enforce=restricted";
    let label = ["label", "namespace", NAMESPACE, restricted];
    release.cluster.plane().kubectl(&label).await?;
    release.apply_pin(authority).await?;
    let chart = chart_path();
    let chart = chart.to_str().context("not UTF-8")?;
    release.apply(&["install"], chart).await?;
    let tokens = authority.token().store().directory().join("tokens");
    give_to_pods(&tokens).await?;
    let storage = Storage::from([(CLAIM.to_owned(), tokens)]);
    let pod = RunningPod::start(&release.cluster, "deployment", "pod", &storage).await?;
    Ok((release, pod))
}

/// Fails if the kernel gives the container more privileges than the chart's defaults.
async fn is_restricted(container: &Container) -> Result<()> {
    let status = container.kernel_status().await?;
    for (field, wanted) in [
        ("Uid", "65532 65532 65532 65532"),
        ("Gid", "65532 65532 65532 65532"),
        ("Groups", "65532"),
        ("CapPrm", "0000000000000000"),
        ("CapEff", "0000000000000000"),
        ("CapBnd", "0000000000000000"),
        ("NoNewPrivs", "1"),
        // SECCOMP_MODE_FILTER
        ("Seccomp", "2"),
    ] {
        assert_eq!(status[field], wanted, "{field}");
    }
    let root = container.root_options().await?;
    assert!(root.starts_with("ro,"), "{root}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn a_default_installation_with_one_token_issues_from_the_image() -> Result<()> {
    let authority = Authority::new(KeyKind::P256)?;
    let softhsm = in_values(&softhsm_image())?;
    let folder = "/opt/hsm/softhsm";
    let values = value_set(
        "softhsm",
        json!({
            "image": in_values(&image())?,
            "modules": {"softhsm": {
                "path": format!("{folder}/libsofthsm2.so"),
                "env": {"SOFTHSM2_CONF": "/etc/softhsm/softhsm2.conf", "LD_LIBRARY_PATH": folder},
                "copy": {"image": softhsm, "from": "/opt/softhsm"},
                "volumeMounts": [
                    {"name": "softhsm", "mountPath": "/etc/softhsm", "readOnly": true},
                    {"name": "tokens", "mountPath": TOKENS},
                ],
            }},
            "extraVolumes": [
                {"name": "softhsm", "configMap": {"name": "softhsm"}},
                {"name": "tokens", "persistentVolumeClaim": {"claimName": CLAIM}},
            ],
            "extraObjects": [config_map(&authority)?],
        }),
    )?;
    let (release, pod) = installed(&authority, &values).await?;
    release.apply_issuer(&authority.issuer_spec()).await?;
    release.issues("web", &authority).await?;
    is_restricted(pod.controller()).await?;
    pod.controller().stop().await
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn the_worker_signs_from_a_sidecar_with_an_image_of_its_own() -> Result<()> {
    let authority = Authority::new(KeyKind::P256)?;
    let values = value_set(
        "sidecar",
        json!({
            "image": in_values(&image())?,
            "modules": {"softhsm": {"sidecar": {"image": in_values(&softhsm_image())?}}},
            "extraObjects": [config_map(&authority)?],
            // The Prometheus operator is not installed here.
            "metrics": {"podMonitor": {"enabled": false}},
        }),
    )?;
    let (release, pod) = installed(&authority, &values).await?;
    let mut issuer = authority.issuer_spec();
    issuer["pinSecretRef"] = json!({"name": "hsm-pin", "key": "pin"});
    release.apply_issuer(&issuer).await?;
    release.issues("web", &authority).await?;
    let [sidecar] = pod.sidecars() else {
        anyhow::bail!("expected one sidecar");
    };
    for container in [pod.controller(), sidecar] {
        is_restricted(container).await?;
    }
    pod.controller().stop().await?;
    sidecar.stop().await
}

/// Returns the ConfigMap with SoftHSM's configuration that the value set `sidecar` names.
fn config_map(authority: &Authority) -> Result<Value> {
    Ok(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "softhsm", "namespace": NAMESPACE},
        "data": {"softhsm2.conf": softhsm_conf(authority)?},
    }))
}
