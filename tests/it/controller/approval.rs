//! A cluster without an approver.

use anyhow::Result;
use rig::{csr_for, request_spec};

use super::{issuer, own_rig};

#[tokio::test]
async fn approval_can_be_turned_off_and_a_denial_still_counts() -> Result<()> {
    let rig = own_rig(&["--enforce-approval=false"]).await?;
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("web", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.reaches("web", "Issued").await?;
    rig.controller().kill();
    requests
        .create("denied", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.deny("denied").await?;
    rig.controller().restart().await?;
    requests.reaches("denied", "Denied").await?;
    Ok(())
}
