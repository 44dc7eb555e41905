//! Issuance logs under faults of every kind, those of disks and readers included.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use control_plane::{Process, Program, until};
use proptest::prelude::*;
use rig::{Controller, ControllerOptions, PATIENCE};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::{Fault, OUTAGE, SHORT_SECONDS, one_by_one, planned, under_load};
use crate::controller::{programs, readers, replicas::Replicas};

/// How long nobody reads the streams of a replica.
const UNREAD: Duration = Duration::from_secs(60);

/// A pipe takes as many lines as a replica writes in half a minute.
const FAILS_WITHIN: Duration = Duration::from_secs(240);

/// How often a replica is killed until its last line can be cut.
const TRIES: usize = 20;

/// A fault of what a replica writes its logs to.
#[derive(Clone, Copy, Debug)]
enum LogFault {
    /// Every write to the file fails: the disk is full.
    DiskFull,
    /// Every synchronization of the file fails.
    SyncFails,
    /// Nobody reads stdout, which is a sink of the issuance log too, and stderr.
    Unread,
    /// The replica is killed, and the end of its file is lost from some octet on, as when a machine crashes.
    Torn(prop::sample::Index),
}

fn torn() -> impl Strategy<Value = LogFault> {
    any::<prop::sample::Index>().prop_map(LogFault::Torn)
}

fn any_log_fault() -> impl Strategy<Value = LogFault> {
    prop_oneof![
        Just(LogFault::DiskFull),
        Just(LogFault::SyncFails),
        Just(LogFault::Unread),
        torn(),
    ]
}

/// Returns one fault of each kind, each of any replica, in any order.
fn one_of_each() -> impl Strategy<Value = Vec<Event>> {
    let on_any = |fault: BoxedStrategy<LogFault>| {
        (0..3_usize, fault).prop_map(|(replica, fault)| Event::Log(replica, fault))
    };
    let kinds = [
        Just(LogFault::DiskFull).boxed(),
        Just(LogFault::SyncFails).boxed(),
        Just(LogFault::Unread).boxed(),
        torn().boxed(),
    ];
    Vec::from(kinds.map(on_any)).prop_shuffle()
}

/// A fault of any kind.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fault(Fault),
    Log(usize, LogFault),
}

/// The folder of the files, and a program that runs the controller with a reader behind each of its streams.
struct Plumbing(TempDir);

impl Plumbing {
    fn new(controller: &Path) -> Result<Self> {
        let plumbing = Self(tempfile::tempdir()?);
        readers::write_program(&plumbing.program(), controller)?;
        Ok(plumbing)
    }

    fn program(&self) -> PathBuf {
        self.0.path().join("controller")
    }

    /// Has a replica write its issuance log to a file, too, and its streams into the readers.
    fn connect(&self, options: &mut ControllerOptions) {
        let file = self.0.path().join(format!("{}.log", options.name));
        let mut configuration: Value =
            serde_json::from_str(&options.configuration).expect("our own configuration");
        configuration["audit"]["sinks"] = json!({"stdout": true, "file": {"path": file}});
        options.configuration = configuration.to_string();
        options.programs.controller = self.program();
        options.issuance_log = Some(file);
    }
}

/// Waits until a replica says that it cannot write its log.
async fn fails(controller: &Controller) -> Result<()> {
    until("the log to fail", FAILS_WITHIN, async || {
        let failing = controller
            .metrics()
            .await?
            .sum("pkcs11_issuer_log_failing", &[]);
        Ok((failing > 0.0).then_some(()))
    })
    .await
}

/// Has a system call of a replica fail until its log fails, and some time longer.
async fn injected(controller: &Controller, call: &str, error: &str, folder: &Path) -> Result<()> {
    let strace = Program::new("strace").args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &format!("inject={call}:error={error}"),
        "-p",
        &controller.process().id().to_string(),
    ]);
    let strace = Process::start("strace", strace, folder)?;
    let failed = fails(controller).await;
    failed.with_context(|| strace.log().unwrap_or_default())?;
    sleep(OUTAGE).await;
    strace.terminate(PATIENCE).await?;
    Ok(())
}

/// Returns where the last line of a file begins, if it is whole and nobody can have acted on it. Such a line need not be on the
/// disk.
fn expendable(text: &[u8]) -> Option<usize> {
    let line_break = text
        .trim_ascii_end()
        .iter()
        .rposition(|octet| *octet == b'\n');
    let start = line_break.map_or(0, |end| end + 1);
    let line: Value = serde_json::from_slice(&text[start..]).unwrap_or_default();
    (line["event"] == "published" && text.ends_with(b"\n")).then_some(start)
}

/// Kills a replica and cuts the last line of its file at an octet, so that a part of the line is left. Begins again if somebody
/// may have acted on that line.
async fn torn_at(controller: &Controller, at: prop::sample::Index) -> Result<()> {
    let file = controller.issuance_log_path();
    for _ in 0..TRIES {
        until("a last line to cut", PATIENCE, async || {
            Ok(expendable(&fs::read(file)?).map(drop))
        })
        .await?;
        controller.kill();
        let text = fs::read(file)?;
        let start = expendable(&text);
        if let Some(start) = start {
            let left = start + 1 + at.index(text.len() - start - 1);
            let file = fs::File::options().write(true).open(file)?;
            file.set_len(u64::try_from(left)?)?;
        }
        sleep(OUTAGE).await;
        controller.restart().await?;
        if start.is_some() {
            return Ok(());
        }
    }
    bail!("the last line was never one to cut")
}

impl LogFault {
    /// Injects the fault and ends it.
    async fn happens(self, replicas: &Replicas, replica: usize) -> Result<()> {
        let controller = &replicas.controllers[replica];
        let folder = replicas.cluster.plane().log_dir();
        match self {
            Self::DiskFull => injected(controller, "pwrite64", "ENOSPC", folder).await,
            Self::SyncFails => injected(controller, "fdatasync", "EIO", folder).await,
            Self::Unread => {
                readers::stop(controller)?;
                fails(controller).await?;
                sleep(UNREAD).await;
                readers::go_on(controller)
            }
            Self::Torn(at) => torn_at(controller, at).await,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: make soak"]
async fn whatever_fails_every_certificate_in_the_cluster_is_in_logs_that_verify() -> Result<()> {
    let event = prop_oneof![
        super::any_fault().prop_map(Event::Fault),
        (0..3_usize, any_log_fault()).prop_map(|(replica, fault)| Event::Log(replica, fault)),
    ];
    let plan = planned(one_of_each(), event)?;
    let torn = plan.iter();
    let torn = torn.filter(|(event, _)| matches!(event, Event::Log(_, LogFault::Torn(_))));
    let torn = torn.count();
    let plumbing = Plumbing::new(&programs()?.controller)?;
    let replicas = Replicas::start_changed(&format!("{SHORT_SECONDS}s"), |_, options| {
        plumbing.connect(options);
    })
    .await?;
    let faulty = one_by_one(plan, async |event| match event {
        Event::Fault(fault) => fault.happens(&replicas).await,
        Event::Log(replica, fault) => fault.happens(&replicas, replica).await,
    });
    under_load(&replicas, faulty).await?;
    let lines = replicas.controllers.iter().map(Controller::issuance_log);
    let lines = lines.collect::<Result<Vec<_>>>()?.concat();
    let told = lines.iter().filter(|line| line["event"] == "torn").count();
    assert!(told >= torn, "{told} torn lines are named of {torn}");
    Ok(())
}
