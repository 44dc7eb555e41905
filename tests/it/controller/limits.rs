//! Tests the limits of issuers: requests over a limit wait in fair turns, and none fails because of the limit.

use anyhow::Result;
use control_plane::until;
use rig::{IssuerName, PATIENCE, Requests, Rig, csr_for, request_spec};
use serde_json::{Value, json};

use super::{counted::Counted, issuer, shared_rig, status_writes_are};

/// Creates a cluster issuer with these additional fields in its spec and waits until it is ready.
pub(super) async fn limited(rig: &Rig, name: &str, fields: Value) -> Result<IssuerName> {
    let name = IssuerName::cluster(name);
    let mut spec = rig.authority().issuer_spec();
    let further = fields.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(further);
    rig.cluster().apply_issuer(&name, &spec).await?;
    rig.cluster().issuer_is_ready(&name).await?;
    Ok(name)
}

async fn ask(requests: &Requests, issuer: &IssuerName, name: &str) -> Result<()> {
    let spec = request_spec(issuer, &csr_for("web.example")?);
    requests.create(name, spec).await?;
    requests.approve(name).await
}

/// Returns the namespace and the time of each signature that this issuer made, in order.
fn signed(rig: &Rig, issuer: &str) -> Result<Vec<(String, jiff::Timestamp)>> {
    let lines = rig.controller().issuance_log()?;
    let signed = lines
        .iter()
        .filter(|line| line["event"] == "signed" && line["issuer"]["name"] == issuer);
    signed
        .map(|line| {
            let namespace = line["request"]["namespace"].as_str().unwrap();
            Ok((
                namespace.to_owned(),
                line["time"].as_str().unwrap().parse()?,
            ))
        })
        .collect()
}

#[tokio::test]
async fn requests_over_the_rate_wait_in_fair_turns_with_one_status_write_each() -> Result<()> {
    const NOISY: usize = 40;
    let rig = shared_rig().await?;
    let limit = json!({"rateLimit": {"perSecond": 5, "burst": 1}});
    let slow = limited(rig, "slow", limit).await?;
    rig.cluster().create_namespace("limits-noisy").await?;
    rig.cluster().create_namespace("limits-quiet").await?;
    let noisy = rig.cluster().requests("limits-noisy").await?;
    let quiet = rig.cluster().requests("limits-quiet").await?;
    for number in 0..NOISY {
        ask(&noisy, &slow, &format!("web-{number}")).await?;
    }
    let before = signed(rig, "slow")?.len();
    ask(&quiet, &slow, "web").await?;
    quiet.reaches("web", "Issued").await?;
    for number in 0..NOISY {
        noisy.reaches(&format!("web-{number}"), "Issued").await?;
    }
    let signed = signed(rig, "slow")?;
    assert_eq!(signed.len(), NOISY + 1);
    let turn = signed
        .iter()
        .position(|(namespace, _)| namespace == "limits-quiet")
        .unwrap();
    // One noisy request may be signing, one may have got its turn, and one precedes in the round.
    assert!(
        turn <= before + 5,
        "signed after {turn} others, {before} of which were signed before it was created"
    );
    let took = signed[NOISY].1.duration_since(signed[0].1);
    assert!(
        took >= jiff::SignedDuration::from_secs(7),
        "40 intervals of a fifth of a second took {took:#}"
    );
    for number in 0..NOISY {
        status_writes_are(rig, "limits-noisy", &format!("web-{number}"), 1).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_long_wait_for_a_turn_is_reported_once_and_a_deleted_request_uses_no_turn() -> Result<()>
{
    const NAMESPACE: &str = "limits-long";
    let rig = shared_rig().await?;
    let limit = json!({"rateLimit": {"perSecond": 1, "burst": 1}});
    let slower = limited(rig, "slower", limit).await?;
    rig.cluster().create_namespace(NAMESPACE).await?;
    let requests = rig.cluster().requests(NAMESPACE).await?;
    for number in 0..60 {
        ask(&requests, &slower, &format!("web-{number}")).await?;
    }
    // The last request says that it waits before it is signed, because 59 requests precede it.
    let told = requests.reaches("web-59", "Pending").await?;
    let message = told.ready().unwrap().message;
    assert_eq!(
        message,
        "Waiting for its turn: PKCS11ClusterIssuer slower signs no more than its spec allows"
    );
    assert_eq!(told.failure_time(), None);
    for number in 20..59 {
        requests.delete(&format!("web-{number}")).await?;
    }
    requests.reaches("web-59", "Issued").await?;
    status_writes_are(rig, NAMESPACE, "web-59", 2).await?;
    assert!(
        signed(rig, "slower")?.len() < 50,
        "a deleted request must not use a turn"
    );
    Ok(())
}

#[tokio::test]
async fn no_more_signatures_at_a_time_than_the_issuer_allows() -> Result<()> {
    let case = Counted::start(&[], |_| {}).await?;
    let mut spec = case.authority.issuer_spec();
    spec["maxConcurrentSignatures"] = json!(1);
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    case.is_ready_at(2).await?;
    case.library.rules("C_Sign delay_ms=50")?;
    let requests = case.cluster.requests("default").await?;
    for number in 0..20 {
        ask(&requests, &issuer(), &format!("web-{number}")).await?;
    }
    for number in 0..20 {
        requests.reaches(&format!("web-{number}"), "Issued").await?;
    }
    assert_eq!(steps(&case)?, ["signing", "signed"].repeat(20));
    // Without the limit the signatures overlap; otherwise this test could not fail.
    spec.as_object_mut()
        .unwrap()
        .remove("maxConcurrentSignatures");
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    case.is_ready_at(3).await?;
    case.library.rules("C_Sign delay_ms=1000")?;
    until("signatures that overlap", PATIENCE, async || {
        let asked = steps(&case)?.len();
        let asked = (0..4).map(|number| format!("more-{asked}-{number}"));
        for name in asked {
            ask(&requests, &issuer(), &name).await?;
        }
        let overlap = steps(&case)?
            .windows(2)
            .any(|two| two == ["signing", "signing"]);
        Ok(overlap.then_some(()))
    })
    .await
}

/// Returns the events of the issuance log about signatures, in order.
fn steps(case: &Counted) -> Result<Vec<String>> {
    let lines = case.controller.issuance_log()?;
    let events = lines.iter().filter_map(|line| line["event"].as_str());
    Ok(events
        .filter(|event| ["signing", "signed", "discarded"].contains(event))
        .map(str::to_owned)
        .collect())
}

#[tokio::test]
async fn the_api_server_refuses_invalid_limits() -> Result<()> {
    let rig = shared_rig().await?;
    for (field, value, named) in [
        ("rateLimit", json!({"perSecond": 0}), "perSecond"),
        ("rateLimit", json!({"burst": 1}), "perSecond"),
        ("rateLimit", json!({"perSecond": 1, "burst": 0}), "burst"),
        ("rateLimit", json!({"perSecond": 100_001}), "perSecond"),
        (
            "maxConcurrentSignatures",
            json!(0),
            "maxConcurrentSignatures",
        ),
        (
            "maxConcurrentSignatures",
            json!(257),
            "maxConcurrentSignatures",
        ),
    ] {
        let mut spec = rig.authority().issuer_spec();
        spec[field] = value;
        let name = IssuerName::cluster("no-limit");
        let error = rig.cluster().apply_issuer(&name, &spec).await.unwrap_err();
        assert!(format!("{error:#}").contains(named), "{error:#}");
    }
    Ok(())
}
