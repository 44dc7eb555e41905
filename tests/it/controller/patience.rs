//! Tests `spec.maxPending`, the longest time that a request of an issuer waits.

use anyhow::Result;
use rig::{csr_for, request_spec};
use serde_json::json;

use super::{counted::Counted, issuer};

#[tokio::test]
async fn a_request_fails_when_the_token_does_not_sign_within_max_pending_and_waits_without_it()
-> Result<()> {
    let case = Counted::start(&[], |_| {}).await?;
    case.is_ready_at(1).await?;
    case.library.rules("C_Sign rv=CKR_FUNCTION_FAILED")?;
    let requests = case.cluster.requests("default").await?;
    requests
        .create("patient", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.approve("patient").await?;
    requests.reaches("patient", "Pending").await?;

    let mut spec = case.authority.issuer_spec();
    spec["maxPending"] = json!("2s");
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    case.library.rules("")?;
    requests.reaches("patient", "Issued").await?;
    case.cluster.issuer_is_ready(&issuer()).await?;
    case.library.rules("C_Sign rv=CKR_FUNCTION_FAILED")?;
    requests
        .create("hasty", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.approve("hasty").await?;
    let failed = requests.reaches("hasty", "Failed").await?;
    let message = failed.ready().unwrap().message;
    assert!(message.starts_with("pending-too-long: "), "{message}");
    assert!(failed.failure_time().is_some());
    Ok(())
}
