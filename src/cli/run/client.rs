//! The client of the API server: whose calls all end.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};

/// An answer that does not begin, or go on, for so long is given up with its connection. The API server itself answers
/// within a minute (`--request-timeout`), and tells a watch about every minute how far it is (bookmarks).
const SILENCE: Duration = Duration::from_secs(90);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// The client for this kubeconfig; without one, for what the environment has.
///
/// # Errors
/// When there is neither kubeconfig nor identity of a pod, or it is not usable.
pub(super) async fn client(kubeconfig: Option<&Path>) -> anyhow::Result<Client> {
    patient_client(kubeconfig, SILENCE).await
}

async fn patient_client(kubeconfig: Option<&Path>, silence: Duration) -> anyhow::Result<Client> {
    let mut config = match kubeconfig {
        Some(path) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("failed to read the kubeconfig {}", path.display()))?;
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                .await
                .with_context(|| format!("the kubeconfig {} is not usable", path.display()))?
        }
        None => kube::Config::infer()
            .await
            .context("there is neither a kubeconfig nor a pod's identity; give --kubeconfig or set KUBECONFIG")?,
    };
    // When to ask again is ours to say: the client would double its pauses to more than a minute, unseen, and be late
    // when the API server is back.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_WITHIN);
    config.read_timeout = Some(silence);
    // Not since the answer before on the same connection.
    config.reset_reader_on_write = true;
    Client::try_from(config).context("failed to set up the client of the API server")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use k8s_openapi::api::core::v1::Secret;
    use kube::{Api, api::ListParams};

    use super::*;

    /// Answers one request with this and holds the connection until the client closes it.
    fn answers(answer: &'static str) -> std::net::SocketAddr {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 4096]).unwrap();
            assert_ne!(read, 0);
            stream.write_all(answer.as_bytes()).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
        });
        address
    }

    #[tokio::test]
    async fn a_call_that_is_not_answered_is_given_up() {
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"items\": [";
        for answer in ["", half] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("kubeconfig");
            let server = format!("http://{}", answers(answer));
            let text = serde_json::json!({
                "current-context": "it",
                "contexts": [{"name": "it", "context": {"cluster": "it"}}],
                "clusters": [{"name": "it", "cluster": {"server": server}}],
            });
            std::fs::write(&path, text.to_string()).unwrap();
            let client = patient_client(Some(&path), Duration::from_millis(100));
            let secrets = Api::<Secret>::all(client.await.unwrap());
            // Without a time-out of the client's this would never return.
            secrets.list(&ListParams::default()).await.unwrap_err();
        }
    }
}
