//! Certificate revocation lists over HTTP, on a listener of their own (RFC 5280, section 4.2.1.13; RFC 2585).

use std::{io, net::SocketAddr, sync::Arc};

use futures::FutureExt as _;
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Bytes,
    header::{
        CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, HeaderValue, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, LAST_MODIFIED, RETRY_AFTER,
    },
};
use jiff::{
    SignedDuration, Timestamp,
    fmt::rfc2822::{DateTimeParser, DateTimePrinter},
};
use tokio::{net::TcpListener, time::Duration};
use tokio_util::sync::CancellationToken;

use super::{
    PLAIN_TEXT, ServerError,
    connections::{self, ConnectionLimits, Responder},
    listen, not_allowed, text,
};
use crate::metrics::{CrlAnswer, Metrics};

/// Limits for clients anywhere in the network, which may ask again on the same connection.
const LIMITS: ConnectionLimits = ConnectionLimits {
    connections: 512,
    header: 8 * 1024,
    wait: Duration::from_secs(10),
    life: Duration::from_secs(300),
    drain: Duration::from_millis(500),
};

/// The media type of one DER-encoded CRL (RFC 2585, section 4.2).
const PKIX_CRL: &str = "application/pkix-crl";
/// How long a cache may serve a CRL without asking for a newer one. A revocation is seen through a cache after this time at the
/// latest, although nextUpdate is days away.
const LONGEST_FRESH: SignedDuration = SignedDuration::from_mins(5);
/// Path of every CRL.
const PREFIX: &str = "/crl/";
const SUFFIX: &str = ".crl";

/// A CRL as it is served.
#[derive(Clone, Debug)]
pub struct ServedCrl {
    der: Bytes,
    etag: String,
    this_update: Timestamp,
    next_update: Timestamp,
}

/// Where the listener finds CRLs.
pub trait CrlSource: Send + Sync {
    /// Returns the CRL of a CA and shard, as they are written in the path.
    ///
    /// # Errors
    /// There is no such CRL, or none is known yet.
    fn find(&self, ca: &str, shard: &str) -> Result<Arc<ServedCrl>, NotServed>;
}

/// Why there is no CRL to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// There is no such CRL.
    Unknown,
    /// This replica has not read the stored CRLs yet.
    NotYet,
}

/// HTTP server whose listener is bound and does not answer yet.
#[derive(Debug)]
pub struct CrlServer(TcpListener);

impl ServedCrl {
    /// Takes a CRL with its times. `sha256` is the hash of its DER, hexadecimal.
    #[must_use]
    pub fn new(der: Vec<u8>, sha256: &str, this_update: Timestamp, next_update: Timestamp) -> Self {
        Self {
            der: der.into(),
            etag: format!("\"{sha256}\""),
            this_update,
            next_update,
        }
    }

    /// Returns the DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    fn headers(&self, now: Timestamp) -> [(HeaderName, String); 3] {
        let left = now.duration_until(self.next_update);
        let fresh = left.clamp(SignedDuration::ZERO, LONGEST_FRESH).as_secs();
        let modified = DateTimePrinter::new().timestamp_to_rfc9110_string(&self.this_update);
        [
            (ETAG, self.etag.clone()),
            (CACHE_CONTROL, format!("public, max-age={fresh}")),
            // Every timestamp of a CRL is in the years that HTTP can write.
            (LAST_MODIFIED, modified.unwrap_or_default()),
        ]
    }

    /// Returns whether the client has this CRL already (RFC 9110, section 13.2.2).
    fn is_known(&self, headers: &HeaderMap) -> bool {
        let tags: Vec<&HeaderValue> = headers.get_all(IF_NONE_MATCH).iter().collect();
        if !tags.is_empty() {
            let listed = tags.iter().filter_map(|tags| tags.to_str().ok());
            let mut listed = listed.flat_map(|tags| tags.split(',')).map(str::trim);
            return listed
                .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == self.etag);
        }
        let since = headers.get(IF_MODIFIED_SINCE);
        let since = since.and_then(|since| since.to_str().ok());
        let since = since.and_then(|since| DateTimeParser::new().parse_timestamp(since).ok());
        // Two CRLs of one second have the same Last-Modified, so the time proves nothing until the next second. The ETag does.
        since.is_some_and(|since| since > self.this_update)
    }
}

