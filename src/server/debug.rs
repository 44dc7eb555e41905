//! `/debug/state` over HTTP, on a listener of its own.

use std::{io, net::SocketAddr, sync::Arc};

use futures::{FutureExt as _, future::BoxFuture};
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::{
    LIMITS, PLAIN_TEXT, ServerError,
    connections::{self, Responder},
    listen, not_allowed, text,
};

const JSON: &str = "application/json";

/// Function that returns the state as JSON.
pub type StateSource = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;

/// HTTP server whose listener is bound and does not answer yet.
#[derive(Debug)]
pub struct DebugServer(TcpListener);

impl DebugServer {
    /// Listens on an address.
    ///
    /// # Errors
    /// The server cannot listen on it.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        Ok(Self(listen(address, "debug-address").await?))
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// The operating system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until `stop` is cancelled, then ends within half a second.
    pub async fn serve(self, state: StateSource, stop: CancellationToken) {
        let answer: Responder = Arc::new(move |request| answer(request, &state));
        connections::serve(self.0, answer, LIMITS, stop).await;
    }
}

fn answer<B>(
    request: &Request<B>,
    state: &StateSource,
) -> BoxFuture<'static, Response<Full<Bytes>>> {
    if request.uri().path() != "/debug/state" {
        let answer = text(StatusCode::NOT_FOUND, PLAIN_TEXT, "not found\n");
        return std::future::ready(answer).boxed();
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return std::future::ready(not_allowed()).boxed();
    }
    state().map(|json| text(StatusCode::OK, JSON, json)).boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: Method, path: &str) -> (u16, String) {
        let state: StateSource = Arc::new(|| std::future::ready("{}".to_owned()).boxed());
        let request = Request::builder().method(method).uri(path).body(());
        let answer = answer(&request.unwrap(), &state).now_or_never().unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap();
        (answer.status().as_u16(), kind.to_owned())
    }

    #[test]
    fn only_the_state_is_served_and_only_to_read() {
        assert_eq!(asked(Method::GET, "/debug/state"), (200, JSON.to_owned()));
        assert_eq!(asked(Method::POST, "/debug/state").0, 405);
        assert_eq!(asked(Method::GET, "/metrics").0, 404);
    }
}
