//! The client of the API server. Every call times out, and a silent connection is closed within seconds.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use hyper_rustls::{FixedServerNameResolver, HttpsConnectorBuilder};
use hyper_timeout::TimeoutConnector;
use hyper_util::{
    client::legacy::{self, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use kube::{
    Client,
    client::{Body, ConfigExt as _},
    config::{KubeConfigOptions, Kubeconfig},
};
use tower::{ServiceBuilder, timeout::TimeoutLayer};
use tower_http::timeout::ResponseBodyTimeoutLayer;
use tracing::info;

use super::{measured::MeasuredLayer, proxy::Proxy};
use crate::metrics::Metrics;

/// Time limit for the start of a response and for each pause within it. The API server itself answers within a minute
/// (`--request-timeout`), and sends every watch a bookmark about once a minute.
const SILENCE: Duration = Duration::from_secs(90);
/// The same for a person who waits.
const SILENCE_TO_PEOPLE: Duration = Duration::from_secs(30);
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Silence after which the client sends an HTTP/2 PING (RFC 9113, section 6.7). The peer answers a PING at once even while
/// its calls are slow, so a slow webhook is not mistaken for a dead network.
const PING_AFTER: Duration = Duration::from_secs(5);
/// Time limit for the answer to a PING. After it the connection is closed, with all calls on it.
const PING_ANSWERED_WITHIN: Duration = Duration::from_secs(7);
/// Octets of one response that are buffered until they are read. The sum for all watches must stay well below the window
/// of the connection (5 MiB), or one unread watch would block the others.
const WINDOW: u32 = 256 * 1024;

/// Returns the client for this kubeconfig, or without one for the kubeconfig or the pod that the environment names.
///
/// # Errors
/// There is neither a kubeconfig nor the identity of a pod, or it is not usable.
pub(in crate::cli) async fn client(
    kubeconfig: Option<&Path>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Client> {
    let config = config(kubeconfig, None).await?;
    patient_client(&config, SILENCE, metrics)
        .context("failed to set up the client of the API server")
}

/// Returns the client of a person, for this kubeconfig and this context of it.
///
/// # Errors
/// There is neither a kubeconfig nor the identity of a pod, it has no such context, or it is not usable.
pub(in crate::cli) async fn client_of_user(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Client> {
    let config = config(kubeconfig, context).await?;
    patient_client(&config, SILENCE_TO_PEOPLE, metrics)
        .context("failed to set up the client of the API server")
}

async fn config(kubeconfig: Option<&Path>, context: Option<&str>) -> anyhow::Result<kube::Config> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..KubeConfigOptions::default()
    };
    match (kubeconfig, context) {
        (Some(path), _) => {
            let kubeconfig = Kubeconfig::read_from(path)
                .with_context(|| format!("failed to read the kubeconfig {}", path.display()))?;
            let authority = authority_file(&kubeconfig, context);
            let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options)
                .await
                .with_context(|| format!("the kubeconfig {} is not usable", path.display()))?;
            // kube reads this file again once a minute, as it does with the file in a pod.
            config.root_cert_file = authority;
            Ok(config)
        }
        (None, Some(context)) => kube::Config::from_kubeconfig(&options)
            .await
            .with_context(|| format!("found no kubeconfig with a usable context {context}; see kubectl config get-contexts")),
        (None, None) => kube::Config::infer()
            .await
            .context("found neither a kubeconfig nor the identity of a pod; give --kubeconfig or set KUBECONFIG"),
    }
}

/// Returns the file with the CA certificates of the API server, if the kubeconfig names one.
fn authority_file(kubeconfig: &Kubeconfig, context: Option<&str>) -> Option<PathBuf> {
    let current = context.or(kubeconfig.current_context.as_deref())?;
    let mut contexts = kubeconfig.contexts.iter();
    let context = contexts.find(|one| one.name == current)?.context.as_ref()?;
    let mut clusters = kubeconfig.clusters.iter();
    let cluster = clusters.find(|one| one.name == context.cluster)?;
    let cluster = cluster.cluster.as_ref()?;
    // The data, if given, take precedence over the file.
    match cluster.certificate_authority_data {
        Some(_) => None,
        None => cluster.certificate_authority.as_ref().map(PathBuf::from),
    }
}

/// Builds the client as kube's own builder does, with two differences. It uses HTTP/2 if the API server offers it, because
/// only HTTP/2 tells a dead connection from a slow answer. It does not retry, because the caller decides when to retry.
fn patient_client(
    config: &kube::Config,
    silence: Duration,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Client> {
    let proxy = Proxy::of(config)?;
    if let Some(proxy) = &proxy {
        info!(
            proxy = proxy.place(),
            "the API server is called through a proxy"
        );
    }
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    // A call is several HTTP/2 frames. With Nagle's algorithm the last one would wait for the acknowledgement of the first.
    tcp.set_nodelay(true);
    let tls = HttpsConnectorBuilder::new()
        .with_tls_config(config.rustls_client_config()?)
        .https_or_http();
    let tls = match &config.tls_server_name {
        Some(name) => {
            let name = name.clone().try_into();
            let name = name.context("tls-server-name is not a valid server name")?;
            tls.with_server_name_resolver(FixedServerNameResolver::new(name))
        }
        None => tls,
    };
    let mut connector = TimeoutConnector::new(
        tls.enable_all_versions()
            .wrap_connector(Proxy::connector(proxy, tcp)),
    );
    connector.set_connect_timeout(Some(CONNECT_WITHIN));
    let http: legacy::Client<_, Body> = legacy::Client::builder(TokioExecutor::new())
        .timer(TokioTimer::new())
        .pool_timer(TokioTimer::new())
        .http2_keep_alive_interval(PING_AFTER)
        .http2_keep_alive_timeout(PING_ANSWERED_WITHIN)
        .http2_initial_stream_window_size(WINDOW)
        .build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .layer(MeasuredLayer::new(metrics))
        .layer(TimeoutLayer::new(silence))
        .layer(ResponseBodyTimeoutLayer::new(silence))
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};

    use k8s_openapi::api::core::v1::Secret;
    use kube::{Api, api::ListParams};
    use serde_json::json;

    use super::*;

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new("0.1.0", "unknown"))
    }

    /// Answers one request with `answer` and keeps the connection open until the client closes it.
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

    #[test]
    fn the_file_with_the_ca_certificates_is_followed_unless_the_kubeconfig_contains_them() {
        let file = |cluster: serde_json::Value| {
            let text = json!({
                "current-context": "c",
                "contexts": [{"name": "b"}, {"name": "c", "context": {"cluster": "c", "user": "u"}}],
                "clusters": [{"name": "b"}, {"name": "c", "cluster": cluster}],
            });
            authority_file(&Kubeconfig::from_yaml(&text.to_string()).unwrap(), None)
        };
        let named = json!({"server": "https://a", "certificate-authority": "/ca.crt"});
        assert_eq!(file(named.clone()), Some(PathBuf::from("/ca.crt")));
        let mut both = named;
        both["certificate-authority-data"] = json!("YQ==");
        assert_eq!(file(both), None);
        assert_eq!(file(json!({"server": "https://a"})), None);
    }

    #[tokio::test]
    async fn the_api_server_is_called_through_the_proxy_of_the_kubeconfig() {
        let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = proxy.local_addr().unwrap();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = proxy.accept().unwrap();
            let list = r#"{"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": []}"#;
            let length = list.len();
            [
                "HTTP/1.1 200 Connection established\r\n\r\n".to_owned(),
                format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{list}"),
            ]
            .map(|answer| {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut octet = [0];
                    stream.read_exact(&mut octet).unwrap();
                    head.extend(octet);
                }
                stream.write_all(answer.as_bytes()).unwrap();
                String::from_utf8(head).unwrap()
            })
        });
        let mut config = kube::Config::new("http://api.example:6443".parse().unwrap());
        config.proxy_url = Some(format!("http://user:secret@{address}").parse().unwrap());
        let client = patient_client(&config, SILENCE, &metrics()).unwrap();
        let secrets = Api::<Secret>::all(client);
        let list = secrets.list(&ListParams::default()).await.unwrap();
        assert_eq!(list.items, []);
        let [connect, get] = asked.join().unwrap();
        assert!(
            connect.starts_with("CONNECT api.example:6443 HTTP/1.1\r\n"),
            "{connect}"
        );
        // The credentials are for the proxy alone.
        assert!(
            connect
                .to_lowercase()
                .contains("proxy-authorization: basic dxnlcjpzzwnyzxq=")
        );
        assert!(get.starts_with("GET /api/v1/secrets"), "{get}");
        assert!(!get.to_lowercase().contains("proxy-authorization"));
    }

    #[tokio::test]
    async fn a_call_without_an_answer_times_out() {
        let half = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{\"items\": [";
        for answer in ["", half] {
            let server = format!("http://{}", answers(answer)).parse().unwrap();
            let config = kube::Config::new(server);
            let metrics = metrics();
            let client = patient_client(&config, Duration::from_millis(100), &metrics).unwrap();
            let secrets = Api::<Secret>::all(client);
            // Without the client's time-out this call would never return.
            secrets.list(&ListParams::default()).await.unwrap_err();
            let code = if answer.is_empty() { "error" } else { "200" };
            let counted =
                format!("pkcs11_issuer_api_requests_total{{verb=\"get\",code=\"{code}\"}} 1");
            let text = metrics.encode().unwrap();
            assert!(text.lines().any(|line| line == counted), "{text}");
        }
    }
}