impl CrlServer {
    /// Listens on an address.
    ///
    /// # Errors
    /// The server cannot listen on it.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        Ok(Self(listen(address, "crl-address").await?))
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// The operating system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until `stop` is cancelled, then ends within half a second.
    pub async fn serve(
        self,
        source: Arc<dyn CrlSource>,
        metrics: Arc<Metrics>,
        clock: fn() -> Timestamp,
        stop: CancellationToken,
    ) {
        let answer: Responder = Arc::new(move |request| {
            let (outcome, answer) = answer(request, &*source, clock());
            metrics.crl_answered(outcome);
            std::future::ready(answer).boxed()
        });
        connections::serve(self.0, answer, LIMITS, stop).await;
    }
}

fn answer<B>(
    request: &Request<B>,
    source: &dyn CrlSource,
    now: Timestamp,
) -> (CrlAnswer, Response<Full<Bytes>>) {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        return (CrlAnswer::NotAllowed, not_allowed());
    }
    let path = request.uri().path();
    let found = match named(path) {
        Some((ca, shard)) => source.find(ca, shard),
        None => Err(NotServed::Unknown),
    };
    match found {
        Ok(crl) => {
            let known = crl.is_known(request.headers());
            let (outcome, status, body) = if known {
                let status = StatusCode::NOT_MODIFIED;
                (CrlAnswer::NotModified, status, Bytes::new())
            } else {
                (CrlAnswer::Served, StatusCode::OK, crl.der.clone())
            };
            let mut response = text(status, PKIX_CRL, body);
            if known {
                // RFC 9110, section 15.4.5: only what tells versions and freshness.
                response.headers_mut().remove(CONTENT_TYPE);
            }
            for (name, value) in crl.headers(now) {
                if let Ok(value) = HeaderValue::from_str(&value) {
                    response.headers_mut().insert(name, value);
                }
            }
            (outcome, response)
        }
        Err(NotServed::Unknown) => {
            let answer = text(StatusCode::NOT_FOUND, PLAIN_TEXT, "not found\n");
            (CrlAnswer::NotFound, answer)
        }
        Err(NotServed::NotYet) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let mut answer = text(status, PLAIN_TEXT, "not ready\n");
            let second = HeaderValue::from_static("1");
            answer.headers_mut().insert(RETRY_AFTER, second);
            (CrlAnswer::NotReady, answer)
        }
    }
}

