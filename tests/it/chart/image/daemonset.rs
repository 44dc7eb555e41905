//! Runs three pods of a DaemonSet in containers, each with the token of its node.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rig::{Authority, PATIENCE, Requests, chart_path, csr_for, request_spec};
use serde_json::{Value, json};

use super::{
    image, in_values,
    kubelet::RunningPod,
    softhsm_image,
    volumes::{Storage, give_to_pods},
};
use crate::chart::{
    NAMESPACE,
    release::{Release, issuer},
    value_set,
};

/// The folders on a node with the token of its HSM, and with the token's configuration and PIN.
const TOKENS: &str = "/var/lib/softhsm";
const ETC: &str = "/etc/hsm";

/// Returns the value set for HSMs in the nodes, with SoftHSM as the HSM.
fn values() -> Result<Value> {
    let folder = "/opt/hsm/pcie";
    value_set(
        "host-device",
        json!({
            "image": in_values(&image())?,
            "leaseDuration": "5s",
            "modules": {"pcie": {
                "path": format!("{folder}/libsofthsm2.so"),
                "env": {"SOFTHSM2_CONF": format!("{ETC}/softhsm2.conf"), "LD_LIBRARY_PATH": folder},
                "copy": {"image": in_values(&softhsm_image())?, "from": "/opt/softhsm"},
                "hostPaths": [
                    {"hostPath": TOKENS, "type": "Directory", "readOnly": false},
                    {"hostPath": ETC, "type": "Directory", "readOnly": true},
                ],
            }},
            "tokens": {"issuing": {"pinSecretRef": null, "pinFile": format!("{ETC}/pin")}},
        }),
    )
}

/// Creates the folders of a node's HSM.
async fn node(authority: &Authority, etc: &Path) -> Result<Storage> {
    let token = authority.token();
    let tokens = token.store().directory().join("tokens");
    let conf = token.env().remove("SOFTHSM2_CONF").context("no SoftHSM")?;
    let conf = fs::read_to_string(conf)?.replace(tokens.to_str().context("not UTF-8")?, TOKENS);
    fs::create_dir_all(etc)?;
    fs::write(etc.join("softhsm2.conf"), conf)?;
    fs::copy(token.pin_file(), etc.join("pin"))?;
    for folder in [&tokens, etc] {
        give_to_pods(folder).await?;
    }
    Ok(Storage::from([
        (TOKENS.to_owned(), tokens),
        (ETC.to_owned(), etc.to_owned()),
    ]))
}

/// Issues `count` certificates, requested concurrently.
async fn issue(requests: &Requests, prefix: &str, count: usize) -> Result<()> {
    let names = (0..count).map(|number| format!("{prefix}-{number}"));
    let issued = stream::iter(names).map(async |name| {
        let spec = request_spec(&issuer(), &csr_for("web.example")?);
        requests.create_approved(&name, spec).await?;
        requests.reaches(&name, "Issued").await?;
        anyhow::Ok(())
    });
    issued.buffer_unordered(count).try_collect().await
}

/// Returns the number of certificates that a pod has published according to its issuance log.
fn published(pod: &RunningPod) -> Result<usize> {
    let record = pod.controller().client().stdout()?;
    let published = record
        .lines()
        .filter(|line| line.contains(r#""event":"published""#));
    Ok(published.count())
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn three_pods_of_the_daemon_set_share_the_work_and_two_take_over_from_a_lost_one()
-> Result<()> {
    let release = Release::prepare(&values()?).await?;
    // Host paths need this level.
    let privileged = "pod-security.kubernetes.io/enforce=privileged";
    let plane = release.cluster.plane();
    plane
        .kubectl(&["label", "namespace", NAMESPACE, privileged])
        .await?;
    let chart = chart_path();
    let chart = chart.to_str().context("not UTF-8")?;
    release.apply(&["install"], chart).await?;

    let authorities = Authority::copies(3)?;
    let mut pods = Vec::new();
    for (authority, name) in authorities.iter().zip(["node-a", "node-b", "node-c"]) {
        let storage = node(authority, &plane.log_dir().join(format!("{name}.etc"))).await?;
        pods.push(RunningPod::start(&release.cluster, "daemonset", name, &storage).await?);
    }
    let first = authorities.first().context("no token")?;
    release.apply_issuer(&first.issuer_spec()).await?;
    release.cluster.issuer_is_ready(&issuer()).await?;

    let requests = release.cluster.requests("default").await?;
    // With a fair share of one third, a pod gets none of 100 requests less than once in 10^17 runs. But some requests are
    // created before a pod knows that the issuer is ready.
    let mut rounds = 0;
    while pods
        .iter()
        .map(published)
        .collect::<Result<Vec<_>>>()?
        .contains(&0)
    {
        ensure!(rounds < 10, "a pod signs nothing");
        issue(&requests, &format!("shared-{rounds}"), 10).await?;
        rounds += 1;
    }

    let lost = pods.remove(0);
    lost.controller().kill().await?;
    let had = pods.iter().map(published).collect::<Result<Vec<_>>>()?;
    issue(&requests, "after", 60).await?;
    // The issuance log has the line about a certificate only after its publication.
    until("both others to take over", PATIENCE, async || {
        let have = pods.iter().map(published).collect::<Result<Vec<_>>>()?;
        let more = have.iter().zip(&had).all(|(have, had)| have > had);
        Ok(more.then_some(()))
    })
    .await
}
