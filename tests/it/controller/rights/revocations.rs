//! Revocations that need every right that the chart gives for them.

use anyhow::Result;
use control_plane::until;
use rig::{IssuerName, PATIENCE, Rig};
use serde_json::json;

/// Has a Certificate renewed before its certificate is revoked, and deletes another one with its request, as
/// kube-controller-manager would.
pub(super) async fn revocations(rig: &Rig) -> Result<()> {
    let issuer = IssuerName::cluster("revoking");
    let mut spec = rig.authority().issuer_spec();
    spec["crl"] = json!({"validity": "24h", "onDelete": "Revoke"});
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    rig.cluster().issuer_is_ready(&issuer).await?;
    let requests = rig.cluster().requests("default").await?;
    let plane = rig.cluster().plane();
    for name in ["renewed", "deleted"] {
        let certificate = json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
            "metadata": {"namespace": "default", "name": name},
            "spec": {"secretName": name, "dnsNames": ["web.example"], "issuerRef": issuer.reference()},
        });
        rig.cluster().apply(&certificate).await?;
        let request = format!("{name}-1");
        until("cert-manager to make the request", PATIENCE, async || {
            let get = ["get", "certificaterequest", &request];
            Ok(plane.kubectl(&get).await.ok())
        })
        .await?;
        requests.approve(&request).await?;
        let certificate = format!("certificate/{name}");
        let ready = [
            "wait",
            "--for=condition=Ready",
            "--timeout=60s",
            &certificate,
        ];
        plane.kubectl(&ready).await?;
    }
    let revocation = json!({
        "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": "CertificateRevocation",
        "metadata": {"namespace": "default", "name": "renewed"},
        "spec": {
            "issuerRef": issuer.reference(), "certificateRequestRef": {"name": "renewed-1"},
            "reason": "Superseded", "renew": true,
        },
    });
    rig.cluster().apply(&revocation).await?;
    for object in ["certificate/deleted", "certificaterequest/deleted-1"] {
        plane.kubectl(&["delete", object]).await?;
    }
    Ok(())
}
