//! One worker process, started by a thread of its own that lives as long as the process.

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream as StdUnixStream, process::CommandExt},
    },
    path::Path,
    process::{Child as StdChild, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::{
    net::{UnixStream, unix::pipe::Receiver},
    sync::oneshot,
    time::timeout,
};

/// A running worker process.
#[derive(Debug)]
pub(super) struct Child {
    pid: u32,
    /// A pidfd: refers to this process even after it has ended and its process id is reused.
    handle: OwnedFd,
    ended: oneshot::Receiver<io::Result<ExitStatus>>,
}

impl Child {
    /// Starts a worker whose standard input is the other end of the returned socket. The pipe carries its standard error.
    ///
    /// The kernel sends the parent-death signal when the *thread* that started the child ends, and a runtime's threads
    /// may end at any time. So each child has a thread that starts it and then waits for it.
    pub(super) async fn start(
        program: &Path,
        module: &Path,
        env: &BTreeMap<String, String>,
    ) -> io::Result<(Self, UnixStream, Receiver)> {
        let (ours, theirs) = StdUnixStream::pair()?;
        let (lines, stderr) = io::pipe()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(program);
        command.arg("serve").arg("--module").arg(module);
        // The child inherits no variable and no descriptor: std opens everything close-on-exec.
        command.env_clear().envs(env);
        command
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::from(stderr))
            // A Ctrl-C at a terminal must reach only this process, which drains before it ends the worker.
            .process_group(0);
        let (started, start) = oneshot::channel();
        let (ended_sender, ended) = oneshot::channel();
        thread::Builder::new()
            .name("hsm-worker-wait".into())
            .spawn(move || {
                let spawned = spawn(command);
                match spawned {
                    Err(error) => drop(started.send(Err(error))),
                    Ok((mut child, handle)) => {
                        // If nobody receives this, the socket is closed too, and the worker ends by itself.
                        drop(started.send(Ok((child.id(), handle))));
                        drop(ended_sender.send(child.wait()));
                    }
                }
            })?;
        let (pid, handle) = start.await.map_err(io::Error::other)??;
        let lines = Receiver::from_owned_fd(lines.into())?;
        Ok((
            Self { pid, handle, ended },
            UnixStream::from_std(ours)?,
            lines,
        ))
    }

    /// Returns the process id, for logs.
    pub(super) fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for the process to end, which it does when its socket closes, and kills it after `patience`. Returns its
    /// exit status as text.
    pub(super) async fn end(mut self, patience: Duration) -> String {
        let ended = match timeout(patience, &mut self.ended).await {
            Ok(ended) => ended,
            Err(_elapsed) => {
                if let Err(error) = pidfd_send_signal(&self.handle, Signal::KILL) {
                    tracing::debug!(pid = self.pid, %error, "failed to kill the HSM worker");
                }
                self.ended.await
            }
        };
        match ended {
            Ok(Ok(status)) => status.to_string(),
            Ok(Err(error)) => format!("its exit status is unknown: {error}"),
            Err(_) => "its exit status is unknown".into(),
        }
    }
}

/// Spawns the command, then drops it and thereby our copies of the child's ends of the socket and the pipe, which only the
/// child may keep.
fn spawn(mut command: Command) -> io::Result<(StdChild, OwnedFd)> {
    let mut child = command.spawn()?;
    match i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidData)
    {
        Ok(pid) => match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => Ok((child, handle)),
            Err(error) => {
                child.kill()?;
                child.wait()?;
                Err(error.into())
            }
        },
        Err(kind) => Err(kind.into()),
    }
}
