//! One worker process of the sidecar, which starts and ends with its connection.

use std::{
    env, io,
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream as StdUnixStream},
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    thread,
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, poll};
use tokio::{
    net::UnixStream,
    process::{Child, Command},
    sync::oneshot,
    time::timeout,
};

/// Time in which a worker must end by itself after its client has gone.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts a worker on the connection and waits until it has ended.
pub(super) async fn serve(connection: UnixStream, module: PathBuf) {
    let (child, client) = match start(connection, &module) {
        Ok(started) => started,
        Err(error) => {
            eprintln!("pkcs11-hsm-worker: failed to start a worker: {error}");
            return;
        }
    };
    let pid = child.id().unwrap_or_default();
    eprintln!("pkcs11-hsm-worker: started worker {pid}");
    match end(child, client).await {
        Ok(status) => eprintln!("pkcs11-hsm-worker: worker {pid} ended: {status}"),
        Err(error) => eprintln!("pkcs11-hsm-worker: worker {pid}: {error}"),
    }
}

fn start(connection: UnixStream, module: &Path) -> io::Result<(Child, StdUnixStream)> {
    let connection = connection.into_std()?;
    // The worker's threads use blocking reads and writes.
    connection.set_nonblocking(false)?;
    let client = connection.try_clone()?;
    let child = Command::new(env::current_exe()?)
        .arg("serve")
        .arg("--module")
        .arg(module)
        .stdin(Stdio::from(OwnedFd::from(connection)))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    Ok((child, client))
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
