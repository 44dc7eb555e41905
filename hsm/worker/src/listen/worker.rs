//! One worker process of the sidecar, which starts and ends with its connection.

use std::{
    env, io,
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use hsm::WorkerLines;
use rustix::event::{PollFd, PollFlags, poll};
use tokio::{
    net::{UnixStream, unix::pipe::Receiver},
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};
use tracing::{debug, info, warn};

/// Time in which a worker must end by itself after its client has gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// A worker that ends successfully within this time most likely did not serve the token.
const BRIEF: Duration = Duration::from_secs(5);

/// Starts a worker on the connection and waits until it has ended.
pub(super) async fn serve(connection: UnixStream, module: PathBuf) {
    let (child, client, stderr) = match start(connection, &module) {
        Ok(started) => started,
        Err(error) => {
            warn!(%error, "failed to start a worker");
            return;
        }
    };
    let worker = child.id().unwrap_or_default();
    debug!(worker, "started a worker");
    let started = Instant::now();
    let lines = WorkerLines::follow(stderr, move |line| info!(worker, line, "the worker wrote"));
    let ended = end(child, client).await;
    lines.end().await;
    match ended {
        // A worker that finds no token ends at once, and its client starts another one every second.
        Ok(status) if status.success() && started.elapsed() < BRIEF => {
            debug!(worker, %status, "a worker ended");
        }
        Ok(status) => info!(worker, %status, "a worker ended"),
        Err(error) => warn!(worker, %error, "failed to wait for a worker"),
    }
}

fn start(connection: UnixStream, module: &Path) -> io::Result<(Child, StdUnixStream, Receiver)> {
    let connection = connection.into_std()?;
    // The worker's threads use blocking reads and writes.
    connection.set_nonblocking(false)?;
    let client = connection.try_clone()?;
    let (lines, stderr) = io::pipe()?;
    let child = Command::new(env::current_exe()?)
        .arg("serve")
        .arg("--module")
        .arg(module)
        .stdin(Stdio::from(OwnedFd::from(connection)))
        .stdout(Stdio::null())
        .stderr(Stdio::from(stderr))
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, client, Receiver::from_owned_fd(lines.into())?))
}

/// Waits for the worker to end, which it does when its client closes, and kills it after [`PATIENCE`].
async fn end(mut child: Child, client: StdUnixStream) -> io::Result<ExitStatus> {
    let gone = gone(client.try_clone()?)?;
    let ended = tokio::select! {
        status = child.wait() => Some(status),
        // The watching thread drops the sender when the client has gone.
        _ = gone => None,
    };
    let status = match ended {
        Some(status) => status,
        None => match timeout(PATIENCE, child.wait()).await {
            Ok(status) => status,
            Err(_elapsed) => {
                child.start_kill()?;
                child.wait().await
            }
        },
    };
    // Our copy must not keep the connection of an ended worker open. An error means that it is closed already.
    drop(client.shutdown(Shutdown::Both));
    status
}

/// Watches the connection for a hang-up in a thread of its own, which traffic on the connection does not wake. The
/// receiver resolves when the client has gone.
fn gone(client: StdUnixStream) -> io::Result<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    thread::Builder::new()
        .name("client-watch".into())
        .spawn(move || {
            let mut watched = [PollFd::new(&client, PollFlags::empty())];
            while let Err(rustix::io::Errno::INTR) = poll(&mut watched, None) {}
            drop(sender);
        })?;
    Ok(receiver)
}
