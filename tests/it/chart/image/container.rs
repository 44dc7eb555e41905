//! Runs containers with the client of a Docker engine.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command as BlockingCommand, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use control_plane::{Process, Program};
use rig::PATIENCE;
use tokio::process::Command;

/// Runs the client and returns its output.
pub(super) async fn docker(args: &[&str]) -> Result<String> {
    let run = Command::new("docker")
        .args(args)
        .kill_on_drop(true)
        .output();
    let output = run.await.context("run docker")?;
    ensure!(
        output.status.success(),
        "docker {}: {}",
        args.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(String::from_utf8(output.stdout)?)
}

/// A container with its client in the foreground, which prints the container's output and forwards signals. Dropping it
/// removes the container.
pub(super) struct Container {
    name: String,
    client: Process,
}

impl Container {
    /// Starts a container with these options, image and arguments of `docker run`. Its log is `folder/name.log`, its output
    /// `name.out`.
    pub(super) fn start(name: &str, args: &[String], folder: &Path) -> Result<Self> {
        let program = Program::new("docker")
            .args(["run", "--rm", "--pull=never", "--name", name])
            .args(args.to_vec())
            .separate_stdout();
        Ok(Self {
            name: name.to_owned(),
            client: Process::start(name, program, folder)?,
        })
    }

    /// Returns the client's process, whose output and exit status are the container's.
    pub(super) fn client(&self) -> &Process {
        &self.client
    }

    /// Waits until the container ends, and fails unless it ends with success.
    pub(super) async fn succeeds(&self) -> Result<()> {
        let status = self.client.wait(PATIENCE).await?;
        ensure!(status.success(), "{}: {}", self.name, self.client.log()?);
        Ok(())
    }

    /// Sends SIGTERM, and fails unless the container ends with success.
    pub(super) async fn stop(&self) -> Result<()> {
        let status = self.client.terminate(PATIENCE).await?;
        ensure!(status.success(), "{}: {}", self.name, self.client.log()?);
        Ok(())
    }

    /// Kills every process in the container, as when its machine loses power.
    pub(super) async fn kill(&self) -> Result<()> {
        docker(&["kill", &self.name]).await?;
        self.client.wait(PATIENCE).await?;
        Ok(())
    }

    /// Returns the lines of /proc/<pid>/status for its first process.
    pub(super) async fn kernel_status(&self) -> Result<BTreeMap<String, String>> {
        let status = self.of_kernel("status").await?;
        let fields = status.lines().filter_map(|line| line.split_once(":\t"));
        Ok(fields
            .map(|(field, value)| (field.to_owned(), value.trim().replace('\t', " ")))
            .collect())
    }

    /// Returns the mount options of its root from /proc/<pid>/mounts.
    pub(super) async fn root_options(&self) -> Result<String> {
        let mounts = self.of_kernel("mounts").await?;
        let mut fields = mounts.lines().map(|line| line.split(' '));
        let root = fields.find_map(|mut fields| (fields.nth(1)? == "/").then_some(fields.nth(1)?));
        Ok(root.context("no root")?.to_owned())
    }

    /// Returns a file of /proc about its first process.
    async fn of_kernel(&self, file: &str) -> Result<String> {
        let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &self.name]).await?;
        Ok(fs::read_to_string(format!("/proc/{}/{file}", pid.trim()))?)
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let mut remove = BlockingCommand::new("docker");
        remove.args(["rm", "--force", &self.name]);
        // A container that has ended is already removed.
        drop(remove.stdout(Stdio::null()).stderr(Stdio::null()).status());
    }
}
