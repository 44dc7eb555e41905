//! Approval by cert-manager's own approver if RBAC lets it, by approver-policy, or by a person.

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use kube::api::DynamicObject;
use rig::{IssuerName, PATIENCE};
use serde_json::json;

use super::{
    issued::Issued,
    objects::{CERTIFICATE, Objects, REQUEST, certificate, condition},
    stage::{GUARDED, UNAPPROVED, stage},
    validations,
};

const CERT_MANAGER: &str = "system:serviceaccount:cert-manager:cert-manager";
/// The webhook's message to a user who may not approve.
const REFUSED: &str = "does not have permissions to set approved/denied conditions for issuer {unapproved PKCS11Issuer pkcs11-issuer.dev}";

/// The most frequent mistake with external issuers: the request gets no condition, and the reason is only in cert-manager's
/// log.
#[tokio::test]
async fn without_the_right_to_approve_a_request_has_no_condition_until_a_person_approves()
-> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let issuer = IssuerName::namespaced(UNAPPROVED, UNAPPROVED);
    let spec = json!({"dnsNames": ["web.unapproved.example"]});
    objects
        .create(certificate(UNAPPROVED, "web", &issuer, spec))
        .await?;
    let log = stage.cluster().cert_manager()?.controller();
    let line = log.line(REFUSED, PATIENCE).await?;
    ensure!(line.contains(CERT_MANAGER), "{line}");

    let request = objects.of(REQUEST, UNAPPROVED).get("web-1").await?;
    ensure!(
        request.data["status"]["conditions"].is_null(),
        "{}",
        request.data["status"]
    );
    let waiting = objects.of(CERTIFICATE, UNAPPROVED).get("web").await?;
    ensure!(
        condition(&waiting, "Ready")["reason"] == "DoesNotExist",
        "{}",
        waiting.data["status"]
    );

    let requests = stage.cluster().requests(UNAPPROVED).await?;
    requests.approve("web-1").await?;
    validations::all(&Issued::wait_in(&objects, UNAPPROVED, "web").await?, &[])
}

/// A policy for certificates from the issuer `guarded`, which applies to requests that cert-manager itself creates.
const POLICY: &str = r#"
apiVersion: policy.cert-manager.io/v1alpha1
kind: CertificateRequestPolicy
metadata: {name: guarded}
spec:
  allowed:
    dnsNames: {required: true, values: ["*.guarded.example"]}
    usages: [digital signature, key encipherment]
  selector:
    issuerRef: {group: pkcs11-issuer.dev, kind: PKCS11Issuer, name: guarded}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: use-policy, namespace: guarded}
rules:
- {apiGroups: [policy.cert-manager.io], resources: [certificaterequestpolicies], resourceNames: [guarded], verbs: [use]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: use-policy, namespace: guarded}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: use-policy}
subjects: [{kind: ServiceAccount, name: cert-manager, namespace: cert-manager}]
"#;

#[tokio::test]
async fn approver_policy_decides_who_gets_a_certificate() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    stage.plane().apply(POLICY).await?;
    let issuer = IssuerName::namespaced(GUARDED, GUARDED);
    for (name, host) in [
        ("allowed", "web.guarded.example"),
        ("denied", "web.other.example"),
    ] {
        let spec = json!({"dnsNames": [host]});
        objects
            .create(certificate(GUARDED, name, &issuer, spec))
            .await?;
    }
    let requests = objects.of(REQUEST, GUARDED);

    validations::all(&Issued::wait_in(&objects, GUARDED, "allowed").await?, &[])?;
    let allowed = requests.get("allowed-1").await?;
    ensure!(
        condition(&allowed, "Approved")["reason"] == "policy.cert-manager.io",
        "{}",
        allowed.data["status"]
    );

    // cert-manager creates new requests after its back-off, so check the Certificate instead of the request.
    let is_denied = |certificate: &DynamicObject| {
        condition(certificate, "Issuing")["reason"] == "policy.cert-manager.io"
    };
    let denied = objects
        .until(&objects.of(CERTIFICATE, GUARDED), "denied", is_denied)
        .await?;
    let message = condition(&denied, "Issuing")["message"]
        .as_str()
        .context("the condition has no message")?;
    ensure!(message.contains("web.other.example"), "{message}");
    let record = stage.controller().issuance_log()?;
    let signed = record.iter().filter(|line| {
        line["request"]["namespace"] == GUARDED
            && line["request"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("denied"))
    });
    ensure!(signed.count() == 0, "a denied request was signed");
    Ok(())
}

#[tokio::test]
async fn a_denied_request_says_so_with_the_time_of_its_failure() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let issuer = IssuerName::namespaced(UNAPPROVED, "denying");
    let spec = stage.authority().issuer_spec();
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    let spec = json!({"dnsNames": ["denied.unapproved.example"]});
    objects
        .create(certificate(UNAPPROVED, "denied", &issuer, spec))
        .await?;
    let requests = stage.cluster().requests(UNAPPROVED).await?;
    until("the request to be there", PATIENCE, async || {
        Ok(objects.of(REQUEST, UNAPPROVED).get_opt("denied-1").await?)
    })
    .await?;
    requests.deny("denied-1").await?;
    let status = requests.reaches("denied-1", "Denied").await?;
    ensure!(status.failure_time().is_some(), "{}", status.json());
    // cert-manager creates another request after its back-off, with the same name.
    let has_failed =
        |certificate: &DynamicObject| certificate.data["status"]["lastFailureTime"].is_string();
    objects
        .until(&objects.of(CERTIFICATE, UNAPPROVED), "denied", has_failed)
        .await?;
    Ok(())
}
