//! The register of revoked certificates with its listener, and how it reads published CRLs: over HTTP, without redirects and within
//! limits, because issuers choose the URLs.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::FutureExt as _;
use http::StatusCode;
use http_body_util::{BodyExt as _, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use kube::Client as ApiClient;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    audit::IssuanceLog,
    issuance::{crl::MAX_DER, profile::HttpUrl},
    metrics::Metrics,
    ownership::Ownership,
    pipeline::now,
    revocation::{FetchCrl, FetchError, Register, Surroundings},
    server::{CrlServer, ServerError},
};

/// Time limit for one URL, from the look-up of its name to the last octet.
const WITHIN: Duration = Duration::from_secs(5);

/// Listens for requests for CRLs, if the operator wants CRLs.
///
/// # Errors
/// The server cannot listen on the address.
pub(super) async fn bind(address: Option<SocketAddr>) -> Result<Option<CrlServer>, ServerError> {
    match address {
        Some(address) => Ok(Some(CrlServer::bind(address).await?)),
        None => Ok(None),
    }
}

/// Returns the register, and serves its CRLs until `stop`. Without a listener there are none.
pub(super) fn register(
    listener: Option<CrlServer>,
    (client, namespace): (ApiClient, String),
    ownership: &Arc<Ownership>,
    metrics: &Arc<Metrics>,
    log: &IssuanceLog,
    stop: CancellationToken,
) -> Arc<Register> {
    let register = Arc::new(Register::new(Surroundings {
        store: listener.is_some().then_some((client, namespace)),
        fetch: fetch(),
        ownership: Arc::clone(ownership),
        metrics: Arc::clone(metrics),
        log: log.clone(),
        clock: now,
    }));
    if let Some(listener) = listener {
        let (source, metrics) = (Arc::clone(&register), Arc::clone(metrics));
        tokio::spawn(listener.serve(source, metrics, now, stop));
    }
    register
}

/// Returns the function that reads a URL. Each read makes a connection of its own.
pub(in crate::cli) fn fetch() -> FetchCrl {
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(WITHIN));
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(tcp);
    Arc::new(move |url| {
        let client = client.clone();
        async move {
            let read = timeout(WITHIN, read(&client, &url));
            read.await.unwrap_or(Err(FetchError::TimedOut))
        }
        .boxed()
    })
}

async fn read(
    client: &Client<HttpConnector, String>,
    url: &HttpUrl,
) -> Result<Option<Vec<u8>>, FetchError> {
    let uri = url.as_str().parse();
    let uri = uri.map_err(|error: http::uri::InvalidUri| FetchError::Transport(error.into()))?;
    let answer = client.get(uri).await;
    let answer = answer.map_err(|error| FetchError::Transport(error.into()))?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        other => return Err(FetchError::Status(other.as_u16())),
    }
    let body = Limited::new(answer.into_body(), MAX_DER).collect().await;
    match body {
        Ok(body) => Ok(Some(body.to_bytes().to_vec())),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(FetchError::TooLarge),
        Err(error) => Err(FetchError::Transport(error)),
    }
}

#[cfg(test)]
mod tests {
    use axum::{Router, http::header::LOCATION, routing::get};
    use tokio::net::TcpListener;

    use super::*;

    /// Reads this path from a server, and returns the length of what was read.
    async fn length_of(path: &str) -> Result<Option<usize>, FetchError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        let moved = || async { (StatusCode::FOUND, [(LOCATION, "/small")]) };
        let routes = Router::new()
            .route("/small", get(|| async { vec![0; 10] }))
            .route("/most", get(|| async { vec![0; MAX_DER] }))
            .route("/large", get(|| async { vec![0; MAX_DER + 1] }))
            .route("/moved", get(moved))
            .route("/slow", get(std::future::pending::<String>));
        let server = tokio::spawn(async { axum::serve(listener, routes).await });
        let read = fetch()(url.parse().unwrap()).await;
        server.abort();
        read.map(|read| read.map(|octets| octets.len()))
    }

    #[tokio::test]
    async fn what_is_read_from_a_url_has_limits_and_no_redirect_is_followed() {
        assert_eq!(length_of("/small").await.unwrap(), Some(10));
        assert_eq!(length_of("/most").await.unwrap(), Some(MAX_DER));
        assert_eq!(length_of("/none").await.unwrap(), None);
        assert!(matches!(
            length_of("/large").await,
            Err(FetchError::TooLarge)
        ));
        assert!(matches!(
            length_of("/moved").await,
            Err(FetchError::Status(302))
        ));
    }

    #[tokio::test]
    async fn a_url_that_does_not_answer_is_given_up() {
        assert!(matches!(
            length_of("/slow").await,
            Err(FetchError::TimedOut)
        ));
    }
}
