//! A worker's process, a child or a sidecar's, and our end of its socket.

use std::{fmt, path::PathBuf, time::Duration};

use tokio::net::{UnixStream, unix::pipe::Receiver};

use super::{Launch, child::Child, end::WorkerEnd};

/// The process that serves one socket.
#[derive(Debug)]
pub(super) enum Process {
    /// A child of this process.
    Child(Child),
    /// A child of the sidecar's listener, which ends it when our end of the socket closes.
    Sidecar(PathBuf),
}

/// A process and its socket.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) socket: UnixStream,
    /// Standard error of a child. A sidecar's worker writes to the log of its container.
    pub(super) stderr: Option<Receiver>,
}

impl Process {
    /// Starts a child, or connects to a sidecar, which starts a worker.
    pub(super) async fn start(launch: &Launch) -> Result<Started, WorkerEnd> {
        match launch {
            Launch::Child {
                program,
                module,
                env,
            } => match Child::start(program, module, env).await {
                Ok((child, socket, stderr)) => Ok(Started {
                    process: Self::Child(child),
                    socket,
                    stderr: Some(stderr),
                }),
                Err(error) => Err(WorkerEnd::NotStarted {
                    why: format!("failed to start {}: {error}", program.display()),
                }),
            },
            Launch::Sidecar { socket: path } => match UnixStream::connect(path).await {
                Ok(socket) => Ok(Started {
                    process: Self::Sidecar(path.clone()),
                    socket,
                    stderr: None,
                }),
                Err(error) => Err(WorkerEnd::Unreachable {
                    why: format!(
                        "failed to connect to the HSM worker's socket {}: {error}",
                        path.display()
                    ),
                }),
            },
        }
    }

    /// Waits for a child to end, which it does when its socket closes, and kills it after `patience`. A sidecar's
    /// listener does this on its own. Returns the exit status as text, empty for a sidecar.
    pub(super) async fn end(self, patience: Duration) -> String {
        match self {
            Self::Child(child) => child.end(patience).await,
            Self::Sidecar(_) => String::new(),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Child(child) => write!(f, "process {}", child.pid()),
            Self::Sidecar(path) => write!(f, "behind {}", path.display()),
        }
    }
}
