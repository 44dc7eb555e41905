//! Measures the calls of the API server, and from its responses how far the clock of this machine is off.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, Uri, header::DATE};
use jiff::{Timestamp, fmt::rfc2822};
use tower::{Layer, Service};

use crate::{
    metrics::{ApiVerb, Metrics},
    pipeline::now,
};

/// Adds [`Measured`] to a client.
#[derive(Clone)]
pub(super) struct MeasuredLayer(Arc<Metrics>);

/// A client whose calls are measured.
#[derive(Clone)]
pub(super) struct Measured<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl MeasuredLayer {
    pub(super) fn new(metrics: &Arc<Metrics>) -> Self {
        Self(Arc::clone(metrics))
    }
}

impl<S> Layer<S> for MeasuredLayer {
    type Service = Measured<S>;

    fn layer(&self, inner: S) -> Measured<S> {
        Measured {
            inner,
            metrics: Arc::clone(&self.0),
        }
    }
}

impl<S, B, R> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let verb = verb(request.method(), request.uri());
        let metrics = Arc::clone(&self.metrics);
        let began = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let head = answer.as_ref().ok();
            let code = head.map(|answer| answer.status().as_u16());
            metrics.api_called(verb, code, began.elapsed());
            if let Some(offset) = head.and_then(|answer| clock_offset(answer.headers(), now())) {
                metrics.clock_offset(offset);
            }
            answer
        })
    }
}

fn verb(method: &Method, uri: &Uri) -> ApiVerb {
    let watches = |pair: &str| pair == "watch=true" || pair == "watch=1";
    match method.as_str() {
        "GET" if uri.query().unwrap_or_default().split('&').any(watches) => ApiVerb::Watch,
        "GET" => ApiVerb::Get,
        "POST" => ApiVerb::Post,
        "PUT" => ApiVerb::Put,
        "PATCH" => ApiVerb::Patch,
        "DELETE" => ApiVerb::Delete,
        _ => ApiVerb::Other,
    }
}

/// Returns by how many seconds the clock that shows `now` is ahead of the server's, from the `Date` of a response (RFC 9110,
/// section 6.6.1). That time is truncated to seconds, so half a second is added to it.
fn clock_offset(headers: &HeaderMap, now: Timestamp) -> Option<f64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = rfc2822::parse(date).ok()?.timestamp();
    Some(now.duration_since(date).as_secs_f64() - 0.5)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_offset_of_the_clock_is_taken_from_the_date_of_a_response() {
        let now = "1994-11-06T08:50:07.5Z".parse().unwrap();
        let offset = |date: &'static str| {
            let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
            clock_offset(&headers, now)
        };
        assert_eq!(offset("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30.0));
        assert_eq!(offset("Sun, 06 Nov 1994 08:50:37 GMT"), Some(-30.0));
        assert_eq!(offset("yesterday"), None);
        assert_eq!(clock_offset(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_watch_is_not_counted_as_a_read() {
        let of = |method, uri| verb(&method, &Uri::from_static(uri));
        assert_eq!(of(Method::GET, "/api/v1/secrets?limit=5"), ApiVerb::Get);
        assert_eq!(
            of(Method::GET, "/api/v1/secrets?&watch=true&timeoutSeconds=9"),
            ApiVerb::Watch
        );
        assert_eq!(of(Method::PATCH, "/a?watch=true"), ApiVerb::Patch);
        assert_eq!(of(Method::OPTIONS, "/"), ApiVerb::Other);
    }
}
