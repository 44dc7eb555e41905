//! `/livez`, `/readyz`, `/metrics` and CRLs over HTTP.

mod connections;
mod crl;
mod debug;

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::FutureExt as _;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use self::connections::{ConnectionLimits, Responder};
pub use self::{
    crl::{CrlServer, CrlSource, NotServed, ServedCrl},
    debug::{DebugServer, StateSource},
};
use crate::metrics::Metrics;

/// Limits for the expected clients, a kubelet and a few scrapers. Each needs a connection for some milliseconds.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 64,
    header: 8 * 1024,
    wait: Duration::from_secs(10),
    life: Duration::from_secs(60),
    drain: Duration::from_millis(500),
};

/// `EAFNOSUPPORT` of Linux: the kernel was started without IPv6.
const NO_IPV6: i32 = 97;

const PLAIN_TEXT: &str = "text/plain; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Readiness of the controller to process requests, the answer of `/readyz`. Clones share the value.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Makes `/readyz` answer 200 or 503.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Returns the present value.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// HTTP server whose listeners are bound and do not answer yet.
#[derive(Debug)]
pub struct Server {
    health: TcpListener,
    /// `None` if one address serves both.
    metrics: Option<TcpListener>,
    limits: ConnectionLimits,
}

/// Reason why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The server cannot listen on an address.
    #[error("failed to listen on {address}: give another --{flag}")]
    Bind {
        /// The address as given.
        address: SocketAddr,
        /// Flag that sets the address.
        flag: &'static str,
        /// Error of the operating system.
        source: io::Error,
    },
}

impl Server {
    /// Listens on both addresses, or on one if they are the same.
    ///
    /// # Errors
    /// The server cannot listen on an address.
    pub async fn bind(health: SocketAddr, metrics: SocketAddr) -> Result<Self, ServerError> {
        let one = health == metrics && health.port() != 0;
        Ok(Self {
            health: listen(health, "health-address").await?,
            metrics: if one {
                None
            } else {
                Some(listen(metrics, "metrics-address").await?)
            },
            limits: LIMITS,
        })
    }

    /// Returns the bound addresses of health and metrics.
    ///
    /// # Errors
    /// The operating system does not report an address.
    pub fn addresses(&self) -> io::Result<(SocketAddr, SocketAddr)> {
        Ok((
            self.health.local_addr()?,
            self.metrics.as_ref().unwrap_or(&self.health).local_addr()?,
        ))
    }

    /// Answers until `stop` is cancelled, then ends within half a second.
    pub async fn serve(self, readiness: Readiness, metrics: Arc<Metrics>, stop: CancellationToken) {
        let Self {
            health,
            metrics: measured,
            limits,
        } = self;
        let one = measured.is_none();
        let routes = Routes {
            readiness: Some(readiness),
            metrics: one.then(|| Arc::clone(&metrics)),
        };
        let health = connections::serve(health, routes.answer(), limits, stop.clone());
        let Some(measured) = measured else {
            return health.await;
        };
        let routes = Routes {
            readiness: None,
            metrics: Some(metrics),
        };
        let measured = connections::serve(measured, routes.answer(), limits, stop);
        tokio::join!(health, measured);
    }
}

/// Listens on an address. `[::]` also accepts IPv4, and stands for `0.0.0.0` on a machine without IPv6.
async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServerError> {
    let bound = match TcpListener::bind(address).await {
        Err(error)
            if address.ip() == Ipv6Addr::UNSPECIFIED && error.raw_os_error() == Some(NO_IPV6) =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        bound => bound,
    };
    bound.map_err(|source| ServerError::Bind {
        address,
        flag,
        source,
    })
}

/// Answers of one listener.
#[derive(Debug)]
struct Routes {
    readiness: Option<Readiness>,
    metrics: Option<Arc<Metrics>>,
}

impl Routes {
    fn answer(self) -> Responder {
        Arc::new(move |request| std::future::ready(self.answer_to(request)).boxed())
    }

    fn answer_to<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let answer = match (request.uri().path(), &self.readiness, &self.metrics) {
            ("/livez", Some(_), _) => text(StatusCode::OK, PLAIN_TEXT, "alive\n"),
            ("/readyz", Some(readiness), _) if readiness.get() => {
                text(StatusCode::OK, PLAIN_TEXT, "ready\n")
            }
            ("/readyz", Some(_), _) => {
                text(StatusCode::SERVICE_UNAVAILABLE, PLAIN_TEXT, "not ready\n")
            }
            ("/metrics", _, Some(metrics)) => encode(metrics),
            (_, _, _) => return text(StatusCode::NOT_FOUND, PLAIN_TEXT, "not found\n"),
        };
        if [Method::GET, Method::HEAD].contains(request.method()) {
            return answer;
        }
        not_allowed()
    }
}

fn not_allowed() -> Response<Full<Bytes>> {
    let mut refusal = text(
        StatusCode::METHOD_NOT_ALLOWED,
        PLAIN_TEXT,
        "only GET and HEAD\n",
    );
    let allowed = HeaderValue::from_static("GET, HEAD");
    refusal.headers_mut().insert(ALLOW, allowed);
    refusal
}

fn text(
    status: StatusCode,
    content_type: &'static str,
    text: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn encode(metrics: &Metrics) -> Response<Full<Bytes>> {
    match metrics.encode() {
        Ok(encoded) => text(StatusCode::OK, OPEN_METRICS, encoded),
        Err(error) => text(
            StatusCode::INTERNAL_SERVER_ERROR,
            PLAIN_TEXT,
            error.to_string(),
        ),
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
        task: JoinHandle<()>,
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
    async fn the_unspecified_ipv6_address_serves_both_families() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0));
        let listener = listen(any, "health-address").await.unwrap();
        let bound = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, bound.port()))
            .await
            .unwrap();
        if bound.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, bound.port()))
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn readyz_follows_the_readiness_of_the_controller() {
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

    #[test]
    fn each_listener_answers_only_get_and_head_and_only_its_own_paths() {
        let routes = Routes {
            readiness: Some(Readiness::default()),
            metrics: None,
        };
        for (method, path, status) in [
            ("GET", "/livez", 200),
            ("HEAD", "/livez?verbose", 200),
            ("POST", "/livez", 405),
            ("GET", "/livez/", 404),
            ("GET", "/metrics", 404),
            ("POST", "/metrics", 404),
        ] {
            let request = Request::builder()
                .method(method)
                .uri(path)
                .body(())
                .unwrap();
            let answer = routes.answer_to(&request);
            assert_eq!(answer.status(), status, "{method} {path}");
            assert_eq!(answer.headers().contains_key(ALLOW), status == 405);
        }
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
    async fn the_error_for_an_address_in_use_names_its_flag() {
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
    async fn an_unfinished_request_does_not_block_the_shutdown() {
        let running = start().await;
        let mut stream = TcpStream::connect(running.health).await.unwrap();
        stream
            .write_all(b"GET /livez HTTP/1.1\r\nHost:")
            .await
            .unwrap();
        running.stop.cancel();
        running.task.await.unwrap();
    }
}
