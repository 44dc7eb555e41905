//! The controller as a process: its log, issuance log, health and metrics.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result, ensure};
use control_plane::{Process, Program, until};
use serde_json::Value;

use crate::cluster::NAMESPACE;
use crate::metrics::{self, Metrics};
use crate::{Cluster, PATIENCE, Programs};

/// A variable of the environment that the image sets, and its value.
pub const IMAGE_ENV: (&str, &str) = ("MIMALLOC_PURGE_DELAY", "0");

/// Options of a controller.
#[derive(Clone, Debug)]
pub struct ControllerOptions {
    /// The operator's configuration file, YAML or JSON; see [`crate::Authority::configuration`].
    pub configuration: String,
    /// The programs to run.
    pub programs: Programs,
    /// Further flags of `run`, such as `--enforce-approval=false`.
    pub args: Vec<String>,
    /// Further environment variables.
    pub env: Vec<(String, String)>,
    /// The kubeconfig to use instead of [`Cluster::controller_kubeconfig`].
    pub kubeconfig: Option<PathBuf>,
    /// The namespace of its own objects and of those that cluster issuers name.
    pub namespace: String,
    /// The name of its files and its `--identity`. Two controllers on one cluster need two names.
    pub name: String,
    /// The file with its issuance log, if that is not its standard output.
    pub issuance_log: Option<PathBuf>,
}

impl ControllerOptions {
    /// Returns options with this configuration and otherwise defaults.
    pub fn new(configuration: impl Into<String>, programs: &Programs) -> Self {
        Self {
            configuration: configuration.into(),
            programs: programs.clone(),
            args: Vec::new(),
            env: Vec::new(),
            kubeconfig: None,
            namespace: NAMESPACE.to_owned(),
            name: "pkcs11-issuer".to_owned(),
            issuance_log: None,
        }
    }
}

/// A controller that runs under the service account of its RBAC. Dropping it kills it and its workers.
#[derive(Debug)]
pub struct Controller {
    process: Process,
    program: PathBuf,
    configuration: PathBuf,
    stdout: PathBuf,
    issuance_log: PathBuf,
}

impl Controller {
    /// Starts a controller and waits until `/readyz` says that it is ready.
    ///
    /// # Errors
    ///
    /// When it ends or is not ready in time; the message has the end of its log.
    pub async fn start(cluster: &Cluster, options: &ControllerOptions) -> Result<Self> {
        let controller = Self::launch(cluster, options)?;
        controller.is_ready().await?;
        Ok(controller)
    }

    /// Starts a controller without waiting until it is ready, for example one that must fail to start.
    ///
    /// # Errors
    ///
    /// When its files cannot be written.
    pub fn launch(cluster: &Cluster, options: &ControllerOptions) -> Result<Self> {
        let ControllerOptions {
            configuration,
            programs,
            args,
            env,
            kubeconfig,
            namespace,
            name,
            issuance_log,
        } = options;
        let kubeconfig = kubeconfig
            .as_deref()
            .unwrap_or_else(|| cluster.controller_kubeconfig());
        let folder = cluster.plane().log_dir();
        let file = folder.join(format!("{name}.yaml"));
        std::fs::write(&file, configuration)
            .with_context(|| format!("write {}", file.display()))?;
        let program = Program::new(&programs.controller)
            .args(["run".into(), "--config".into(), file.clone()])
            .args(["--kubeconfig".into(), kubeconfig.to_owned()])
            .args(["--worker".into(), programs.worker.clone()])
            .args(["--cluster-resource-namespace", namespace])
            .args(["--identity", name])
            .args(["--health-address", "127.0.0.1:0"])
            .args(["--metrics-address", "127.0.0.1:0"])
            .args(["--log-format", "json"])
            .args(args.clone())
            .env(IMAGE_ENV.0, IMAGE_ENV.1)
            .separate_stdout();
        let program = env
            .iter()
            .fold(program, |program, (name, value)| program.env(name, value));
        let stdout = folder.join(format!("{name}.out"));
        Ok(Self {
            process: Process::start(name, program, folder)?,
            program: programs.controller.clone(),
            configuration: file,
            issuance_log: issuance_log.clone().unwrap_or_else(|| stdout.clone()),
            stdout,
        })
    }

