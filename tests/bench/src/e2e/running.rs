//! A running contestant.

use std::time::Duration;

use anyhow::Result;
use bench::Spent;
use control_plane::{Process, Program};
use rig::{Controller, ControllerOptions};

use crate::contestant::{Contestant, Key};
use crate::field::Field;
use crate::write::Write;
use clap::ValueEnum as _;

/// A process that uses less CPU time than this between two looks is idle.
const IDLE_SECONDS: f64 = 0.025;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits until the CPU time stops growing, and returns what has been used by then.
pub(crate) async fn at_rest<T>(
    spent: impl Fn() -> Result<T>,
    seconds: impl Fn(&T) -> f64,
) -> Result<T> {
    let mut before = spent()?;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = spent()?;
        if seconds(&now) - seconds(&before) < IDLE_SECONDS {
            return Ok(now);
        }
        before = now;
    }
}

/// The processes of a contestant. Dropping it ends them.
#[derive(Debug)]
pub(crate) enum Running<'a> {
    Ours(Controller),
    CertManager(&'a Process),
    Limit(Process),
}

impl<'a> Running<'a> {
    /// Starts a contestant without waiting until it is ready.
    pub(crate) fn start(field: &'a Field, contestant: Contestant) -> Result<Self> {
        match contestant {
            Contestant::Ours { key, events } => Ok(Self::Ours(launch(field, key, events)?)),
            Contestant::CertManager => {
                let process = field.cluster.cert_manager()?.controller();
                process.restart()?;
                Ok(Self::CertManager(process))
            }
            Contestant::Limit { write, events } => Ok(Self::Limit(limit(field, write, events)?)),
        }
    }

    /// Returns the resources that the contestant has used since its start.
    pub(crate) fn spent(&self) -> Result<Spent> {
        self.process().check_running()?;
        Ok(Spent::by(self.process().id())?)
    }

    /// Waits until the contestant is idle, for example has written all Events, and returns the resources that it has used.
    pub(crate) async fn settled(&self) -> Result<Spent> {
        at_rest(|| self.spent(), |spent| spent.cpu_seconds).await
    }

    /// Kills the contestant.
    pub(crate) fn stop(&self) {
        self.process().kill();
    }

    fn process(&self) -> &Process {
        match self {
            Self::Ours(controller) => controller.process(),
            Self::CertManager(process) => process,
            Self::Limit(process) => process,
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Launches our controller with the token that has a key of this kind.
pub(crate) fn launch(field: &Field, key: Key, events: bool) -> Result<Controller> {
    let configuration = field.authority(key).configuration(&[]).to_string();
    let options = ControllerOptions {
        args: vec![format!("--events={events}")],
        ..ControllerOptions::new(configuration, &field.programs)
    };
    Controller::launch(&field.cluster, &options)
}

fn limit(field: &Field, write: Write, events: bool) -> Result<Process> {
    let [certificate, ca] = &field.constant;
    let mut program = Program::new(std::env::current_exe()?).args(["limit"]);
    if let Some(write) = write.to_possible_value() {
        program = program.args(["--write", write.get_name()]);
    }
    for (flag, path) in [
        ("--kubeconfig", &field.limit),
        ("--certificate", certificate),
        ("--ca", ca),
    ] {
        program = program.args([flag.into(), path.clone()]);
    }
    if events {
        program = program.args(["--events"]);
    }
    Process::start("limit", program, field.cluster.plane().log_dir())
}
