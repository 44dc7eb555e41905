//! Tests the listeners of health and metrics under clients that never finish their requests.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::{Process, Program, until};
use rig::{PATIENCE, Programs};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

/// Number of clients of health and metrics, and as many of CRLs, each with a header that never ends.
const CLIENTS: usize = 2000;
/// Octets that half of the clients send at once; the others send a little less than the server reads.
const HEADER: usize = 400 * 1000;
const SHORT_HEADER: usize = 7 * 1024;
/// Memory that all clients together may cost.
const MEMORY: u64 = 20 << 20;

/// Starts a controller without an API server; it serves health and metrics all the same.
fn controller(folder: &std::path::Path) -> Result<Process> {
    let config = folder.join("config.yaml");
    let written = json!({
        "modules": {"none": {"path": "/nonexistent/pkcs11.so"}},
        "tokens": {"none": {"module": "none", "label": "none", "pinFile": "/nonexistent/pin"}},
    });
    fs::write(&config, written.to_string())?;
    let kubeconfig = folder.join("kubeconfig");
    let written = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "none",
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "none", "user": {}}],
    });
    fs::write(&kubeconfig, written.to_string())?;
    let programs = Programs::beside(env!("CARGO_BIN_EXE_pkcs11-issuer").into())?;
    let program = Program::new(programs.controller)
        .args(["run".into(), "--config".into(), config])
        .args(["--kubeconfig".into(), kubeconfig])
        .args(["--worker".into(), programs.worker])
        .args(["--identity", "bounds"])
        .args(["--health-address", "127.0.0.1:0"])
        .args(["--metrics-address", "127.0.0.1:0"])
        .args(["--crl-address", "127.0.0.1:0"])
        .args(["--log-format", "json"]);
    Process::start("bounds", program, folder)
}

/// Returns the resident memory in octets: now (`VmRSS`) or at its peak (`VmHWM`).
fn memory(process: &Process, field: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    let kilobytes: u64 = kilobytes.context("no such field")?.parse()?;
    Ok(kilobytes * 1024)
}

async fn get(address: &str, path: &str) -> Result<String> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        anyhow::Ok(answer)
    };
    timeout(PATIENCE, asked).await?
}

async fn flood(address: &str, clients: usize) -> Result<Vec<TcpStream>> {
    let mut open = Vec::new();
    for number in 0..clients {
        let mut stream = TcpStream::connect(address).await?;
        let length = match number % 2 {
            0 => HEADER,
            _ => SHORT_HEADER,
        };
        let header = format!("GET /livez HTTP/1.1\r\nX: {}", "a".repeat(length));
        // Send as much as the server accepts now; a closed connection accepts nothing.
        drop(
            timeout(
                Duration::from_millis(1),
                stream.write_all(header.as_bytes()),
            )
            .await,
        );
        open.push(stream);
    }
    Ok(open)
}

#[tokio::test]
async fn two_thousand_unfinished_headers_cost_little_memory_and_probes_and_scrapes_are_answered()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let controller = controller(folder.path())?;
    let line = controller.line("\"message\":\"started\"", PATIENCE).await?;
    let line: Value = serde_json::from_str(&line)?;
    let address = |of: &str| line[of].as_str().map(str::to_owned).context("no address");
    let (health, metrics) = (address("health")?, address("metrics")?);
    let crls = address("crls")?;
    ensure!(get(&health, "/livez").await?.starts_with("HTTP/1.1 200 "));
    ensure!(get(&metrics, "/metrics").await?.ends_with("# EOF\n"));
    let before = memory(&controller, "VmRSS")?;

    let mut open = Vec::new();
    for _ in 0..4 {
        open.extend(flood(&health, CLIENTS / 8).await?);
        open.extend(flood(&metrics, CLIENTS / 8).await?);
        open.extend(flood(&crls, CLIENTS / 4).await?);
        ensure!(get(&health, "/livez").await?.starts_with("HTTP/1.1 200 "));
        ensure!(get(&metrics, "/metrics").await?.ends_with("# EOF\n"));
        ensure!(
            get(&crls, "/crl/none/0.crl")
                .await?
                .starts_with("HTTP/1.1 404 ")
        );
    }
    assert_eq!(open.len(), 2 * CLIENTS);
    let most = memory(&controller, "VmHWM")?;
    let more = most.saturating_sub(before);
    println!("{} unfinished headers: {more} octets of memory", open.len());
    ensure!(more < MEMORY, "{more} octets more than {before}");

    // In the end the server closes every connection, including the newest.
    until("every connection to be closed", PATIENCE, async || {
        let sockets = fs::read_dir(format!("/proc/{}/fd", controller.id()))?;
        let open = sockets.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
        let sockets = open.filter(|to| to.to_string_lossy().starts_with("socket:"));
        // The rest are listeners, signals and the client of the API server.
        Ok((sockets.count() < 16).then_some(()))
    })
    .await?;
    controller.check_running()
}
