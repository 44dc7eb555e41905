//! Tests the garbage collection by kube-controller-manager.

use std::time::Duration;

use anyhow::{Result, ensure};
use control_plane::until;
use k8s_openapi::api::{
    certificates::v1::CertificateSigningRequest,
    core::v1::{Namespace, Secret},
};
use kube::api::{Patch, PatchParams};
use rig::{IssuerName, PATIENCE, csr_for, signing_request_spec};
use serde_json::json;

use super::{
    NAMESPACE, both, domain,
    issued::Issued,
    named,
    objects::{CERTIFICATE, Objects, REQUEST, certificate},
    stage::stage,
};

#[tokio::test]
async fn a_deleted_certificate_takes_its_requests_with_it_and_leaves_its_secret() -> Result<()> {
    let rule = "a_deleted_certificate_takes_its_requests_with_it_and_leaves_its_secret";
    let objects = Objects::new().await?;
    for (kind, issuer) in both() {
        let name = named(rule, kind);
        let spec = json!({"dnsNames": [domain(rule)]});
        objects.create_certificate(&name, &issuer, spec).await?;
        Issued::wait(&objects, &name).await?;
        ensure!(
            !objects.requests_of(&name).await?.is_empty(),
            "the Certificate has no request"
        );
        objects
            .delete(&objects.of(CERTIFICATE, NAMESPACE), &name)
            .await?;
        until("the request to be collected", PATIENCE, async || {
            Ok(objects.requests_of(&name).await?.is_empty().then_some(()))
        })
        .await?;
        objects.secret(NAMESPACE, &name).await?;
    }
    Ok(())
}

/// kube-controller-manager cleans at its start and then every hour, and deletes requests approved more than an hour ago.
#[tokio::test]
async fn a_signed_kubernetes_csr_is_garbage_collected_after_an_hour() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let requests = objects.known_of_cluster::<CertificateSigningRequest>();
    let [(_, issuer), _] = both();
    let long_ago = "2026-01-01T00:00:00Z";
    for (name, approved) in [
        ("signed-long-ago", Some(long_ago)),
        ("signed-just-now", None),
    ] {
        let spec = signing_request_spec(&issuer, &csr_for("web.e2e.example")?);
        let request = json!({
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": spec,
        });
        objects.create(request).await?;
        let approval = json!({
            "type": "Approved",
            "status": "True",
            "reason": "e2e",
            "message": "approved by the test",
            "lastUpdateTime": approved,
        });
        let patch = Patch::Merge(json!({"status": {"conditions": [approval]}}));
        requests
            .patch_approval(name, &PatchParams::default(), &patch)
            .await?;
        until("the request to be signed", PATIENCE, async || {
            let status = requests.get(name).await?.status;
            Ok(status.and_then(|status| status.certificate))
        })
        .await?;
    }
    let gone = async || {
        Ok(requests
            .get_opt("signed-long-ago")
            .await?
            .is_none()
            .then_some(()))
    };
    let process = stage.controller_manager().process();
    until("the request to be collected", PATIENCE, async || {
        // It may clean before it has the list of requests; it must then start again.
        process.restart()?;
        process.line("Starting CSR cleaner", PATIENCE).await?;
        let patience = Duration::from_secs(5);
        Ok(until("the request to be collected", patience, gone)
            .await
            .ok())
    })
    .await?;
    requests.get("signed-just-now").await?;
    Ok(())
}

/// Nothing of ours delays the deletion of a namespace: no finalizer, no request that must be answered first.
#[tokio::test]
async fn a_namespace_with_issued_and_waiting_requests_can_be_deleted() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let leaving = "leaving";
    stage.cluster().create_namespace(leaving).await?;
    let [(_, issuer), _] = both();
    let spec = || json!({"dnsNames": ["web.leaving.example"]});
    objects
        .create(certificate(leaving, "issued", &issuer, spec()))
        .await?;
    Issued::wait_in(&objects, leaving, "issued").await?;
    let nobody = IssuerName::cluster("nobody");
    objects
        .create(certificate(leaving, "waiting", &nobody, spec()))
        .await?;
    let pending = |request: &kube::api::DynamicObject| {
        super::objects::condition(request, "Ready")["reason"] == "Pending"
    };
    objects
        .until(&objects.of(REQUEST, leaving), "waiting-1", pending)
        .await?;

    let namespaces = objects.known_of_cluster::<Namespace>();
    namespaces.delete(leaving, &Default::default()).await?;
    until("the namespace to be gone", PATIENCE, async || {
        Ok(namespaces.get_opt(leaving).await?.is_none().then_some(()))
    })
    .await?;
    let secrets = objects
        .known::<Secret>(leaving)
        .list(&Default::default())
        .await?;
    ensure!(secrets.items.is_empty(), "a Secret is left");
    Ok(())
}
