//! Tests Kubernetes' own CertificateSigningRequests on a real API server.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::until;
use rig::{IssuerName, PATIENCE, Rig, SigningRequests, Status, csr_for, signing_request_spec};
use serde_json::{Value, json};

use super::{TENANT, issuer, openssl_verifies, shared_rig};
use crate::whole::{condition, judged, lasting, with_status};

const KIND: &str = "certificatesigningrequests.certificates.k8s.io";
const DURATION: &str = "experimental.cert-manager.io/request-duration";
const IS_CA: &str = "experimental.cert-manager.io/request-is-ca";

async fn of_user(user: &str) -> Result<(&'static Rig, SigningRequests)> {
    let rig = shared_rig().await?;
    Ok((rig, rig.cluster().signing_requests(user).await?))
}

fn spec(issuer: &IssuerName) -> Value {
    signing_request_spec(issuer, &csr_for("web.example").unwrap())
}

/// Creates a request without approval, with fields of other clients, and returns it as it is stored.
async fn made(
    requests: &SigningRequests,
    name: &str,
    spec: Value,
    annotations: Value,
) -> Result<Value> {
    requests.create(name, spec, annotations).await?;
    stored(requests, name).await
}

async fn stored(requests: &SigningRequests, name: &str) -> Result<Value> {
    Ok(serde_json::to_value(requests.get(name).await?)?)
}

/// Returns the approver's condition with the times that the API server set.
fn approved(object: &Value) -> Value {
    let mut approved = judged("Approved");
    for time in ["lastUpdateTime", "lastTransitionTime"] {
        approved[time] = condition(object, "Approved")[time].clone();
    }
    approved
}

fn status_writes(rig: &Rig, name: &str) -> Result<usize> {
    let log = rig.cluster().plane().audit_log()?;
    let ours = log.writes().by(rig::CONTROLLER).on(KIND);
    Ok(ours.of("", name).succeeded().len())
}

/// Waits for an Event about a request and returns the reasons of all.
async fn told(rig: &Rig, name: &str) -> Result<Vec<String>> {
    until("an Event about the request", PATIENCE, async || {
        let reasons = super::event_reasons(rig, "", name)?;
        Ok((!reasons.is_empty()).then_some(reasons))
    })
    .await
}

fn failed(status: &Status) -> (String, String) {
    let failed = status.condition("Failed").unwrap();
    (failed.reason, failed.message)
}

/// Creates a namespaced issuer of the tenant.
async fn tenants_issuer(rig: &Rig, name: &str) -> Result<IssuerName> {
    let own = IssuerName::namespaced(TENANT, name);
    let secret = format!("{name}-ca");
    rig.cluster()
        .apply_secret(TENANT, &secret, &rig.authority().chain())
        .await?;
    rig.cluster()
        .apply_issuer(&own, &rig.authority().issuer_spec_with_secret(&secret))
        .await?;
    rig.cluster().issuer_is_ready(&own).await?;
    Ok(own)
}

