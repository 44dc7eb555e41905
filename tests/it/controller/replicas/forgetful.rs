//! A load balancer that forgets its connections: they stay open but carry no more data.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use rig::Cluster;
use serde_json::{Value, json};

/// A load balancer between the controllers and the API server. It lasts as long as the process.
pub(super) struct Forgetful {
    address: SocketAddr,
    known: Arc<Known>,
}

#[derive(Default)]
struct Known {
    /// How often the load balancer has forgotten its connections.
    epoch: AtomicUsize,
    /// Number of connections since then.
    joined: AtomicUsize,
}

impl Forgetful {
    pub(super) fn start(cluster: &Cluster) -> Result<Self> {
        let server = cluster.plane().url();
        let server = server.strip_prefix("https://").context("no TLS")?;
        let server = server.trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let known = Arc::<Known>::default();
        let now = Arc::clone(&known);
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                // An error closes the connection; the API server is down.
                drop(join(&client, &server, &now));
            }
        });
        Ok(Self { address, known })
    }

    /// Writes a kubeconfig with the identity of the controller and the address of the load balancer.
    pub(super) fn kubeconfig(&self, cluster: &Cluster) -> Result<PathBuf> {
        let text = std::fs::read_to_string(cluster.controller_kubeconfig())?;
        let mut kubeconfig: Value = serde_json::from_str(&text)?;
        let server = kubeconfig.pointer_mut("/clusters/0/cluster/server");
        *server.context("no server")? = json!(format!("https://{}", self.address));
        let file = cluster.plane().log_dir().join("forgetful.kubeconfig");
        std::fs::write(&file, kubeconfig.to_string())?;
        Ok(file)
    }

    /// Stops forwarding on all present connections, in both directions; new connections work. Returns the number of
    /// connections since the last call.
    pub(super) fn forget(&self) -> usize {
        self.known.epoch.fetch_add(1, Ordering::SeqCst);
        self.known.joined.swap(0, Ordering::SeqCst)
    }
}

fn join(client: &TcpStream, server: &str, known: &Arc<Known>) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    for stream in [client, &server] {
        stream.set_nodelay(true)?;
    }
    let born = known.epoch.load(Ordering::SeqCst);
    known.joined.fetch_add(1, Ordering::SeqCst);
    for (from, to) in [(client, &server), (&server, client)] {
        let (from, to) = (from.try_clone()?, to.try_clone()?);
        let known = Arc::clone(known);
        thread::spawn(move || pass(from, to, || known.epoch.load(Ordering::SeqCst) == born));
    }
    Ok(())
}

/// Forwards data and the end of the stream while the connection is known. An error on one side closes both.
fn pass(mut from: TcpStream, mut to: TcpStream, known: impl Fn() -> bool) {
    let mut octets = [0; 16 * 1024];
    loop {
        let read = from.read(&mut octets).unwrap_or(0);
        if known() {
            if read == 0
                || to
                    .write_all(octets.get(..read).unwrap_or_default())
                    .is_err()
            {
                to.shutdown(Shutdown::Both).ok();
                return;
            }
        } else if read == 0 {
            return;
        }
    }
}
