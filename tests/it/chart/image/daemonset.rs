//! Three pods of a DaemonSet in containers, each with the token of its node.

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

/// Where a node has the token of its HSM, and the configuration and the PIN for it.
const TOKENS: &str = "/var/lib/softhsm";
const ETC: &str = "/etc/hsm";

/// The value set of an HSM in the nodes, with SoftHSM as that.
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

/// What a node has of its HSM.
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

/// Has so many certificates issued, asked for at the same time.
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

/// How many certificates a pod has published, by its issuance record.
fn published(pod: &RunningPod) -> Result<usize> {
    let record = pod.controller().client().stdout()?;
    let published = record
        .lines()
        .filter(|line| line.contains(r#""event":"published""#));
    Ok(published.count())
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn three_pods_of_the_daemon_set_share_the_work_and_two_take_over_that_of_a_lost_one()
-> Result<()> {
    let release = Release::prepare(&values()?).await?;
    // For the paths of the host.
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
    // A third of a fair draw misses a hundred in a row less than once in 10^17 runs. Some are made before a pod knows that
    // the issuer is ready.
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
    // The line about a certificate is written after it is published.
    until("both others to take over", PATIENCE, async || {
        let have = pods.iter().map(published).collect::<Result<Vec<_>>>()?;
        let more = have.iter().zip(&had).all(|(have, had)| have > had);
        Ok(more.then_some(()))
    })
    .await
}
