//! Tests every row of the state machine of an external issuer on a real API server.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::until;
use rig::{IssuerName, PATIENCE, Requests, Rig, Status, csr_for, request_spec};
use serde_json::{Value, json};

use super::{
    TENANT, event_reasons, issuer, openssl_verifies, shared_rig, status_writes, status_writes_are,
};
use crate::whole::{condition, judged, lasting, with_status};

/// Creates a namespace for one test and returns its requests.
async fn in_namespace(namespace: &str) -> Result<(&'static Rig, Requests)> {
    let rig = shared_rig().await?;
    rig.cluster().create_namespace(namespace).await?;
    Ok((rig, rig.cluster().requests(namespace).await?))
}

fn spec(issuer: &IssuerName) -> Value {
    request_spec(issuer, &csr_for("web.example").unwrap())
}

/// Creates a request and waits until it is issued, so that the controller has certainly looked at all earlier requests.
async fn a_later_request_is_issued(requests: &Requests) -> Result<()> {
    requests.create("later", spec(&issuer())).await?;
    requests.approve("later").await?;
    requests.reaches("later", "Issued").await?;
    Ok(())
}

/// Creates a request without approval and returns it as it is stored.
async fn made(requests: &Requests, name: &str, spec: Value) -> Result<Value> {
    requests.create(name, spec).await?;
    stored(requests, name).await
}

async fn stored(requests: &Requests, name: &str) -> Result<Value> {
    Ok(serde_json::to_value(requests.get(name).await?)?)
}

/// Returns our condition with the transition time that the object has.
fn ready(object: &Value, status: &str, reason: &str, message: &str) -> Value {
    let time = &condition(object, "Ready")["lastTransitionTime"];
    let created = object["metadata"]["creationTimestamp"].as_str();
    assert!(time.as_str() >= created, "{time}");
    json!({
        "type": "Ready", "status": status, "reason": reason, "message": message, "lastTransitionTime": time,
    })
}

fn blocks(pem: &str) -> usize {
    pem.matches("-----BEGIN CERTIFICATE-----").count()
}

fn base64(text: &str) -> Value {
    STANDARD.encode(text.as_bytes()).into()
}

fn issued_chain(status: &Status) -> Result<(String, String)> {
    Ok((
        status.certificate().context("no certificate")?,
        status.ca().context("no ca")?,
    ))
}

#[tokio::test]
async fn an_approved_request_is_issued_by_one_status_write_and_one_event() -> Result<()> {
    let (rig, requests) = in_namespace("issued").await?;
    let before = made(&requests, "web", spec(&issuer())).await?;
    requests.approve("web").await?;
    let status = requests.reaches("web", "Issued").await?;
    let (chain, ca) = issued_chain(&status)?;
    assert_eq!(
        (blocks(&chain), blocks(&ca)),
        (2, 1),
        "the chain is the leaf and the issuing certificate; the root is separate"
    );
    assert_eq!(ca, rig.authority().root().pem());
    openssl_verifies(&chain, &ca)?;
    let signing = rig.controller().logged("signing", "issued", "web").await?;
    let serial = signing["serial"].as_str().context("no serial")?;
    let message = format!("Signed by {}, serial {serial}", issuer());
    let after = stored(&requests, "web").await?;
    let expected = json!({
        "conditions": [judged("Approved"), ready(&after, "True", "Issued", &message)],
        "certificate": base64(&chain), "ca": base64(&ca),
    });
    assert_eq!(lasting(&after), with_status(&before, expected));
    until("the Event", PATIENCE, async || {
        Ok((!event_reasons(rig, "issued", "web")?.is_empty()).then_some(()))
    })
    .await?;
    assert_eq!(event_reasons(rig, "issued", "web")?, ["Issued"]);
    status_writes_are(rig, "issued", "web", 1).await?;
    let metrics = rig.controller().metrics().await?;
    assert_eq!(metrics.sum("pkcs11_issuer_events_dropped_total", &[]), 0.0);
    assert!(metrics.sum("pkcs11_issuer_requests_total", &[("result", "issued")]) >= 1.0);
    assert!(metrics.sum("pkcs11_issuer_sign_seconds_count", &[("outcome", "signed")]) >= 1.0);
    Ok(())
}

