//! The running controller applies changes to the operator's configuration.

use anyhow::Result;
use rig::{Authority, IssuerName, PATIENCE, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use super::{TENANT, counted::Counted, issuer};

const TAKEN_UP: &str = "pkcs11_issuer_config_reloads_total";

/// Waits until the controller has applied this many changes.
async fn taken_up(case: &Counted, times: f64) -> Result<()> {
    case.counts(TAKEN_UP, &[("result", "taken_up")], times)
        .await
}

async fn has_reason(case: &Counted, name: &IssuerName, reason: &str) -> Result<()> {
    let reached = case.cluster.issuer_reaches(name, |status| {
        status.ready().is_some_and(|ready| ready.reason == reason)
    });
    reached.await.map(drop)
}

async fn is_issued(case: &Counted, name: &str) -> Result<()> {
    let requests = case.cluster.requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    requests.create(name, spec).await?;
    requests.approve(name).await?;
    requests.reaches(name, "Issued").await.map(drop)
}

fn grants(configuration: &mut Value, grants: Value) {
    configuration["tokens"]["issuing"]["grants"] = grants;
}

#[tokio::test]
async fn changed_grants_take_effect_and_cost_no_login() -> Result<()> {
    let mut case = Counted::start(&[], |_| {}).await?;
    let own = IssuerName::namespaced(TENANT, "own");
    case.cluster
        .apply_issuer(&own, &case.authority.issuer_spec())
        .await?;
    has_reason(&case, &own, "NotGranted").await?;
    let cluster_issuers = json!({"clusterIssuers": true, "keys": ["*"]});
    let tenant = json!({"namespaces": [TENANT], "keys": ["*"]});
    case.reconfigure(|all| grants(all, json!([&cluster_issuers, tenant])))?;
    case.cluster.issuer_is_ready(&own).await?;
    case.reconfigure(|all| grants(all, json!([cluster_issuers])))?;
    has_reason(&case, &own, "NotGranted").await?;
    case.cluster.issuer_is_ready(&issuer()).await?;
    taken_up(&case, 2.0).await?;
    assert_eq!(case.logins()?, 1);
    Ok(())
}

#[tokio::test]
async fn an_invalid_configuration_is_reported_and_the_previous_one_stays_in_force() -> Result<()> {
    const SUCCESSFUL: &str = "pkcs11_issuer_config_last_reload_successful";
    let mut case = Counted::start(&[], |_| {}).await?;
    case.is_ready_at(1).await?;
    case.counts(SUCCESSFUL, &[], 1.0).await?;
    case.controller
        .configure("tokens: {issuing: {module: no}}")?;
    case.counts(SUCCESSFUL, &[], 0.0).await?;
    case.controller
        .process()
        .line("the changed configuration cannot be used", PATIENCE)
        .await?;
    is_issued(&case, "meanwhile").await?;
    case.reconfigure(|all| all["tokens"]["issuing"]["sessions"] = json!(2))?;
    case.counts(SUCCESSFUL, &[], 1.0).await?;
    is_issued(&case, "mended").await?;
    case.counts(TAKEN_UP, &[("result", "refused")], 1.0).await?;
    assert_eq!(
        case.logins()?,
        2,
        "one login at the start, one after the number of sessions changed"
    );
    Ok(())
}

#[tokio::test]
async fn a_token_is_added_and_removed_and_the_others_keep_their_login() -> Result<()> {
    let mut case = Counted::start(&[], |_| {}).await?;
    case.is_ready_at(1).await?;
    let second = Authority::new(KeyKind::P256)?;
    let name = IssuerName::cluster("second");
    let mut spec = second.issuer_spec();
    spec["token"] = json!("second");
    case.cluster.apply_issuer(&name, &spec).await?;
    has_reason(&case, &name, "TokenUnknown").await?;
    let configured = second.configuration(&[]);
    case.reconfigure(|all| {
        all["modules"]["second"] = configured["modules"]["softhsm"].clone();
        all["tokens"]["second"] = configured["tokens"]["issuing"].clone();
        all["tokens"]["second"]["module"] = json!("second");
    })?;
    case.cluster.issuer_is_ready(&name).await?;
    let state = [("token", "second"), ("state", "ready")];
    case.counts("pkcs11_issuer_token_state", &state, 1.0)
        .await?;
    case.reconfigure(|all| {
        all["tokens"].as_object_mut().unwrap().remove("second");
    })?;
    has_reason(&case, &name, "TokenUnknown").await?;
    taken_up(&case, 2.0).await?;
    let metrics = case.controller.metrics().await?;
    assert!(
        !metrics.text().contains("token=\"second\",state"),
        "{}",
        metrics.text()
    );
    assert_eq!(case.logins()?, 1);
    Ok(())
}

#[tokio::test]
async fn a_token_that_is_replaced_under_load_loses_no_request() -> Result<()> {
    let mut case = Counted::start(&[], |_| {}).await?;
    case.is_ready_at(1).await?;
    let requests = case.cluster.requests("default").await?;
    for number in 0..40 {
        if number == 20 {
            case.reconfigure(|all| all["tokens"]["issuing"]["sessions"] = json!(1))?;
        }
        let name = format!("web-{number}");
        let spec = request_spec(&issuer(), &csr_for("web.example")?);
        requests.create(&name, spec).await?;
        requests.approve(&name).await?;
    }
    taken_up(&case, 1.0).await?;
    for number in 0..40 {
        requests.reaches(&format!("web-{number}"), "Issued").await?;
    }
    assert_eq!(case.logins()?, 2);
    Ok(())
}

#[tokio::test]
async fn a_reload_does_not_retry_a_wrong_pin() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pin = folder.path().join("pin");
    std::fs::write(&pin, "wrong")?;
    let mut case = Counted::start(&[], |all| {
        all["tokens"]["issuing"]["pinFile"] = json!(pin);
    })
    .await?;
    has_reason(&case, &issuer(), "LoginRefused").await?;
    let cluster_issuers = json!([{"clusterIssuers": true, "keys": ["issuing-*"]}]);
    case.reconfigure(|all| grants(all, cluster_issuers))?;
    taken_up(&case, 1.0).await?;
    // A token whose configuration changes gets a new worker; its PIN is still the rejected one.
    case.reconfigure(|all| all["tokens"]["issuing"]["sessions"] = json!(2))?;
    taken_up(&case, 2.0).await?;
    case.reconfigure(|all| {
        let token = all["tokens"].as_object_mut().unwrap().remove("issuing");
        all["tokens"]["renamed"] = token.unwrap();
    })?;
    taken_up(&case, 3.0).await?;
    has_reason(&case, &issuer(), "TokenUnknown").await?;
    let mut spec = case.authority.issuer_spec();
    spec["token"] = json!("renamed");
    case.cluster.apply_issuer(&issuer(), &spec).await?;
    has_reason(&case, &issuer(), "LoginRefused").await?;
    assert_eq!(case.logins()?, 1);
    Ok(())
}
