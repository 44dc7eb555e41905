//! Tests the controller on a machine without IPv6, for which a container whose IPv6 sockets are refused stands.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::PATIENCE;
use serde_json::{Value, json};

use super::{container::docker, image};

/// AF_INET6 and EAFNOSUPPORT of Linux: what the kernel answers if it has no IPv6.
const INET6: u32 = 10;
const NOT_SUPPORTED: u32 = 97;

/// Writes what the controller needs to start and to listen.
fn write(folder: &Path) -> Result<()> {
    let refusal = json!({
        "names": ["socket"], "action": "SCMP_ACT_ERRNO", "errnoRet": NOT_SUPPORTED,
        "args": [{"index": 0, "value": INET6, "op": "SCMP_CMP_EQ"}],
    });
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [refusal]});
    let configuration = json!({
        "modules": {"none": {"path": "/none.so"}},
        "tokens": {"none": {"module": "none", "label": "none"}},
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "u", "user": {}}],
    });
    for (name, content) in [
        ("seccomp", seccomp),
        ("config", configuration),
        ("kubeconfig", kubeconfig),
    ] {
        fs::write(folder.join(name), content.to_string())?;
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn without_ipv6_the_listeners_for_both_families_listen_on_ipv4() -> Result<()> {
    let folder = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .tempdir()?;
    write(folder.path())?;
    let path = folder.path().to_str().context("not UTF-8")?;
    let (volume, seccomp) = (
        format!("{path}:/etc/controller:ro"),
        format!("seccomp={path}/seccomp"),
    );
    let image = image();
    let run = [
        "run",
        "--detach",
        "--volume",
        &volume,
        "--security-opt",
        &seccomp,
        &image,
        "run",
    ];
    let flags = "--config /etc/controller/config --kubeconfig /etc/controller/kubeconfig --identity x \
                 --log-format json --health-address [::]:8081 --metrics-address [::]:9402";
    let run: Vec<_> = run.into_iter().chain(flags.split_whitespace()).collect();
    let container = docker(&run).await?;
    let started = until("the controller to start", PATIENCE, async || {
        let logs = Command::new("docker")
            .args(["logs", container.trim()])
            .output()?;
        let log = String::from_utf8(logs.stderr)?;
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok(lines.into_iter().find(|line| line["message"] == "started"))
    })
    .await;
    docker(&["rm", "--force", container.trim()]).await?;
    let started = started?;
    assert_eq!(started["health"], "0.0.0.0:8081");
    assert_eq!(started["metrics"], "0.0.0.0:9402");
    Ok(())
}
