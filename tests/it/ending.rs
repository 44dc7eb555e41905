//! A controller that is told to stop exits with success within its drain time, whatever its state. These are the states that
//! need no cluster; `controller/ending.rs` has those on a real one.

mod endpoint;
mod sinks;

use std::{
    fs::{self, File, OpenOptions},
    io::{Write as _, pipe},
    os::unix::{fs::OpenOptionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use control_plane::{Process, Program, Signal, until};
use futures::future::{self, try_join_all};
use rig::{Authority, PATIENCE};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use self::endpoint::{Answers, Endpoint};
use crate::controller::programs;

/// The message of the signal thread when it has to end the process.
const BY_FORCE: &str = "ending with work left undone";
/// Flag of `open(2)`: does not wait for the other side of a pipe.
const O_NONBLOCK: i32 = 0o4000;
/// Number of octets that a pipe on Linux takes before a write blocks.
const PIPE: usize = 1 << 16;

/// A controller and the endpoint that stands in for its API server.
struct Case {
    // Dropped first.
    controller: Process,
    endpoint: Endpoint,
    folder: tempfile::TempDir,
}

impl Case {
    fn start(configuration: &Value, answers: Answers, more: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let endpoint = Endpoint::start(answers)?;
        let config = folder.path().join("config.yaml");
        fs::write(&config, configuration.to_string())?;
        let program = program(&config, &endpoint.kubeconfig(folder.path())?, more)?;
        Ok(Self {
            controller: Process::start("controller", program, folder.path())?,
            endpoint,
            folder,
        })
    }

    /// Waits until the controller handles signals.
    async fn takes_signals(&self) -> Result<()> {
        takes_signals(self.controller.id()).await
    }

    async fn cannot_renew(&self) -> Result<()> {
        let line = self
            .controller
            .line("failed to renew the lease", PATIENCE)
            .await?;
        ensure!(line.contains("WARN"), "{line}");
        Ok(())
    }

    /// Sends SIGTERM and checks that the process ends with success and by itself.
    async fn ends(&self) -> Result<()> {
        let log = self.ends_somehow().await?;
        ensure!(!log.contains(BY_FORCE), "{log}");
        Ok(())
    }

    /// Sends SIGTERM and checks that the process ends with success because its signal thread ends it.
    async fn ends_by_force(&self) -> Result<()> {
        let log = self.ends_somehow().await?;
        ensure!(log.contains(BY_FORCE), "{log}");
        Ok(())
    }

    async fn ends_somehow(&self) -> Result<String> {
        let status = self.controller.terminate(PATIENCE).await?;
        let log = self.controller.log()?;
        ensure!(status.success(), "{status}: {log}");
        Ok(log)
    }

    /// Replaces the configuration with a pipe to which nobody writes, and waits until the controller reads it. The read
    /// blocks as long as the returned file is open.
    async fn blocks_in_its_configuration(&self) -> Result<File> {
        let config = self.folder.path().join("config.yaml");
        let pipe = self.folder.path().join("pipe");
        make_pipe(&pipe)?;
        fs::rename(&pipe, &config)?;
        read_from(&config).await
    }
}

fn program(config: &Path, kubeconfig: &Path, more: &[&str]) -> Result<Program> {
    let programs = programs()?;
    Ok(Program::new(&programs.controller)
        .args(["run", "--log-format", "json", "--identity", "it"])
        .args([Path::new("--worker"), &programs.worker])
        .args([Path::new("--config"), config])
        .args([Path::new("--kubeconfig"), kubeconfig])
        .args(["--health-address", "127.0.0.1:0"])
        .args(["--metrics-address", "127.0.0.1:0"])
        .args(["--lease-duration", "3s"])
        .args(more.iter().map(ToString::to_string))
        .separate_stdout())
}

/// Waits until a process of our program handles signals; before that, the kernel's default action ends it.
pub(crate) async fn takes_signals(process: u32) -> Result<()> {
    let file = format!("/proc/{process}/status");
    let terminate = 1_u64 << (15 - 1);
    let start = std::time::Instant::now();
    loop {
        let status = fs::read_to_string(&file)?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
        let caught = caught.context("/proc does not show which signals are caught")?;
        // A program that starts ours, such as a shell, may also catch signals.
        let is_it = status.starts_with("Name:\tpkcs11-issuer");
        let caught = u64::from_str_radix(caught.trim(), 16)? & terminate != 0;
        if is_it && caught {
            return Ok(());
        }
        ensure!(
            start.elapsed() < PATIENCE,
            "the process never handles signals"
        );
        tokio::task::yield_now().await;
    }
}

fn make_pipe(path: &Path) -> Result<()> {
    let made = Command::new("mkfifo").arg(path).status()?;
    ensure!(made.success(), "mkfifo: {made}");
    Ok(())
}

/// Waits until a process reads a pipe, and keeps the pipe open without writing to it.
async fn read_from(path: &Path) -> Result<File> {
    let what = format!("a process to read {}", path.display());
    until(&what, PATIENCE, async || {
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(O_NONBLOCK);
        Ok(options.open(path).ok())
    })
    .await
}

/// Returns a token with its PIN in a file, and the configuration for it.
fn token() -> Result<(Authority, Value)> {
    let authority = Authority::new(KeyKind::P256)?;
    let configuration = authority.configuration(&[]);
    Ok((authority, configuration))
}

const SOON: [&str; 2] = ["--drain-timeout", "2s"];

#[tokio::test]
async fn without_an_answering_api_server_a_controller_ends_on_sigterm() -> Result<()> {
    let (_authority, configuration) = token()?;
    let all = ["--cluster-trust-bundles", "--pod-certificate-requests"];
    let all = [all[0], all[1], SOON[0], SOON[1]];
    let answers = [
        Answers::Refuses,
        Answers::Nothing,
        Answers::HalfAList,
        Answers::Status(401),
        Answers::Status(403),
        Answers::Status(429),
        Answers::Status(503),
    ];
    let cases = answers
        .iter()
        .flat_map(|answers| [(answers, &SOON[..]), (answers, &all[..])]);
    let cases = cases.map(async |(answers, flags)| {
        let case = Case::start(&configuration, *answers, flags)?;
        case.cannot_renew().await?;
        let ended = case.ends().await;
        ended.with_context(|| format!("{answers:?}, {flags:?}"))
    });
    try_join_all(cases).await?;
    Ok(())
}

#[tokio::test]
async fn a_controller_that_has_just_started_ends_on_sigterm() -> Result<()> {
    let (_authority, configuration) = token()?;
    let cases = [0, 1, 2, 3, 5, 8, 12, 20, 30, 40, 50].map(async |after| {
        let case = Case::start(&configuration, Answers::Nothing, &SOON)?;
        case.takes_signals().await?;
        tokio::time::sleep(Duration::from_millis(after)).await;
        let ended = case.ends().await;
        ended.with_context(|| format!("after {after} ms"))
    });
    try_join_all(cases).await?;
    Ok(())
}

#[tokio::test]
async fn a_hung_token_or_a_pending_login_does_not_keep_a_controller_from_ending() -> Result<()> {
    let (authority, plain) = token()?;
    let library = authority.token().with_faults()?;
    library.rules("C_Initialize hang")?;
    let mut hanging = plain.clone();
    hanging["modules"]["softhsm"] = json!({"path": library.module(), "env": library.env()});
    let initialize = async {
        let case = Case::start(&hanging, Answers::Refuses, &SOON)?;
        case.controller
            .line("started the HSM worker", PATIENCE)
            .await?;
        case.ends().await.context("C_Initialize hangs")
    };
    let login = async {
        let case = Case::start(&plain, Answers::Nothing, &SOON)?;
        // The controller reads the PIN record before a login.
        case.endpoint.is_asked("pkcs11-issuer-pin-state").await?;
        case.ends().await.context("the login is pending")
    };
    let mut absent = plain.clone();
    absent["modules"]["softhsm"] = json!({"socket": "/nowhere/worker.sock"});
    let absent = async {
        let case = Case::start(&absent, Answers::Nothing, &SOON)?;
        case.controller.line("awaiting-token", PATIENCE).await?;
        case.ends().await.context("the sidecar is not there")
    };
    tokio::try_join!(initialize, login, absent)?;
    Ok(())
}

#[tokio::test]
async fn a_controller_that_still_reads_its_configuration_ends_at_once() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    make_pipe(&config)?;
    let program = program(&config, Path::new("/nowhere"), &["--drain-timeout", "1h"])?;
    let controller = Process::start("controller", program, folder.path())?;
    let _pipe = read_from(&config).await?;
    let status = controller.terminate(PATIENCE).await?;
    ensure!(status.success(), "{status}: {}", controller.log()?);
    Ok(())
}

#[tokio::test]
async fn a_controller_whose_only_thread_is_blocked_ends_after_its_drain_time_or_at_a_second_signal()
-> Result<()> {
    let (_authority, configuration) = token()?;
    let time_over = async {
        let case = Case::start(&configuration, Answers::Refuses, &SOON)?;
        case.cannot_renew().await?;
        let _pipe = case.blocks_in_its_configuration().await?;
        case.ends_by_force().await
    };
    let told_twice = async {
        let flags = ["--drain-timeout", "1h"];
        let case = Case::start(&configuration, Answers::Refuses, &flags)?;
        case.cannot_renew().await?;
        let _pipe = case.blocks_in_its_configuration().await?;
        case.controller.signal(Signal::INT)?;
        case.ends_by_force().await
    };
    tokio::try_join!(time_over, told_twice)?;
    Ok(())
}

#[tokio::test]
async fn a_log_that_nobody_reads_does_not_keep_a_controller_from_ending() -> Result<()> {
    let (_authority, configuration) = token()?;
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("config.yaml");
    fs::write(&config, configuration.to_string())?;
    let endpoint = Endpoint::start(Answers::Status(401))?;
    let (reader, mut full) = pipe()?;
    full.write_all(&[b'\n'; PIPE])?;
    let programs = programs()?;
    // With this filter, the first log line is the failure to renew the Lease.
    let filter = "off,pkcs11_issuer::ownership=warn";
    let mut controller = Command::new(programs.controller)
        .args(["run", "--log-level", filter, "--drain-timeout", "1s"])
        .args(["--health-address", "127.0.0.1:0"])
        .args(["--metrics-address", "127.0.0.1:0"])
        .arg("--config")
        .arg(&config)
        .arg("--kubeconfig")
        .arg(endpoint.kubeconfig(folder.path())?)
        .arg("--worker")
        .arg(programs.worker)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(full)
        .spawn()?;
    let ended = async {
        endpoint.is_asked("leases").await?;
        terminate(controller.id())?;
        until("the controller to end", PATIENCE, || {
            future::ready(controller.try_wait().map_err(Into::into))
        })
        .await
    };
    let ended: Result<ExitStatus> = ended.await;
    if ended.is_err() {
        controller.kill()?;
        controller.wait()?;
    }
    drop(reader);
    let ended = ended?;
    ensure!(ended.success(), "{ended}");
    Ok(())
}

#[tokio::test]
async fn a_signal_before_the_handler_is_installed_ends_the_process() -> Result<()> {
    let (_authority, configuration) = token()?;
    let case = Case::start(&configuration, Answers::Nothing, &SOON)?;
    let status = case.controller.terminate(PATIENCE).await?;
    ensure!(
        status.success() || status.signal() == Some(15),
        "{status}: {}",
        case.controller.log()?
    );
    Ok(())
}

fn terminate(process: u32) -> Result<()> {
    let killed = Command::new("kill")
        .args(["-TERM", &process.to_string()])
        .status()?;
    ensure!(killed.success(), "kill: {killed}");
    Ok(())
}
