//! Tests SoftHSM on a laptop. The stage is that example, so the pod's init container has created the token, and the worker
//! is the pod's sidecar.

use anyhow::{Context as _, Result};
use rig::{IssuerName, NAMESPACE, PATIENCE, csr_for, request_spec};
use serde_json::json;

use super::stage::{SHOP, in_secret, stage};

#[tokio::test]
async fn the_laptops_certificate_is_issued_by_softhsm_under_the_root_that_cert_manager_made()
-> Result<()> {
    let stage = stage().await?;
    let issued = stage.issued("default", "web-tls").await?;
    let root = in_secret(stage.cluster(), NAMESPACE, "root-ca").await?;
    assert_eq!(issued.root, root.chain);
    // Some versions of openssl write blanks around `=`.
    let shown = stage.shown.replace(" = ", "=");
    assert!(shown.contains("issuer=CN=Laptop issuing CA"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn the_command_on_the_page_of_events_shows_only_ours() -> Result<()> {
    const PAGE: &str = include_str!("../../../docs/events.md");
    let stage = stage().await?;
    let (_, command) = PAGE.split_once("$ kubectl get events ").context("none")?;
    let command = command.lines().next().unwrap_or_default();
    let words = format!("get events --no-headers {command}");
    let words: Vec<_> = words.split_whitespace().collect();
    let shown = control_plane::until("the Events of the laptop", PATIENCE, async || {
        let shown = stage.cluster().plane().kubectl(&words).await?;
        let tells = |words: [&str; 2]| {
            let told = |line: &str| words.iter().all(|word| line.contains(word));
            shown.lines().any(told)
        };
        let all = tells(["Ready", "pkcs11clusterissuer/issuing"])
            && tells(["Issued", "certificaterequest/web-1"]);
        Ok(all.then(|| shown.clone()))
    })
    .await?;
    assert!(!shown.contains("certificate/web"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn the_workloads_of_a_namespace_get_the_names_of_their_own_services() -> Result<()> {
    let stage = stage().await?;
    stage.apply("workloads-of-a-namespace.yaml").await?;
    let issuer = IssuerName::cluster("workloads");
    stage.cluster().issuer_is_ready(&issuer).await?;
    for (name, host, reason) in [
        ("own", "web.shop.svc", "Issued"),
        ("others", "web.payments.svc", "Failed"),
    ] {
        let request = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {"namespace": SHOP, "name": format!("workloads-{name}")},
            "spec": request_spec(&issuer, &csr_for(host)?),
        });
        stage.ask(request, reason).await?;
    }
    Ok(())
}
