//! The sidecar: accepts connections on a Unix socket and starts a worker process for each, which inherits the
//! connection.
//!
//! This process never loads the PKCS#11 library, so no fault of the library can end it.

mod socket;
mod worker;

use std::{
    io,
    path::{Path, PathBuf},
};

use bytes::BytesMut;
use hsm::{
    EndSignals,
    protocol::{HelloReply, NoToken, append_hello},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    task::JoinSet,
    time::{Duration, sleep, timeout},
};
use tracing::{info, warn};

use self::socket::Socket;

/// Limit on workers. Each token of each replica needs one; more than this means that a client misbehaves.
const MOST_WORKERS: usize = 64;
/// Time in which a refused client must send its greeting.
const GREETING: Duration = Duration::from_secs(5);

/// Users who may connect, and the library that their workers load.
#[derive(Clone, Debug)]
pub(crate) struct ListenRules {
    pub(crate) module: PathBuf,
    /// The users who may connect.
    pub(crate) users: Vec<u32>,
}

/// Serves until SIGTERM or SIGINT, then drains: it accepts no more connections and removes the socket's file, and the
/// workers go on until their clients close, for at most `drain`. A second signal ends all workers at once.
pub(crate) fn listen(
    path: &Path,
    module: PathBuf,
    allow_uid: Option<u32>,
    drain: Duration,
) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let rules = ListenRules {
        module,
        users: allow_uid.map_or_else(|| vec![own, 0], |uid| vec![uid]),
    };
    // One thread, which lives as long as the process: the kernel ends a worker when the thread that started it ends.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = EndSignals::take()?;
        let mut workers = JoinSet::new();
        let socket = Socket::bind(path, allow_uid.unwrap_or(own)).map_err(io::Error::other)?;
        info!(socket = %path.display(), "listening");
        tokio::select! {
            () = signals.next() => {}
            never = accept(socket.listener(), &rules, &mut workers) => match never? {},
        }
        drop(socket);
        let workers_left = workers.len();
        info!(
            workers_left,
            "stopping; workers go on until their clients close"
        );
        tokio::select! {
            () = signals.next() => {}
            () = async { while workers.join_next().await.is_some() {} } => {}
            () = sleep(drain) => {}
        }
        // The workers that are left are killed with their tasks.
        Ok(())
    })
}

/// Starts a worker for every connection of a permitted user.
async fn accept(
    listener: &UnixListener,
    rules: &ListenRules,
    workers: &mut JoinSet<()>,
) -> io::Result<std::convert::Infallible> {
    let mut fails = false;
    loop {
        let connection = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((connection, _)) => {
                    fails = false;
                    connection
                }
                Err(error) => {
                    // Too few descriptors, or the client has already gone: neither is a reason to end. It may last, so one
                    // line tells of all failures in a row.
                    if !fails {
                        warn!(%error, "failed to accept a connection; will try again");
                    }
                    fails = true;
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = workers.join_next() => continue,
        };
        match refusal(&connection, rules, workers.len()) {
            None => {
                workers.spawn(worker::serve(connection, rules.module.clone()));
            }
            Some(why) => {
                warn!(why, "refused a connection");
                tokio::spawn(timeout(GREETING, refuse(connection, why)));
            }
        }
    }
}

fn refusal(connection: &UnixStream, rules: &ListenRules, workers: usize) -> Option<String> {
    if workers >= MOST_WORKERS {
        return Some(format!("{workers} workers run already"));
    }
    // The kernel recorded the user when the client called connect(). The file's mode alone is not trusted.
    match connection.peer_cred() {
        Ok(peer) if rules.users.contains(&peer.uid()) => None,
        Ok(peer) => Some(format!(
            "user {} may not connect, see --allow-uid",
            peer.uid()
        )),
        Err(error) => Some(format!("the peer's user is unknown: {error}")),
    }
}

/// Tells the client why it is refused. Waits for the client's greeting first, because the client reads nothing before
/// it has sent that.
async fn refuse(mut connection: UnixStream, why: String) -> io::Result<()> {
    let mut greeting = BytesMut::with_capacity(4096);
    if connection.read_buf(&mut greeting).await? == 0 {
        return Ok(());
    }
    let mut out = BytesMut::new();
    append_hello(&mut out, &HelloReply::NotFound(NoToken::Refused { why }))
        .map_err(io::Error::other)?;
    connection.write_all(&out).await
}
