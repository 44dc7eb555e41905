//! Requests that have waited for hours when the test begins.

use anyhow::{Context as _, Result};
use control_plane::Stored;
use jiff::SignedDuration;
use rig::{IssuerName, csr_for, request_spec};
use serde_json::json;

use super::{HERE, Stage};
use crate::controller::issuer;

impl Stage {
    /// Creates a request to an issuer that does not exist, approved an hour ago.
    pub(super) async fn wait_for_an_hour(&self, name: &str) -> Result<()> {
        let nobody = IssuerName::cluster("nobody");
        let spec = request_spec(&nobody, &csr_for("web.example")?);
        self.requests.create(name, spec).await?;
        let created = self.requests.get(name).await?.metadata.creation_timestamp;
        let then = created.context("not created")?.0 - SignedDuration::from_hours(1);
        let condition = json!({
            "type": "Approved", "status": "True", "reason": "test", "message": "approved by the test",
            "lastTransitionTime": then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        });
        let patch = json!({"status": {"conditions": [condition]}}).to_string();
        let patch = ["--subresource=status", "--type=merge", "-p", &patch];
        let words = [
            &["patch", "certificaterequest", name, "-n", HERE][..],
            &patch,
        ]
        .concat();
        self.cluster.plane().kubectl(&words).await.map(drop)
    }

    /// Creates a request that nobody decides on, and makes it two hours old.
    pub(super) async fn be_undecided_for_hours(&self, name: &str) -> Result<()> {
        let spec = request_spec(&issuer(), &csr_for("web.example")?);
        self.requests.create(name, spec).await?;
        let created = self.requests.get(name).await?.metadata.creation_timestamp;
        let then = created.context("not created")?.0 - SignedDuration::from_hours(2);
        let kind = "cert-manager.io/certificaterequests";
        let stored = Stored::of(self.cluster.plane(), kind, HERE)?;
        let mut object = stored.get(name).await?;
        object["metadata"]["creationTimestamp"] =
            json!(then.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        stored.put([object]).await
    }
}