#[tokio::test]
async fn the_issuance_log_has_each_step_of_a_request() -> Result<()> {
    let (rig, requests) = in_namespace("record").await?;
    let uid = requests.create("web", spec(&issuer())).await?;
    requests.approve("web").await?;
    requests.reaches("web", "Issued").await?;
    rig.controller()
        .logged("published", "record", "web")
        .await?;
    let lines = rig.controller().lines_of("record", "web")?;
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["signing", "signed", "published"]);
    for line in &lines {
        assert_eq!(line["request"]["uid"], uid);
        assert_eq!(line["requester"]["username"], "requester");
        assert_eq!(line["serial"], lines[0]["serial"]);
    }
    let signing = lines[0].as_object().unwrap();
    let fields: Vec<_> = signing.keys().map(String::as_str).collect();
    let expected = "approval ca csrSha256 event issuer issuerCertificateSha256 keyId names notAfter notBefore request \
        requester run seq serial subject tbsSha256 time token usages";
    assert_eq!(fields.join(" "), expected);
    assert_eq!(signing["token"]["name"], "issuing");
    assert_eq!(signing["token"]["label"], "issuing");
    assert_eq!(signing["issuer"]["name"], "issuing");
    assert_eq!(signing["issuer"]["generation"], 1);
    for hash in ["profileSha256", "grantSha256"] {
        assert_eq!(
            signing["issuer"][hash].as_str().map(str::len),
            Some(64),
            "{hash}"
        );
    }
    let all = rig.controller().issuance_log()?;
    let about = |event: &str| all.iter().find(|line| line["event"] == event);
    for event in ["configuration", "login", "issuer-ready"] {
        assert!(about(event).is_some(), "{event}");
    }
    assert_eq!(about("login").unwrap()["outcome"], "accepted");
    Ok(())
}

#[tokio::test]
async fn a_namespaced_issuer_signs_in_its_own_namespace() -> Result<()> {
    let rig = shared_rig().await?;
    let own = IssuerName::namespaced(TENANT, "own");
    rig.cluster()
        .apply_secret(TENANT, "own-ca", &rig.authority().chain())
        .await?;
    rig.cluster()
        .apply_issuer(&own, &rig.authority().issuer_spec_with_secret("own-ca"))
        .await?;
    rig.cluster().issuer_is_ready(&own).await?;
    let requests = rig.cluster().requests(TENANT).await?;
    requests.create("web", spec(&own)).await?;
    requests.approve("web").await?;
    let (chain, ca) = issued_chain(&requests.reaches("web", "Issued").await?)?;
    openssl_verifies(&chain, &ca)
}

#[tokio::test]
async fn a_namespaced_issuer_of_another_namespace_does_not_exist_for_a_request() -> Result<()> {
    let (_, requests) = in_namespace("elsewhere").await?;
    let theirs = spec(&IssuerName::namespaced(TENANT, "own"));
    let before = made(&requests, "web", theirs).await?;
    requests.approve("web").await?;
    requests.reaches("web", "Pending").await?;
    let after = stored(&requests, "web").await?;
    let message = "Waiting for PKCS11Issuer elsewhere/own to be created";
    let ready = ready(&after, "False", "Pending", message);
    let expected = json!({"conditions": [judged("Approved"), ready]});
    assert_eq!(lasting(&after), with_status(&before, expected));
    Ok(())
}