#[tokio::test]
async fn an_approved_kubernetes_csr_is_issued_by_one_status_write_and_one_event() -> Result<()> {
    let (rig, requests) = of_user("csr-maker").await?;
    let annotations = json!({DURATION: "5h", "example.com/note": "kept"});
    let before = made(&requests, "csr-issued", spec(&issuer()), annotations).await?;
    requests.approve("csr-issued").await?;
    let chain = requests.is_issued("csr-issued").await?;
    let after = stored(&requests, "csr-issued").await?;
    let certificate = STANDARD.encode(chain.as_bytes());
    let expected = json!({"conditions": [approved(&after)], "certificate": certificate});
    assert_eq!(lasting(&after), with_status(&before, expected));
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
    openssl_verifies(&chain, &rig.authority().root().pem())?;
    assert_eq!(told(rig, "csr-issued").await?, ["Issued"]);
    assert_eq!(status_writes(rig, "csr-issued")?, 1);
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_to_a_kubernetes_csr_that_is_unapproved_denied_or_for_another_signer()
-> Result<()> {
    let (rig, requests) = of_user("csr-maker").await?;
    let mut foreign = spec(&issuer());
    foreign["signerName"] = json!("example.com/other");
    requests
        .create("csr-open", spec(&issuer()), json!({}))
        .await?;
    requests
        .create("csr-denied", spec(&issuer()), json!({}))
        .await?;
    requests.create("csr-foreign", foreign, json!({})).await?;
    requests.deny("csr-denied").await?;
    requests.approve("csr-foreign").await?;
    let names = ["csr-open", "csr-denied", "csr-foreign"];
    let mut before = Vec::new();
    for name in names {
        before.push(stored(&requests, name).await?);
    }
    requests
        .create("csr-later", spec(&issuer()), json!({}))
        .await?;
    requests.approve("csr-later").await?;
    requests.is_issued("csr-later").await?;
    for (name, before) in names.into_iter().zip(before) {
        assert_eq!(stored(&requests, name).await?, before, "{name}");
        assert_eq!(status_writes(rig, name)?, 0, "{name}");
        assert_eq!(super::event_reasons(rig, "", name)?, [""; 0], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_namespaced_issuer_signs_for_users_who_may_reference_it_and_fails_the_others()
-> Result<()> {
    let (rig, strangers) = of_user("csr-stranger").await?;
    let own = tenants_issuer(rig, "csr-own").await?;
    strangers
        .create("csr-stranger", spec(&own), json!({}))
        .await?;
    strangers.approve("csr-stranger").await?;
    let status = strangers
        .until("csr-stranger", |status| {
            status.condition("Failed").is_some()
        })
        .await?;
    let (reason, message) = failed(&status);
    assert_eq!(reason, "DeniedReference");
    assert!(message.starts_with("reference-denied: "), "{message}");

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
        "metadata": {"namespace": TENANT, "name": "reference-csr-own"},
        "rules": [{"apiGroups": ["cert-manager.io"], "resources": ["signers"], "verbs": ["reference"], "resourceNames": ["csr-own"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"namespace": TENANT, "name": "reference-csr-own"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reference-csr-own"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "csr-friend"}],
    });
    rig.cluster().apply(&role).await?;
    rig.cluster().apply(&binding).await?;
    let friends = rig.cluster().signing_requests("csr-friend").await?;
    friends.create("csr-friend", spec(&own), json!({})).await?;
    friends.approve("csr-friend").await?;
    friends.is_issued("csr-friend").await?;
    Ok(())
}

#[tokio::test]
async fn annotation_and_expiration_seconds_set_the_duration_and_invalid_values_fail() -> Result<()>
{
    let (_, requests) = of_user("csr-maker").await?;
    let mut seconds = spec(&issuer());
    seconds["expirationSeconds"] = json!(7200);
    for (name, annotations, hours) in [
        ("csr-seconds", json!({}), 2),
        ("csr-annotation", json!({DURATION: "5h"}), 5),
    ] {
        requests.create(name, seconds.clone(), annotations).await?;
        requests.approve(name).await?;
        let chain = requests.is_issued(name).await?;
        assert_eq!(lifetime_hours(&chain)?, hours, "{name}");
    }
    for (name, text, expected) in [
        ("csr-soon", "soon", "ErrorParseDuration"),
        ("csr-zero", "0s", "InvalidDuration"),
        ("csr-negative", "-1h", "InvalidDuration"),
        ("csr-absurd", "2000000h", "InvalidDuration"),
    ] {
        requests
            .create(name, spec(&issuer()), json!({DURATION: text}))
            .await?;
        requests.approve(name).await?;
        let status = requests
            .until(name, |status| status.condition("Failed").is_some())
            .await?;
        assert_eq!(failed(&status).0, expected, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_refusal_fails_with_its_slug_and_is_counted() -> Result<()> {
    let (rig, requests) = of_user("csr-maker").await?;
    let annotations = json!({IS_CA: "true"});
    let before = made(&requests, "csr-ca", spec(&issuer()), annotations).await?;
    requests.approve("csr-ca").await?;
    let status = requests
        .until("csr-ca", |status| status.condition("Failed").is_some())
        .await?;
    let (reason, message) = failed(&status);
    assert_eq!(reason, "SigningError");
    assert!(message.starts_with("ca-not-allowed: "), "{message}");
    let after = stored(&requests, "csr-ca").await?;
    let time = condition(&after, "Failed")["lastTransitionTime"].clone();
    let failed = json!({
        "type": "Failed", "status": "True", "reason": reason, "message": message,
        "lastUpdateTime": time, "lastTransitionTime": time,
    });
    let expected = json!({"conditions": [approved(&after), failed]});
    assert_eq!(lasting(&after), with_status(&before, expected));
    assert_eq!(told(rig, "csr-ca").await?, ["Refused"]);
    Ok(())
}

#[tokio::test]
async fn a_missing_issuer_is_reported_once_and_the_csr_is_issued_when_it_appears() -> Result<()> {
    let (rig, requests) = of_user("csr-maker").await?;
    let late = IssuerName::cluster("csr-late");
    requests.create("csr-late", spec(&late), json!({})).await?;
    requests.approve("csr-late").await?;
    assert_eq!(told(rig, "csr-late").await?, ["IssuerNotFound"]);
    assert_eq!(status_writes(rig, "csr-late")?, 0);
    rig.cluster()
        .apply_issuer(&late, &rig.authority().issuer_spec())
        .await?;
    requests.is_issued("csr-late").await?;
    Ok(())
}

#[tokio::test]
async fn the_chain_ends_with_the_root_when_the_issuer_says_so() -> Result<()> {
    let (rig, requests) = of_user("csr-maker").await?;
    let rooted = IssuerName::cluster("csr-rooted");
    let mut spec_ = rig.authority().issuer_spec();
    spec_["appendRootToKubernetesCSR"] = json!(true);
    rig.cluster().apply_issuer(&rooted, &spec_).await?;
    rig.cluster().issuer_is_ready(&rooted).await?;
    requests
        .create("csr-rooted", spec(&rooted), json!({}))
        .await?;
    requests.approve("csr-rooted").await?;
    let chain = requests.is_issued("csr-rooted").await?;
    let root = rig.authority().root().pem();
    assert!(chain.ends_with(&root), "{chain}");
    assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 3);
    Ok(())
}

fn lifetime_hours(chain: &str) -> Result<i64> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes())
        .ok()
        .context("no PEM")?;
    let certificate = pem.parse_x509().ok().context("no certificate")?;
    let validity = certificate.validity();
    Ok((validity.not_after.timestamp() - validity.not_before.timestamp()) / 3600)
}
