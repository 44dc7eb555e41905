//! Calls of the API server: when they are tried again, and what is said while they fail.

mod backoff;
mod served;
mod trouble;

use std::time::Duration;

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use kube::{
    Client,
    client::Body,
    core::{Status, response::StatusSummary},
};
use serde::de::DeserializeOwned;

pub(super) use self::{
    backoff::{LONGEST, WatchPause, delay, longest_for_a_write, random, until},
    served::serves,
    trouble::{Trouble, is_missing, is_right_or_kind_missing},
};

/// Asks for metadata only in the response, which saves about 5 % per request.
pub(super) const METADATA_ALONE: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";
/// The most that all pauses of one call, without jitter, may add up to.
const LONGEST_TOTAL: Duration = Duration::from_secs(10);
/// The shortest pause, even if the API server asks for a shorter one.
const SHORTEST: Duration = Duration::from_millis(100);
/// The pause if the API server does not ask for one.
const DEFAULT: Duration = Duration::from_secs(1);

/// Sends a request and reads the answer.
///
/// An API server that answers 429 has not processed the request, so the same request is sent again after the pause that
/// `Retry-After` asks for (RFC 9110, section 10.2.3), plus up to a quarter of it. The caller keeps its place among the looks
/// meanwhile, so the controller as a whole slows down.
///
/// # Errors
/// As [`Client::request`]. 429, if all pauses together, without jitter, would exceed ten seconds.
pub(super) async fn call<T: DeserializeOwned>(
    client: &Client,
    request: Request<Vec<u8>>,
) -> kube::Result<T> {
    let mut waited = Duration::ZERO;
    loop {
        let response = client.send(request.clone().map(Body::from)).await?;
        match pause(response.status(), retry_after(&response), waited) {
            Some(pause) => {
                waited += pause;
                tokio::time::sleep(pause + jitter(pause, random())).await;
            }
            None => return answer(response).await,
        }
    }
}

/// Returns how long to wait before the request is sent again; `None` if it is not sent again.
fn pause(status: StatusCode, named: Option<Duration>, waited: Duration) -> Option<Duration> {
    let pause = named.unwrap_or(DEFAULT).max(SHORTEST);
    let fits = waited.saturating_add(pause) <= LONGEST_TOTAL;
    (status == StatusCode::TOO_MANY_REQUESTS && fits).then_some(pause)
}

/// Returns a random addition to the pause, so that calls that were throttled together are not retried together.
fn jitter(pause: Duration, random: u8) -> Duration {
    (pause / 4).mul_f64(f64::from(random) / 255.0)
}

/// Returns the value of `Retry-After` in seconds. HTTP allows a date too, but no API server sends one.
fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?;
    seconds.parse().ok().map(Duration::from_secs)
}

async fn answer<T: DeserializeOwned>(response: Response<Body>) -> kube::Result<T> {
    let status = response.status();
    let octets = response.into_body().collect_bytes().await?;
    if status.is_client_error() || status.is_server_error() {
        // Filters of the API server, and proxies in front of it, answer in plain text.
        let error = serde_json::from_slice(&octets).unwrap_or_else(|_| Status {
            status: Some(StatusSummary::Failure),
            code: status.as_u16(),
            message: String::from_utf8_lossy(&octets).trim().to_owned(),
            ..Status::default()
        });
        return Err(kube::Error::Api(error.boxed()));
    }
    serde_json::from_slice(&octets).map_err(kube::Error::SerdeError)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUSY: StatusCode = StatusCode::TOO_MANY_REQUESTS;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn a_throttled_call_is_retried_when_the_api_server_says_and_not_for_ever() {
        let none = Duration::ZERO;
        assert_eq!(pause(BUSY, Some(seconds(3)), none), Some(seconds(3)));
        assert_eq!(pause(BUSY, None, none), Some(DEFAULT));
        assert_eq!(pause(BUSY, Some(none), none), Some(SHORTEST));
        assert_eq!(pause(BUSY, Some(seconds(3)), seconds(7)), Some(seconds(3)));
        assert_eq!(pause(BUSY, Some(seconds(3)), seconds(8)), None);
        assert_eq!(pause(BUSY, Some(Duration::MAX), none), None);
        for other in [StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE] {
            assert_eq!(pause(other, Some(seconds(1)), none), None);
        }
    }

    #[test]
    fn retry_after_is_read_in_seconds_and_jitter_adds_at_most_a_quarter() {
        let named = |value: &str| {
            let response = Response::builder().header(RETRY_AFTER, value).body(());
            retry_after(&response.unwrap())
        };
        assert_eq!(named("2"), Some(seconds(2)));
        assert_eq!(named("Fri, 31 Dec 1999 23:59:59 GMT"), None);
        assert_eq!(retry_after(&Response::new(())), None);
        assert_eq!(jitter(seconds(2), 0), Duration::ZERO);
        assert_eq!(jitter(seconds(2), u8::MAX), Duration::from_millis(500));
    }
}