#[tokio::test]
async fn nothing_is_written_before_approval() -> Result<()> {
    let (rig, requests) = in_namespace("unapproved").await?;
    let web = made(&requests, "web", spec(&issuer())).await?;
    let lost = made(&requests, "lost", spec(&IssuerName::cluster("nobody"))).await?;
    a_later_request_is_issued(&requests).await?;
    for (name, before) in [("web", web), ("lost", lost)] {
        assert_eq!(status_writes(rig, "unapproved", name)?, 0);
        assert_eq!(event_reasons(rig, "unapproved", name)?, [""; 0]);
        assert_eq!(stored(&requests, name).await?, before);
    }
    // Only the metrics show undecided requests. Other tests on this cluster also leave some undecided.
    let metrics = rig.controller().metrics().await?;
    let shown = |name| metrics.sum(name, &[("kind", "CertificateRequest")]);
    assert!(shown("pkcs11_issuer_undecided_requests") >= 2.0);
    assert!(shown("pkcs11_issuer_undecided_requests_oldest_timestamp_seconds") > 1.7e9);
    Ok(())
}

#[tokio::test]
async fn a_denial_is_acknowledged_once_with_its_time_and_without_a_signature() -> Result<()> {
    let (rig, requests) = in_namespace("denied").await?;
    let before = made(&requests, "web", spec(&issuer())).await?;
    requests.deny("web").await?;
    requests.reaches("web", "Denied").await?;
    let after = stored(&requests, "web").await?;
    let message = "The CertificateRequest was denied by an approver";
    let ready = ready(&after, "False", "Denied", message);
    let time = ready["lastTransitionTime"].clone();
    let expected = json!({"conditions": [judged("Denied"), ready], "failureTime": time});
    assert_eq!(lasting(&after), with_status(&before, expected));
    a_later_request_is_issued(&requests).await?;
    assert_eq!(status_writes(rig, "denied", "web")?, 1);
    assert_eq!(
        rig.controller().lines_of("denied", "web")?,
        [Value::Null; 0]
    );
    Ok(())
}

