//! A stand-in for an API server behind a broken network, or for a broken API server.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use parking_lot::Mutex;

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::PATIENCE;
use serde_json::json;

/// How the endpoint answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answers {
    /// It refuses connections.
    Refuses,
    /// It accepts every request and never answers.
    Nothing,
    /// It answers every request with this status.
    Status(u16),
    /// It answers every request with the beginning of a list and then hangs.
    HalfAList,
}

/// A listener that lives as long as the test program.
#[derive(Debug)]
pub(super) struct Endpoint {
    address: SocketAddr,
    /// The first lines of the requests so far.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    pub(super) fn start(answers: Answers) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let endpoint = Self {
            address: listener.local_addr()?,
            asked: Arc::default(),
        };
        if matches!(answers, Answers::Refuses) {
            return Ok(endpoint);
        }
        let asked = Arc::clone(&endpoint.asked);
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let asked = Arc::clone(&asked);
                // On an error the controller has closed the connection.
                thread::spawn(move || drop(serve(stream, answers, &asked)));
            }
        });
        Ok(endpoint)
    }

    /// Writes a kubeconfig for the endpoint to this folder.
    pub(super) fn kubeconfig(&self, folder: &Path) -> Result<PathBuf> {
        let file = folder.join("kubeconfig");
        let server = format!("http://{}", self.address);
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "it",
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
            "clusters": [{"name": "it", "cluster": {"server": server}}],
            "users": [{"name": "it", "user": {"token": "it"}}],
        });
        std::fs::write(&file, text.to_string())?;
        Ok(file)
    }

    /// Waits until there has been a request whose path contains `part`.
    pub(super) async fn is_asked(&self, part: &str) -> Result<()> {
        until(&format!("a request for {part}"), PATIENCE, async || {
            let asked = self.asked.lock();
            Ok(asked.iter().any(|line| line.contains(part)).then_some(()))
        })
        .await
        .with_context(|| format!("the requests so far are {:?}", self.asked.lock()))
    }
}

fn serve(mut stream: TcpStream, answers: Answers, asked: &Mutex<Vec<String>>) -> Result<()> {
    let mut head = Vec::new();
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet)?;
        head.extend(octet);
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let answer = match answers {
            Answers::Refuses | Answers::Nothing => String::new(),
            Answers::Status(code) => {
                let body = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code});
                let body = body.to_string();
                let (length, close) = (body.len(), "connection: close");
                format!("HTTP/1.1 {code} No\r\ncontent-length: {length}\r\n{close}\r\n\r\n{body}")
            }
            Answers::HalfAList => {
                let half = r#"{"kind": "List", "apiVersion": "v1", "metadata": {"#;
                format!("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{half}")
            }
        };
        stream.write_all(answer.as_bytes())?;
        asked
            .lock()
            .push(text.lines().next().unwrap_or_default().to_owned());
        if matches!(answers, Answers::Status(_)) {
            return Ok(());
        }
        head.clear();
    }
}