/// Returns the CA and the shard in a path.
fn named(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?;
    rest.split_once('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(ServedCrl);

    impl CrlSource for One {
        fn find(&self, ca: &str, shard: &str) -> Result<Arc<ServedCrl>, NotServed> {
            match (ca, shard) {
                ("ca", "0") => Ok(Arc::new(self.0.clone())),
                ("late", "0") => Err(NotServed::NotYet),
                _ => Err(NotServed::Unknown),
            }
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// Returns the outcome and the response to a request at this time.
    fn asked_at(
        now: &str,
        method: &str,
        path: &str,
        header: Option<(HeaderName, &str)>,
    ) -> (CrlAnswer, Response<Full<Bytes>>) {
        let crl = ServedCrl::new(
            vec![0x30, 0],
            "5a",
            at("2026-01-01T00:00:00Z"),
            at("2026-01-08T00:00:00Z"),
        );
        let mut request = Request::builder().method(method).uri(path);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        answer(&request.body(()).unwrap(), &One(crl), at(now))
    }

    fn asked(header: Option<(HeaderName, &str)>) -> u16 {
        let (_, answer) = asked_at("2026-01-02T00:00:00Z", "GET", "/crl/ca/0.crl", header);
        answer.status().as_u16()
    }

    fn headers(answer: &Response<Full<Bytes>>) -> Vec<(&str, &str)> {
        let headers = answer.headers().iter();
        let mut headers: Vec<_> = headers
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        headers.sort_unstable();
        headers
    }

    #[test]
    fn a_crl_is_served_with_its_media_type_its_tag_and_its_times() {
        for method in ["GET", "HEAD"] {
            let (outcome, answer) = asked_at("2026-01-02T00:00:00Z", method, "/crl/ca/0.crl", None);
            assert_eq!(
                (outcome, answer.status().as_u16()),
                (CrlAnswer::Served, 200)
            );
            assert_eq!(
                headers(&answer),
                [
                    ("cache-control", "public, max-age=300"),
                    ("content-type", "application/pkix-crl"),
                    ("etag", "\"5a\""),
                    ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
                ]
            );
        }
    }

    #[test]
    fn no_cache_keeps_a_crl_beyond_its_next_update() {
        for (now, fresh) in [
            ("2026-01-07T23:59:00Z", "public, max-age=60"),
            ("2026-01-08T00:00:00Z", "public, max-age=0"),
            ("2027-01-01T00:00:00Z", "public, max-age=0"),
        ] {
            let (_, answer) = asked_at(now, "GET", "/crl/ca/0.crl", None);
            assert_eq!(answer.headers()[CACHE_CONTROL], fresh);
        }
    }

    #[test]
    fn a_client_that_has_the_crl_gets_no_body() {
        let (outcome, answer) = asked_at(
            "2026-01-02T00:00:00Z",
            "GET",
            "/crl/ca/0.crl",
            Some((IF_NONE_MATCH, "\"00\", W/\"5a\"")),
        );
        assert_eq!(
            (outcome, answer.status().as_u16()),
            (CrlAnswer::NotModified, 304)
        );
        assert_eq!(
            headers(&answer),
            [
                ("cache-control", "public, max-age=300"),
                ("etag", "\"5a\""),
                ("last-modified", "Thu, 01 Jan 2026 00:00:00 GMT"),
            ]
        );
        assert_eq!(asked(Some((IF_NONE_MATCH, "*"))), 304);
        assert_eq!(asked(Some((IF_NONE_MATCH, "\"5b\""))), 200);
        let since = |time| asked(Some((IF_MODIFIED_SINCE, time)));
        assert_eq!(since("Thu, 01 Jan 2026 00:00:01 GMT"), 304);
        // A newer CRL may have been made in the same second.
        assert_eq!(since("Thu, 01 Jan 2026 00:00:00 GMT"), 200);
        assert_eq!(since("Wed, 31 Dec 2025 23:59:59 GMT"), 200);
        assert_eq!(since("yesterday"), 200);
    }

    #[test]
    fn only_crls_are_served_and_only_to_read_and_a_refusal_gives_no_hints() {
        let mut answers = Vec::new();
        for (method, path) in [
            ("GET", "/crl/ca/1.crl"),
            ("GET", "/crl/other/0.crl"),
            ("GET", "/crl/ca/0"),
            ("GET", "/crl/"),
            ("GET", "/"),
            ("GET", "/metrics"),
            ("GET", "/crl/ca/0.crl/"),
        ] {
            let (outcome, answer) = asked_at("2026-01-02T00:00:00Z", method, path, None);
            answers.push((outcome, answer.status().as_u16(), answer.headers().clone()));
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
        assert_eq!((answers[0].0, answers[0].1), (CrlAnswer::NotFound, 404));
        let (outcome, answer) = asked_at("2026-01-02T00:00:00Z", "POST", "/crl/ca/0.crl", None);
        assert_eq!(
            (outcome, answer.status().as_u16()),
            (CrlAnswer::NotAllowed, 405)
        );
    }

    #[test]
    fn a_replica_that_knows_no_crls_yet_asks_clients_to_come_back() {
        let (outcome, answer) = asked_at("2026-01-02T00:00:00Z", "GET", "/crl/late/0.crl", None);
        assert_eq!(
            (outcome, answer.status().as_u16()),
            (CrlAnswer::NotReady, 503)
        );
        assert_eq!(answer.headers()[RETRY_AFTER], "1");
    }
}
