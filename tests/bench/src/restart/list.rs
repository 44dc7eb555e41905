//! A client that reads the list as the controller does and discards it.

use std::time::Instant;

use anyhow::{Context as _, Result};
use control_plane::ControlPlane;
use serde::Deserialize;

/// The fields of a page that are needed to ask for the next one.
#[derive(Debug, Deserialize)]
struct Page {
    metadata: Metadata,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    #[serde(default, rename = "continue")]
    next: String,
}

/// Reads all pages, with the controller's page size, and returns the seconds that it took.
pub(crate) async fn read(plane: &ControlPlane) -> Result<f64> {
    let client = plane.admin().await?;
    let began = Instant::now();
    let mut next = String::new();
    loop {
        let page = format!(
            "/apis/cert-manager.io/v1/certificaterequests?limit=250&continue={next}\
             &fieldSelector=spec.issuerRef.group%3Dpkcs11-issuer.dev"
        );
        let request = http::Request::get(page).body(Vec::new())?;
        let page: Page = client.request(request).await.context("read a page")?;
        next = page.metadata.next;
        if next.is_empty() {
            return Ok(began.elapsed().as_secs_f64());
        }
    }
}
