//! `/livez`, `/readyz` and `/metrics` over HTTP.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse as _, Response},
    routing::get,
};
use tokio::{net::TcpListener, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// How long answers that have begun may take once the process is told to end.
const DRAIN: Duration = Duration::from_millis(500);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the controller can work on requests; what `/readyz` answers. Clones share the answer.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// From now on `/readyz` answers 200 or 503.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// The present answer.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// The listeners, bound and not yet answering.
#[derive(Debug)]
pub struct Server {
    health: TcpListener,
    /// `None` where both are served on one address.
    metrics: Option<TcpListener>,
}

/// Why the server is not there.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be listened on.
    #[error("failed to listen on {address}: give another --{flag}")]
    Bind {
        /// The address as given.
        address: SocketAddr,
        /// The flag that gives it.
        flag: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// A listener broke.
    #[error("failed to serve health and metrics")]
    Serve(#[source] io::Error),
}

impl Server {
    /// Listens on both addresses, or on one where they are the same.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub async fn bind(health: SocketAddr, metrics: SocketAddr) -> Result<Self, ServerError> {
        let one = health == metrics && health.port() != 0;
        Ok(Self {
            health: listen(health, "health-address").await?,
            metrics: if one {
                None
            } else {
                Some(listen(metrics, "metrics-address").await?)
            },
        })
    }

    /// The addresses of health and metrics as bound.
    ///
    /// # Errors
    /// When the operating system does not tell.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((
            self.health.local_addr()?,
            self.metrics.as_ref().unwrap_or(&self.health).local_addr()?,
        ))
    }

    /// Answers until `stop` is cancelled, then ends within half a second.
    ///
    /// # Errors
    /// When a listener breaks.
    pub async fn serve(
        self,
        readiness: Readiness,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Result<(), ServerError> {
        let health = health_routes(readiness);
        let metric_routes = metric_routes(metrics);
        match self.metrics {
            None => serve(self.health, health.merge(metric_routes), stop).await,
            Some(listener) => {
                let both = tokio::try_join!(
                    serve(self.health, health, stop.clone()),
                    serve(listener, metric_routes, stop)
                );
                both.map(|((), ())| ())
            }
        }
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| ServerError::Bind {
            address,
            flag,
            source,
        })
}

async fn serve(
    listener: TcpListener,
    routes: Router,
    stop: CancellationToken,
) -> Result<(), ServerError> {
    let server =
        axum::serve(listener, routes).with_graceful_shutdown(stop.clone().cancelled_owned());
    let mut server = std::pin::pin!(server.into_future());
    tokio::select! {
        ended = &mut server => return ended.map_err(ServerError::Serve),
        () = stop.cancelled() => {}
    }
    // A client that never finishes its request must not keep the process.
    timeout(DRAIN, server)
        .await
        .unwrap_or(Ok(()))
        .map_err(ServerError::Serve)
}

fn health_routes(readiness: Readiness) -> Router {
    let ready = move || async move {
        if readiness.get() {
            (StatusCode::OK, "ready\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    };
    Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(ready))
}

fn metric_routes(metrics: Arc<Metrics>) -> Router {
    let text = move || async move { encode(&metrics) };
    Router::new().route("/metrics", get(text))
}

fn encode(metrics: &Metrics) -> Response {
    match metrics.encode() {
        Ok(text) => ([(CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
        task::JoinHandle,
    };

    use super::*;

    struct Running {
        health: SocketAddr,
        metrics: SocketAddr,
        readiness: Readiness,
        stop: CancellationToken,
        task: JoinHandle<Result<(), ServerError>>,
    }

    async fn start() -> Running {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(any, any).await.unwrap();
        let (health, metrics) = server.addresses().unwrap();
        let (readiness, stop) = (Readiness::default(), CancellationToken::new());
        let counted = Arc::new(Metrics::new("0.1.0", "unknown"));
        let task = tokio::spawn(server.serve(readiness.clone(), counted, stop.clone()));
        Running {
            health,
            metrics,
            readiness,
            stop,
            task,
        }
    }

    async fn fetch(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn ready_is_what_the_controller_says() {
        let running = start().await;
        assert!(
            fetch(running.health, "/livez")
                .await
                .starts_with("HTTP/1.1 200")
        );
        assert!(
            fetch(running.health, "/readyz")
                .await
                .starts_with("HTTP/1.1 503")
        );
        running.readiness.set(true);
        assert!(
            fetch(running.health, "/readyz")
                .await
                .starts_with("HTTP/1.1 200")
        );
        running.readiness.set(false);
        assert!(
            fetch(running.health, "/readyz")
                .await
                .starts_with("HTTP/1.1 503")
        );
    }

    #[tokio::test]
    async fn metrics_are_open_metrics_on_their_own_address() {
        let running = start().await;
        let answer = fetch(running.metrics, "/metrics").await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            answer.contains(OPEN_METRICS) && answer.ends_with("# EOF\n"),
            "{answer}"
        );
        assert!(
            fetch(running.health, "/metrics")
                .await
                .starts_with("HTTP/1.1 404")
        );
    }

    #[tokio::test]
    async fn one_address_serves_both() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        drop(taken);
        let server = Server::bind(address, address).await.unwrap();
        assert_eq!(server.addresses().unwrap(), (address, address));
    }

    #[tokio::test]
    async fn an_address_in_use_names_its_flag() {
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0)), address)
            .await
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("failed to listen on {address}: give another --metrics-address")
        );
    }

    #[tokio::test]
    async fn an_unfinished_request_does_not_keep_the_server() {
        let running = start().await;
        let mut stream = TcpStream::connect(running.health).await.unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost:")
            .await
            .unwrap();
        running.stop.cancel();
        running.task.await.unwrap().unwrap();
    }
}
