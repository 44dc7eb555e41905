//! Tests cert-manager on the control plane.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::api::{Api, DynamicObject, GroupVersionKind, PostParams};
use kube::core::ApiResource;

use super::*;

const CONTROLLER: &str = "system:serviceaccount:cert-manager:cert-manager";

const LEAF: &str = r"
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: self-signed, namespace: default}
spec: {selfSigned: {}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: root, namespace: default}
spec:
  secretName: root
  commonName: root
  isCA: true
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: self-signed}
---
apiVersion: cert-manager.io/v1
kind: Issuer
metadata: {name: root, namespace: default}
spec: {ca: {secretName: root}}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: leaf, namespace: default}
spec:
  secretName: leaf
  dnsNames: [leaf.example]
  privateKey: {algorithm: ECDSA, size: 256}
  issuerRef: {name: root}
";

async fn wait_for_leaf(plane: &ControlPlane) -> Result<()> {
    plane
        .kubectl(&[
            "wait",
            "certificate/leaf",
            "--for=condition=Ready",
            "--timeout=60s",
            "-n",
            "default",
        ])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_leaf_is_issued_and_the_audit_log_shows_who_wrote_what() -> Result<()> {
    let plane = start().await?;
    let cert_manager = CertManager::start(&plane, CertManagerOptions::default()).await?;
    plane.apply(LEAF).await?;
    wait_for_leaf(&plane).await?;

    let log = plane.audit_log()?;
    let status = log
        .clone()
        .writes()
        .on("certificaterequests.cert-manager.io")
        .subresource("status");
    let published = status.succeeded().filter(|event| {
        let body = event.request_object.as_ref();
        event
            .object_ref
            .as_ref()
            .is_some_and(|object| object.name == "leaf-1")
            && body
                .and_then(|body| body.pointer("/status/certificate"))
                .is_some()
    });
    assert_eq!(published.len(), 1, "exactly one write has the certificate");
    assert_eq!(published.by(CONTROLLER).len(), 1);

    let secrets = log
        .clone()
        .writes()
        .on("secrets")
        .of("default", "leaf")
        .succeeded()
        .by(CONTROLLER);
    assert!(!secrets.is_empty());
    assert!(
        secrets
            .iter()
            .all(|event| event.request_object.is_none() && event.response_object.is_none())
    );

    // The chart's RBAC covers all objects. (The controllers also ask for a path that RBAC never grants.)
    for account in ["cert-manager", "cert-manager-webhook"] {
        let user = format!("system:serviceaccount:cert-manager:{account}");
        let refused = log
            .clone()
            .by(&user)
            .answered(403)
            .filter(|event| event.object_ref.is_some());
        assert!(refused.is_empty(), "{refused:#?}");
    }

    let ids = [cert_manager.controller().id(), cert_manager.webhook().id()];
    drop(cert_manager);
    assert!(
        ids.iter()
            .all(|id| !Path::new(&format!("/proc/{id}")).exists())
    );
    Ok(())
}

#[tokio::test]
async fn kubernetes_csrs_are_signed_when_their_feature_gate_is_on() -> Result<()> {
    let plane = start().await?;
    let options = CertManagerOptions {
        feature_gates: vec!["ExperimentalCertificateSigningRequestControllers=true".to_owned()],
        ..CertManagerOptions::default()
    };
    let _cert_manager = CertManager::start(&plane, options).await?;
    plane.apply(LEAF).await?;
    wait_for_leaf(&plane).await?;

    let params = rcgen::CertificateParams::new(vec!["csr.example".to_owned()])?;
    let csr = params
        .serialize_request(&rcgen::KeyPair::generate()?)?
        .pem()?;
    let request = serde_json::json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": "csr"},
        "spec": {
            "request": STANDARD.encode(csr.as_bytes()),
            "signerName": "issuers.cert-manager.io/default.root",
            "usages": ["digital signature", "server auth"],
        },
    });
    plane.apply(&request.to_string()).await?;
    plane.kubectl(&["certificate", "approve", "csr"]).await?;
    plane
        .kubectl(&[
            "wait",
            "csr/csr",
            "--for=jsonpath={.status.certificate}",
            "--timeout=60s",
        ])
        .await?;
    Ok(())
}

#[tokio::test]
async fn without_the_approver_nothing_is_approved() -> Result<()> {
    let plane = start().await?;
    let options = CertManagerOptions {
        approver: false,
        ..CertManagerOptions::default()
    };
    let _cert_manager = CertManager::start(&plane, options).await?;
    plane.apply(LEAF).await?;
    plane
        .kubectl(&[
            "wait",
            "certificaterequest/root-1",
            "--for=create",
            "--timeout=60s",
            "-n",
            "default",
        ])
        .await?;
    let may = [
        "auth",
        "can-i",
        "approve",
        "signers.cert-manager.io/issuers.cert-manager.io/*",
        "--as",
        CONTROLLER,
    ];
    // kubectl exits with an error for the answer "no".
    assert!(plane.kubectl(&may).await.is_err());
    let conditions = "jsonpath={.status.conditions[*].type}";
    let request = [
        "get",
        "certificaterequest/root-1",
        "-n",
        "default",
        "-o",
        conditions,
    ];
    assert!(!plane.kubectl(&request).await?.contains("Approved"));
    // Another client approves, and issuance continues.
    let approved = r#"{"status":{"conditions":[{"type":"Approved","status":"True","reason":"Test","message":"by hand"}]}}"#;
    let patch = [
        "patch",
        "certificaterequest/root-1",
        "-n",
        "default",
        "--subresource=status",
        "--type=merge",
        "-p",
        approved,
    ];
    plane.kubectl(&patch).await?;
    plane
        .kubectl(&[
            "wait",
            "certificate/root",
            "--for=condition=Ready",
            "--timeout=60s",
            "-n",
            "default",
        ])
        .await?;
    Ok(())
}

#[tokio::test]
async fn a_write_waits_for_a_frozen_webhook_and_fails_without_one() -> Result<()> {
    let plane = start().await?;
    let cert_manager = CertManager::start(&plane, CertManagerOptions::default()).await?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("cert-manager.io", "v1", "Issuer"));
    let issuers = Api::<DynamicObject>::namespaced_with(plane.admin().await?, "default", &kind);
    let issuer = |name: &str| {
        let mut issuer = DynamicObject::new(name, &kind);
        issuer.data = serde_json::json!({"spec": {"selfSigned": {}}});
        issuer
    };

    cert_manager.pause_webhook()?;
    let mut in_flight = tokio::spawn({
        let (issuers, issuer) = (issuers.clone(), issuer("in-flight"));
        async move { issuers.create(&PostParams::default(), &issuer).await }
    });
    // The frozen webhook does not answer, and the API server waits for it longer than ten seconds.
    tokio::time::timeout(Duration::from_millis(500), &mut in_flight)
        .await
        .unwrap_err();
    assert!(
        issuers.get_opt("in-flight").await?.is_none(),
        "reads do not pass through the webhook"
    );
    cert_manager.resume_webhook()?;
    in_flight.await??;
    assert!(issuers.get_opt("in-flight").await?.is_some());

    cert_manager.stop_webhook();
    let refused = issuers
        .create(&PostParams::default(), &issuer("refused"))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 500),
        "{refused:?}"
    );
    cert_manager.start_webhook().await?;
    issuers
        .create(&PostParams::default(), &issuer("refused"))
        .await?;
    Ok(())
}
