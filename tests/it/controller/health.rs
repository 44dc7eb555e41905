//! Tests the health of an issuer: probes, conditions, and a certificate that expires soon.

use anyhow::{Context as _, Result};
use control_plane::until;
use rig::{PATIENCE, Rig, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::CaProfile;

use super::{counted::Counted, issuer, shared_rig};

#[tokio::test]
async fn a_key_that_has_just_signed_is_probed_again_only_for_another_certificate() -> Result<()> {
    let case = Counted::start(&[], |_| {}).await?;
    case.is_ready_at(1).await?;
    assert_eq!(case.signatures()?, 1);
    let mut spec = case.authority.issuer_spec();
    spec["ca"] = json!("Issuing");
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    case.is_ready_at(2).await?;
    assert_eq!(
        case.signatures()?,
        1,
        "the changed issuer needs no new probe of the same key"
    );
    let again = case.authority.root().issue(
        case.authority.issuing().key(),
        &CaProfile::named("Test issuing"),
    )?;
    spec["certificate"]["pem"] = json!(again.pem());
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    case.is_ready_at(3).await?;
    assert_eq!(case.signatures()?, 2);
    Ok(())
}

#[tokio::test]
async fn an_idle_issuer_is_probed_at_every_interval() -> Result<()> {
    let case = Counted::start(&["--probe-interval", "1s"], |_| {}).await?;
    until("further probes", PATIENCE, async || {
        Ok((case.signatures()? >= 4).then_some(()))
    })
    .await?;
    // Every probe has the same result, which is written only once.
    let writes = case.cluster.plane().audit_log()?.writes();
    let writes = writes
        .by(rig::CONTROLLER)
        .on("pkcs11clusterissuers.pkcs11-issuer.dev")
        .succeeded();
    let written: Vec<_> = writes
        .iter()
        .filter_map(|write| write.request_object.as_ref())
        .map(|object| &object["status"]["conditions"])
        .collect();
    assert!(!written.is_empty());
    assert!(
        written.windows(2).all(|two| two[0] != two[1]),
        "{written:?}"
    );
    Ok(())
}

#[tokio::test]
async fn a_probe_detects_a_key_that_stops_signing() -> Result<()> {
    let case = Counted::start(&["--probe-interval", "1s"], |_| {}).await?;
    case.is_ready_at(1).await?;
    case.library
        .rules("C_Sign rv=CKR_KEY_FUNCTION_NOT_PERMITTED")?;
    let name = issuer();
    let lost = case.cluster.issuer_reaches(&name, |status| {
        status
            .ready()
            .is_some_and(|ready| ready.reason == "ProbeFailed")
    });
    let message = lost.await?.ready().unwrap().message;
    assert!(
        message.contains("CKR_KEY_FUNCTION_NOT_PERMITTED"),
        "{message}"
    );
    case.counts(
        "pkcs11_issuer_issuers",
        &[("kind", "PKCS11ClusterIssuer"), ("reason", "ProbeFailed")],
        1.0,
    )
    .await?;
    // A request that is created during the outage waits, and is signed as soon as the issuer is ready.
    let requests = case.cluster.requests("default").await?;
    requests
        .create("web", request_spec(&name, &csr_for("web.example")?))
        .await?;
    requests.approve("web").await?;
    requests.reaches("web", "Pending").await?;
    case.library.rules("")?;
    case.is_ready_at(1).await?;
    requests.reaches("web", "Issued").await?;
    case.counts(
        "pkcs11_issuer_issuers",
        &[("kind", "PKCS11ClusterIssuer"), ("reason", "ProbeFailed")],
        0.0,
    )
    .await
}

/// Returns the Events with this reason about the cluster issuer of this name.
fn events(rig: &Rig, name: &str, reason: &str) -> Result<Vec<Value>> {
    let log = rig.cluster().plane().audit_log()?.writes();
    let log = log.by(rig::CONTROLLER).on("events").succeeded();
    let objects = log.iter().filter_map(|event| event.request_object.clone());
    Ok(objects
        .filter(|event| event["regarding"]["name"] == name && event["reason"] == reason)
        .collect())
}

/// Returns the end of the issuing certificate that a status shows.
fn not_after(status: &rig::Status) -> Result<jiff::Timestamp> {
    let shown = status.json()["certificate"]["notAfter"].as_str();
    Ok(shown.context("no certificate")?.parse()?)
}

/// Returns the earliest end of a certificate that the metrics show for the token, in seconds since 1970.
async fn shown_end(rig: &Rig) -> Result<String> {
    let seconds = rig.controller().metrics().await?.sum(
        "pkcs11_issuer_ca_not_after_timestamp_seconds",
        &[("token", "issuing")],
    );
    Ok(seconds.to_string())
}

#[tokio::test]
async fn a_certificate_that_expires_soon_sets_a_condition_an_event_and_a_metric() -> Result<()> {
    let rig = shared_rig().await?;
    let name = rig::IssuerName::cluster("ends-soon");
    let root = rig.authority().root();
    let issued = |from, to| {
        root.issue(
            rig.authority().issuing().key(),
            &CaProfile::named("Test issuing").valid_hours(from, to),
        )
    };
    let mut spec = rig.authority().issuer_spec();
    spec["certificate"]["pem"] = json!(issued(-80, 20)?.pem());
    rig.cluster().apply_issuer(&name, &spec).await?;
    let condition = |status: &rig::Status| status.condition("CAExpiringSoon");
    let soon = rig.cluster().issuer_reaches(&name, |status| {
        condition(status).is_some_and(|soon| soon.status == "True")
    });
    let soon = soon.await?;
    assert_eq!(
        soon.ready().unwrap().status,
        "True",
        "a certificate that expires soon is only a warning"
    );
    let told = condition(&soon).unwrap();
    assert_eq!(told.reason, "ExpiresSoon");
    assert_eq!(told.observed_generation, Some(1));
    assert!(told.message.contains("in 19 hours"), "{}", told.message);
    let written = until("the Event", PATIENCE, async || {
        Ok(events(rig, "ends-soon", "CAExpiringSoon")?.pop())
    });
    assert_eq!(written.await?["type"], "Warning");
    assert_eq!(
        shown_end(rig).await?,
        not_after(&soon)?.as_second().to_string()
    );
    // Another look at the issuer does not change the transition time.
    spec["ca"] = json!("Issuing");
    rig.cluster().apply_issuer(&name, &spec).await?;
    let looked_at = rig.cluster().issuer_reaches(&name, |status| {
        condition(status).is_some_and(|soon| soon.observed_generation == Some(2))
    });
    looked_at.await?;
    spec["certificate"]["pem"] = json!(issued(-20, 80)?.pem());
    rig.cluster().apply_issuer(&name, &spec).await?;
    // It still ends before a certificate of the profile's default duration would, which is another reason.
    let renewed = rig.cluster().issuer_reaches(&name, |status| {
        condition(status).is_some_and(|soon| soon.reason == "ShorterThanProfile")
    });
    renewed.await?;
    assert_eq!(events(rig, "ends-soon", "CAExpiringSoon")?.len(), 1);
    // The issuer is looked at when its certificate ends, not with the next round, which may be a minute away.
    let ends = CaProfile::named("Test issuing").ends_in_seconds(6);
    let ends = root.issue(rig.authority().issuing().key(), &ends)?;
    spec["certificate"]["pem"] = json!(ends.pem());
    rig.cluster().apply_issuer(&name, &spec).await?;
    let ended = rig.cluster().issuer_reaches(&name, |status| {
        status
            .ready()
            .is_some_and(|ready| ready.reason == "CertificateExpired")
    });
    let ended = ended.await?;
    let told: jiff::Timestamp = ended
        .ready()
        .and_then(|ready| ready.last_transition_time)
        .unwrap()
        .parse()?;
    let late = told.duration_since(not_after(&ended)?);
    assert!(!late.is_negative() && late.as_secs() < 15, "{late}");
    // Status and metric show the loaded certificate, although the issuer cannot sign with it.
    let expired = issued(-80, -30)?;
    spec["certificate"]["pem"] = json!(expired.pem());
    rig.cluster().apply_issuer(&name, &spec).await?;
    let shown = rig.cluster().issuer_reaches(&name, |status| {
        not_after(status).ok() < not_after(&ended).ok()
    });
    let shown = shown.await?;
    assert_eq!(shown.ready().unwrap().reason, "CertificateExpired");
    assert_eq!(
        shown_end(rig).await?,
        not_after(&shown)?.as_second().to_string()
    );
    Ok(())
}
