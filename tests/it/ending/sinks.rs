//! A controller whose sinks of the issuance log fail: it goes on, reports the failure, loses no line, and ends on request.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::{Context as _, Result, ensure};
use control_plane::{Process, Program, until};
use rig::{Metrics, PATIENCE};
use serde_json::{Value, json};

use super::{
    O_NONBLOCK, PIPE,
    endpoint::{Answers, Endpoint},
    make_pipe, token,
};
use crate::controller::programs;

/// Starts a controller by a shell script, which gets its command line as arguments.
fn start(
    script: &[&str],
    configuration: &Value,
    endpoint: &Endpoint,
    folder: &Path,
) -> Result<Process> {
    let config = folder.join("config.yaml");
    fs::write(&config, configuration.to_string())?;
    let programs = programs()?;
    let (shell, words) = script.split_first().context("no script")?;
    let program = Program::new(*shell)
        .args(words.iter().map(ToString::to_string))
        .args([programs.controller.as_path()])
        .args(["run", "--log-format", "json", "--identity", "it"])
        .args(["--drain-timeout", "2s", "--lease-duration", "3s"])
        .args(["--health-address", "127.0.0.1:0"])
        .args(["--metrics-address", "127.0.0.1:0"])
        .args([Path::new("--worker"), &programs.worker])
        .args([Path::new("--config"), &config])
        .args([Path::new("--kubeconfig"), &endpoint.kubeconfig(folder)?]);
    Process::start("controller", program, folder)
}

/// Waits until the metrics satisfy a condition, and returns them.
async fn measured(
    controller: &Process,
    what: &str,
    is: impl Fn(&Metrics) -> bool,
) -> Result<Metrics> {
    let started = controller.line("\"message\":\"started\"", PATIENCE).await?;
    let started: Value = serde_json::from_str(&started)?;
    let address = started["metrics"].as_str().context("no address")?;
    until(what, PATIENCE, async || {
        let metrics = Metrics::fetch(address).await?;
        Ok(is(&metrics).then_some(metrics))
    })
    .await
}

fn failing(metrics: &Metrics) -> bool {
    metrics.sum("pkcs11_issuer_log_failing", &[]) > 0.5
}

fn renewals(metrics: &Metrics) -> f64 {
    metrics.sum("pkcs11_issuer_lease_renewals_total", &[])
}

#[tokio::test]
async fn a_stdout_that_nobody_reads_is_reported_and_holds_up_neither_metrics_nor_lease_nor_end()
-> Result<()> {
    let (_authority, configuration) = token()?;
    let folder = tempfile::tempdir()?;
    let endpoint = Endpoint::start(Answers::Refuses)?;
    let fifo = folder.path().join("stdout");
    make_pipe(&fifo)?;
    let mut options = OpenOptions::new();
    let mut unread = options
        .read(true)
        .write(true)
        .custom_flags(O_NONBLOCK)
        .open(&fifo)?;
    unread.write_all(&[b'\n'; PIPE])?;
    let fifo = fifo.to_str().context("not UTF-8")?;
    let script = ["sh", "-c", r#"exec "$@" > "$0""#, fifo];
    let controller = start(&script, &configuration, &endpoint, folder.path())?;
    // An operator who configured no key for checkpoints learns what that means.
    controller
        .line(
            "the checkpoints of the issuance log are not signed",
            PATIENCE,
        )
        .await?;
    let before = measured(&controller, "the log to fail", failing).await?;
    let more = |metrics: &Metrics| renewals(metrics) > renewals(&before) + 1.0;
    measured(&controller, "the lease to be renewed", more).await?;
    let said = controller
        .line("the issuance log is not written", PATIENCE)
        .await?;
    ensure!(said.contains("stdout accepts no lines"), "{said}");
    let status = controller.terminate(PATIENCE).await?;
    ensure!(status.success(), "{status}: {}", controller.log()?);
    Ok(())
}

#[tokio::test]
async fn after_a_full_disk_the_file_has_every_line_once() -> Result<()> {
    let (_authority, mut configuration) = token()?;
    let folder = tempfile::tempdir()?;
    let disk = folder.path().join("disk");
    fs::create_dir(&disk)?;
    let file = disk.join("it.log");
    configuration["audit"] = json!({"sinks": {"file": {"path": disk.join("{replica}.log")}}});
    let endpoint = Endpoint::start(Answers::Refuses)?;
    let mount =
        r#"mount -t tmpfs -o size=64k none "$0" && head -c 65536 /dev/zero > "$0/full"; exec "$@""#;
    let disk = disk.to_str().context("not UTF-8")?;
    let unshare = ["unshare", "--user", "--map-root-user", "--mount"];
    let script = [&unshare[..], &["sh", "-c", mount, disk]].concat();
    let controller = start(&script, &configuration, &endpoint, folder.path())?;
    measured(&controller, "the log to fail", failing).await?;
    let said = controller
        .line("the issuance log is not written", PATIENCE)
        .await?;
    ensure!(said.contains("No space left on device"), "{said}");
    // The mount is visible only to the controller.
    let theirs = |path: &Path| format!("/proc/{}/root{}", controller.id(), path.display());
    fs::remove_file(theirs(&Path::new(disk).join("full")))?;
    measured(&controller, "the log to go on", |metrics| !failing(metrics)).await?;
    controller
        .line("the issuance log is written again", PATIENCE)
        .await?;
    let written = fs::read_to_string(theirs(&file))?;
    let lines: Vec<Value> = written
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    let found: Vec<_> = lines
        .iter()
        .map(|line| (line["seq"].as_u64(), line["event"].as_str()))
        .collect();
    ensure!(
        found.starts_with(&[(Some(0), Some("started")), (Some(1), Some("configuration"))]),
        "{written}"
    );
    let status = controller.terminate(PATIENCE).await?;
    ensure!(status.success(), "{status}: {}", controller.log()?);
    Ok(())
}
