//! Neither a backlog, nor a slow token, nor a hung token makes other requests wait for more than their turn.

use anyhow::{Context as _, Result};
use rig::{Authority, IssuerName, Requests, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{counted::Counted, issuer};

/// More requests than the controller looks at concurrently.
const BACKLOG: usize = 48;

/// Creates [`BACKLOG`] approved requests of one tenant.
async fn backlog(case: &Counted) -> Result<Requests> {
    case.cluster.create_namespace("noisy").await?;
    let noisy = case.cluster.requests("noisy").await?;
    let csr = csr_for("web.example")?;
    for number in 0..BACKLOG {
        let spec = request_spec(&issuer(), &csr);
        noisy
            .create_approved(&format!("web-{number}"), spec)
            .await?;
    }
    Ok(noisy)
}

/// Returns the namespaces of the issuance log's lines with this event, in order.
fn recorded(case: &Counted, event: &str) -> Result<Vec<String>> {
    let lines = case.controller.issuance_log()?;
    let lines = lines.iter().filter(|line| line["event"] == event);
    lines
        .map(|line| {
            let namespace = line["request"]["namespace"].as_str();
            Ok(namespace.context("no namespace")?.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_slow_token_discards_no_certificate_and_another_tenant_waits_for_one_round() -> Result<()>
{
    let case = Counted::start(&[], |_| {}).await?;
    case.is_ready_at(1).await?;
    // The token has four sessions, so the last request that is looked at waits longer than a signature may take (10 s).
    case.library.rules("C_Sign delay_ms=1500")?;
    let noisy = backlog(&case).await?;
    case.cluster.create_namespace("quiet").await?;
    let quiet = case.cluster.requests("quiet").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    let before = recorded(&case, "signed")?.len();
    quiet.create_approved("web", spec).await?;
    quiet.reaches("web", "Issued").await?;
    for number in 0..BACKLOG {
        noisy.reaches(&format!("web-{number}"), "Issued").await?;
    }
    let signed = recorded(&case, "signed")?;
    assert_eq!(signed.len(), BACKLOG + 1);
    let turn = signed.iter().position(|namespace| namespace == "quiet");
    let turn = turn.context("not signed")?;
    // Eight requests are with the token, one precedes in the round, and some finish before the request is seen.
    assert!(
        turn <= before + 16,
        "signed after {turn} others, {before} of which were signed before it was created"
    );
    assert_eq!(recorded(&case, "signing")?.len(), BACKLOG + 1);
    assert!(recorded(&case, "discarded")?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_hung_token_does_not_delay_requests_for_another_token() -> Result<()> {
    let healthy = Authority::new(KeyKind::P256)?;
    let case = Counted::start(&[], |all: &mut Value| {
        let other = healthy.configuration(&[]);
        all["modules"]["other"] = other["modules"]["softhsm"].clone();
        all["tokens"]["other"] = other["tokens"]["issuing"].clone();
        all["tokens"]["other"]["module"] = json!("other");
    })
    .await?;
    case.is_ready_at(1).await?;
    let other = IssuerName::cluster("other");
    let mut spec = healthy.issuer_spec();
    spec["token"] = json!("other");
    case.cluster.apply_issuer(&other, &spec).await?;
    case.cluster.issuer_is_ready(&other).await?;

    case.library.rules("C_Sign hang")?;
    backlog(&case).await?;
    // Every session has one call in the library, and none of them returns.
    let hanging = control_plane::until("the token to hang", rig::PATIENCE, async || {
        Ok((case.signatures()? >= 4).then_some(()))
    });
    hanging.await?;
    case.cluster.create_namespace("quiet").await?;
    let quiet = case.cluster.requests("quiet").await?;
    let spec = request_spec(&other, &csr_for("web.example")?);
    quiet.create_approved("web", spec).await?;
    quiet.reaches("web", "Issued").await?;
    assert!(
        recorded(&case, "discarded")?.is_empty(),
        "the request waited until the requests for the hung token had timed out"
    );
    Ok(())
}