#[tokio::test]
async fn a_request_that_no_profile_admits_fails_with_its_slug_and_time_in_one_write() -> Result<()>
{
    let (rig, requests) = in_namespace("refused").await?;
    let with = |changes: Value| {
        let mut spec = spec(&issuer());
        spec.as_object_mut()
            .unwrap()
            .extend(changes.as_object().unwrap().clone());
        spec
    };
    let cases = [
        ("ca", with(json!({"isCA": true})), "ca-not-allowed"),
        (
            "negative",
            with(json!({"duration": "-1h"})),
            "duration-invalid",
        ),
        ("zero", with(json!({"duration": "0s"})), "duration-invalid"),
        (
            "absurd",
            with(json!({"duration": "2562047h"})),
            "duration-too-long",
        ),
        (
            "long",
            with(json!({"duration": "10000h"})),
            "duration-too-long",
        ),
        (
            "usage",
            with(json!({"usages": ["code signing"]})),
            "usage-not-allowed",
        ),
    ];
    for (name, spec, slug) in cases {
        let before = made(&requests, name, spec).await?;
        requests.approve(name).await?;
        let status = requests.reaches(name, "Failed").await?;
        let message = status.ready().unwrap().message;
        assert!(
            message.starts_with(&format!("{slug}: ")),
            "{name}: {message}"
        );
        let after = stored(&requests, name).await?;
        let ready = ready(&after, "False", "Failed", &message);
        let time = ready["lastTransitionTime"].clone();
        let expected = json!({"conditions": [judged("Approved"), ready], "failureTime": time});
        assert_eq!(lasting(&after), with_status(&before, expected), "{name}");
        status_writes_are(rig, "refused", name, 1).await?;
        rig.controller().logged("refused", "refused", name).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_finished_request_is_left_alone() -> Result<()> {
    let (rig, requests) = in_namespace("finished").await?;
    let client = rig.cluster().plane().admin().await?;
    requests.create("invalid", spec(&issuer())).await?;
    let api = kube::Api::<kube::core::DynamicObject>::namespaced_with(
        client,
        "finished",
        &certificate_requests(),
    );
    let condition =
        json!({"type": "InvalidRequest", "status": "True", "reason": "test", "message": "test"});
    let patch = kube::api::Patch::Merge(json!({"status": {"conditions": [condition]}}));
    api.patch_status("invalid", &kube::api::PatchParams::default(), &patch)
        .await?;
    requests.approve("invalid").await?;
    let invalid = stored(&requests, "invalid").await?;
    a_later_request_is_issued(&requests).await?;
    assert_eq!(status_writes(rig, "finished", "invalid")?, 0);
    assert_eq!(stored(&requests, "invalid").await?, invalid);
    // Another client's change makes the controller look at an issued request again; it does not write to it.
    let patch = kube::api::Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
    let touched = api
        .patch("later", &kube::api::PatchParams::default(), &patch)
        .await?;
    requests.create("last", spec(&issuer())).await?;
    requests.approve("last").await?;
    requests.reaches("last", "Issued").await?;
    status_writes_are(rig, "finished", "later", 1).await?;
    assert_eq!(
        stored(&requests, "later").await?,
        serde_json::to_value(touched)?
    );
    Ok(())
}

fn certificate_requests() -> kube::api::ApiResource {
    kube::api::ApiResource::from_gvk(&kube::api::GroupVersionKind::gvk(
        "cert-manager.io",
        "v1",
        "CertificateRequest",
    ))
}

#[tokio::test]
async fn a_request_for_another_issuer_is_never_written_to() -> Result<()> {
    let (rig, requests) = in_namespace("foreign").await?;
    let foreign = |reference: Value| {
        let mut spec = spec(&issuer());
        spec["issuerRef"] = reference;
        spec
    };
    let cases = [
        (
            "theirs",
            foreign(
                json!({"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "issuing"}),
            ),
        ),
        (
            "other-kind",
            foreign(json!({"group": "pkcs11-issuer.dev", "kind": "Issuer", "name": "issuing"})),
        ),
        (
            "no-kind",
            foreign(json!({"group": "pkcs11-issuer.dev", "name": "issuing"})),
        ),
    ];
    for (name, spec) in &cases {
        requests.create(name, spec.clone()).await?;
    }
    // cert-manager's webhook refuses approval of a request that names a kind which does not exist.
    requests.approve("theirs").await?;
    // No other controller answers these requests.
    let mut before = Vec::new();
    for name in ["other-kind", "no-kind"] {
        before.push((name, stored(&requests, name).await?));
    }
    a_later_request_is_issued(&requests).await?;
    for (name, before) in before {
        assert_eq!(stored(&requests, name).await?, before, "{name}");
    }
    for (name, _) in &cases {
        assert_eq!(status_writes(rig, "foreign", name)?, 0, "{name}");
        assert_eq!(event_reasons(rig, "foreign", name)?, [""; 0], "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_request_waits_for_an_issuer_that_becomes_ready_later() -> Result<()> {
    let (rig, requests) = in_namespace("patient").await?;
    let late = IssuerName::cluster("late");
    let before = made(&requests, "web", spec(&late)).await?;
    requests.approve("web").await?;
    requests.reaches("web", "Pending").await?;
    let after = stored(&requests, "web").await?;
    let message = "Waiting for PKCS11ClusterIssuer late to be created";
    let ready = ready(&after, "False", "Pending", message);
    let expected = json!({"conditions": [judged("Approved"), ready]});
    assert_eq!(lasting(&after), with_status(&before, expected));
    rig.cluster()
        .apply_issuer(&late, &rig.authority().issuer_spec_with_secret("late-ca"))
        .await?;
    requests
        .until("web", |status| {
            status.ready().is_some_and(|ready| {
                ready
                    .message
                    .ends_with("its status says CertificateMissing")
            })
        })
        .await?;
    rig.cluster()
        .apply_secret(rig::NAMESPACE, "late-ca", &rig.authority().chain())
        .await?;
    requests.reaches("web", "Issued").await?;
    Ok(())
}
