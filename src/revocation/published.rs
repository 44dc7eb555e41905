//! Reads the CRL that is published at the URL of a shard, to learn whether the stored state is older.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::issuance::{
    IssuerCertificate,
    crl::{CrlNumber, ReadCrl, ReadCrlError, VerifyCrlError},
    profile::HttpUrl,
};

/// Function that reads what is at a URL. It returns `None` if there is nothing (404), and it ends: it limits the time and the
/// octets.
pub type FetchCrl =
    Arc<dyn Fn(HttpUrl) -> BoxFuture<'static, Result<Option<Vec<u8>>, FetchError>> + Send + Sync>;

/// Why a URL could not be read.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No connection, no answer, or a broken one.
    #[error("no answer")]
    Transport(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another status than 200 and 404.
    #[error("the answer is HTTP status {0}")]
    Status(u16),
    /// The answer is larger than any CRL of ours.
    #[error("the answer is larger than any CRL of this controller")]
    TooLarge,
    /// The answer took too long.
    #[error("the answer took too long")]
    TimedOut,
}

/// Why nothing is known of the published CRL. This is no reason to stop: whoever can change what is read at the URL could
/// otherwise prevent every revocation.
#[derive(Debug, thiserror::Error)]
pub(super) enum PublishedError {
    #[error("failed to read the published CRL at {url}")]
    Fetch { url: String, source: FetchError },
    #[error("what is published at {url} is not a CRL")]
    Read { url: String, source: ReadCrlError },
    #[error("the CRL published at {url} is not one of this CA")]
    Verify { url: String, source: VerifyCrlError },
    #[error("the CRL published at {url} is of another shard, or has no number")]
    Other { url: String },
}

/// Returns the number of the CRL at a URL; `None` if there is none. `in_shards` tells whether the CRL must name the URL as its
/// distribution point.
pub(super) async fn number_at(
    fetch: &FetchCrl,
    url: HttpUrl,
    in_shards: bool,
    issuing: &IssuerCertificate,
) -> Result<Option<CrlNumber>, PublishedError> {
    let text = || url.as_str().to_owned();
    let octets = fetch(url.clone()).await;
    let octets = octets.map_err(|source| PublishedError::Fetch {
        url: text(),
        source,
    })?;
    let Some(octets) = octets else {
        return Ok(None);
    };
    let crl = ReadCrl::parse(&octets).map_err(|source| PublishedError::Read {
        url: text(),
        source,
    })?;
    crl.verify(issuing)
        .map_err(|source| PublishedError::Verify {
            url: text(),
            source,
        })?;
    let names_url = || {
        crl.distribution_points()
            .iter()
            .any(|point| point == url.as_str())
    };
    let is_it = match in_shards {
        true => names_url(),
        false => !crl.is_partition(),
    };
    let number = crl.number().filter(|_| is_it);
    number
        .map(Some)
        .ok_or_else(|| PublishedError::Other { url: text() })
}
