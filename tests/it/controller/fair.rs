//! A backlog, a slow token and one that hangs cost the others no more than their turn.

use anyhow::{Context as _, Result};
use rig::{Authority, IssuerName, Requests, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{counted::Counted, issuer};

/// More than are looked at at a time.
const BACKLOG: usize = 48;

/// Approves so many requests of one tenant.
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

/// The namespaces of the record's lines with this event, in their order.
fn recorded(case: &Counted, event: &str) -> Result<Vec<String>> {
    let lines = case.controller.record()?;
    let lines = lines.iter().filter(|line| line["event"] == event);
    lines
        .map(|line| {
            let namespace = line["request"]["namespace"].as_str();
            Ok(namespace.context("no namespace")?.to_owned())
        })
        .collect()
}

#[tokio::test]
async fn a_slow_token_gives_nobody_up_and_another_tenant_waits_for_one_round() -> Result<()> {
    let case = Counted::start(&[], |_| {}).await?;
    case.is_ready_at(1).await?;
    // Four sessions: the last of those that are looked at waits for more than the ten seconds of a signature.
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
    // Eight are with the token and one comes before in the round; some end until the request is seen.
    assert!(turn <= before + 16, "after {turn}, {before} of them before");
    assert_eq!(recorded(&case, "signing")?.len(), BACKLOG + 1);
    assert!(recorded(&case, "discarded")?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_token_that_hangs_keeps_no_request_for_another_token_waiting() -> Result<()> {
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
    // The library has as many calls as there are sessions, and keeps them.
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
        "it waited until those of the other token were given up"
    );
    Ok(())
}