    /// Returns the process, for its log, its exit status and signals.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the path of the issuance log.
    pub fn issuance_log_path(&self) -> &Path {
        &self.issuance_log
    }

    /// Returns the path of its standard output, of all runs.
    pub fn stdout_path(&self) -> &Path {
        &self.stdout
    }

    /// Returns host and port of `/metrics` in this run.
    ///
    /// # Errors
    ///
    /// When the controller ends before it logs the address.
    pub async fn metrics_address(&self) -> Result<String> {
        self.address("metrics").await
    }

    /// Returns host and port of the CRLs in this run.
    ///
    /// # Errors
    ///
    /// When the controller ends before it logs the address, or has none.
    pub async fn crl_address(&self) -> Result<String> {
        self.address("crls").await
    }

    /// Replaces the configuration atomically, as kubelet does.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn configure(&self, configuration: &str) -> Result<()> {
        let new = self.configuration.with_extension("new");
        std::fs::write(&new, configuration)
            .and_then(|()| std::fs::rename(&new, &self.configuration))
            .with_context(|| format!("write {}", self.configuration.display()))
    }

    /// Returns `/debug/state` of a controller with `--debug-address`.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn state(&self) -> Result<Value> {
        let address = self.address("debug").await?;
        let (status, text) = metrics::get(&address, "/debug/state").await?;
        ensure!(status == 200, "/debug/state: {status} {text}");
        serde_json::from_str(&text).context("parse /debug/state")
    }

    /// Waits until `/readyz` says that it is ready.
    ///
    /// # Errors
    ///
    /// When it ends or is not ready in time; the message has the end of its log.
    pub async fn is_ready(&self) -> Result<()> {
        until("the controller to be ready", PATIENCE, async || {
            self.process.check_running()?;
            Ok(self.says_ready().await?.then_some(()))
        })
        .await
    }

    /// Whether `/readyz` says that the controller is ready now.
    ///
    /// # Errors
    ///
    /// When it ends before it logs the address of `/readyz`.
    pub async fn says_ready(&self) -> Result<bool> {
        self.says("/readyz").await
    }

    /// Whether `/livez` says that the controller is alive now.
    ///
    /// # Errors
    ///
    /// When it ends before it logs the address of `/livez`.
    pub async fn says_alive(&self) -> Result<bool> {
        self.says("/livez").await
    }

    async fn says(&self, path: &str) -> Result<bool> {
        let address = self.address("health").await?;
        let answer = metrics::get(&address, path).await;
        Ok(answer.is_ok_and(|(status, _)| status == 200))
    }

    /// Sends SIGTERM and waits until the controller exits.
    ///
    /// # Errors
    ///
    /// When it has ended already or does not end in time.
    pub async fn stop(&self) -> Result<ExitStatus> {
        self.process.terminate(PATIENCE).await
    }

    /// Kills the controller and its workers, as when its machine loses power.
    pub fn kill(&self) {
        self.process.kill();
    }

    /// Starts the controller again and waits until it is ready. Kills it first if it runs.
    ///
    /// # Errors
    ///
    /// As [`Controller::start`].
    pub async fn restart(&self) -> Result<()> {
        self.process.restart()?;
        self.is_ready().await
    }

    /// Returns the metrics of the controller.
    ///
    /// # Errors
    ///
    /// When it does not answer.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::fetch(&self.metrics_address().await?).await
    }

    /// Returns the lines of the issuance log of all runs, oldest first. Leaves out lines that are cut short, because they are
    /// still being written or a run ended within them; [`Controller::verified_issuance_log`] judges those.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn issuance_log(&self) -> Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.issuance_log)
            .with_context(|| format!("read {}", self.issuance_log.display()))?;
        let lines = text.lines();
        Ok(lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect())
    }

    /// Verifies the issuance log with `audit verify --whole` and returns what that prints.
    ///
    /// # Errors
    ///
    /// When the log has a fault or a gap; the message names it.
    pub fn verified_issuance_log(&self) -> Result<String> {
        let verify = Command::new(&self.program)
            .args(["audit", "verify", "--whole"])
            .arg(&self.issuance_log)
            .output()
            .context("run audit verify")?;
        let told = String::from_utf8_lossy(&verify.stdout).into_owned();
        ensure!(
            verify.status.success(),
            "audit verify: {told}{}",
            String::from_utf8_lossy(&verify.stderr)
        );
        Ok(told)
    }

    /// Returns the key that signs the checkpoints of this run, as the log shows it.
    ///
    /// # Errors
    ///
    /// When no checkpoint is signed in time.
    pub async fn verifier_key(&self) -> Result<String> {
        let line = self.process.line("\"verifier_key\":", PATIENCE).await?;
        let line: Value = serde_json::from_str(&line).context("parse the controller's log")?;
        let key = line.get("verifier_key").and_then(Value::as_str);
        Ok(key.context("no verifier key")?.to_owned())
    }

    /// Compares the issuance logs of all replicas of a cluster with its certificates by `audit compare`, and returns what that
    /// prints.
    ///
    /// # Errors
    ///
    /// When they disagree; the message says how.
    pub fn compared(replicas: &[Self], kubeconfig: &Path) -> Result<String> {
        let first = replicas.first().context("no replica")?;
        let compare = Command::new(&first.program)
            .args(["audit", "compare", "--kubeconfig"])
            .arg(kubeconfig)
            .args(replicas.iter().map(Self::issuance_log_path))
            .output()
            .context("run audit compare")?;
        let told = String::from_utf8_lossy(&compare.stdout).into_owned();
        ensure!(
            compare.status.success(),
            "audit compare: {told}{}",
            String::from_utf8_lossy(&compare.stderr)
        );
        Ok(told)
    }

    /// Returns the lines of the issuance log about one request.
    ///
    /// # Errors
    ///
    /// As [`Controller::issuance_log`].
    pub fn lines_of(&self, namespace: &str, name: &str) -> Result<Vec<Value>> {
        let is = |line: &Value, field: &str, value: &str| {
            line.pointer(field).and_then(Value::as_str) == Some(value)
        };
        let mut lines = self.issuance_log()?;
        lines.retain(|line| {
            is(line, "/request/namespace", namespace) && is(line, "/request/name", name)
        });
        Ok(lines)
    }

    /// Waits until the issuance log has a line with this event about one request and returns the first such line.
    ///
    /// # Errors
    ///
    /// When there is none in time, or the process ends.
    pub async fn logged(&self, event: &str, namespace: &str, name: &str) -> Result<Value> {
        let what = format!("the issuance log of {namespace}/{name} to say {event:?}");
        until(&what, PATIENCE, async || {
            let lines = self.lines_of(namespace, name)?;
            let mut found = lines
                .into_iter()
                .filter(|line| line.get("event").and_then(Value::as_str) == Some(event));
            Ok(found.next())
        })
        .await
    }

    /// Returns the address of `health` or `metrics`, which the controller logs at every start.
    async fn address(&self, of: &str) -> Result<String> {
        let line = self
            .process
            .line("\"message\":\"started\"", PATIENCE)
            .await?;
        let line: Value = serde_json::from_str(&line).context("parse the controller's log")?;
        let address = line.get(of).and_then(Value::as_str);
        Ok(address
            .with_context(|| format!("the controller's log has no address of {of}"))?
            .to_owned())
    }
}
