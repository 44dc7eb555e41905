//! Tests, on a real API server, which namespaces may use a cluster issuer.

use anyhow::Result;
use rig::{IssuerName, Requests, Rig, csr_for, request_spec, signing_request_spec};
use serde_json::{Value, json};

use super::shared_rig;

/// Creates a cluster issuer for namespaces with the label `pki: internal`.
async fn selective(rig: &Rig, name: &str) -> Result<IssuerName> {
    let issuer = IssuerName::cluster(name);
    let mut spec = rig.authority().issuer_spec();
    spec["namespaceSelector"] = json!({"matchLabels": {"pki": "internal"}});
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    rig.cluster().issuer_is_ready(&issuer).await?;
    Ok(issuer)
}

async fn namespace(rig: &Rig, name: &str, labels: &Value) -> Result<Requests> {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels},
    });
    rig.cluster().apply(&object).await?;
    rig.cluster().requests(name).await
}

async fn ask(requests: &Requests, name: &str, issuer: &IssuerName) -> Result<()> {
    let spec = request_spec(issuer, &csr_for("web.example")?);
    requests.create(name, spec).await?;
    requests.approve(name).await
}

#[tokio::test]
async fn a_cluster_issuer_serves_the_namespaces_that_its_selector_selects() -> Result<()> {
    let rig = shared_rig().await?;
    let issuer = selective(rig, "selective").await?;
    let inside = namespace(rig, "fence-inside", &json!({"pki": "internal"})).await?;
    ask(&inside, "web", &issuer).await?;
    inside.reaches("web", "Issued").await?;

    let outside = namespace(rig, "fence-outside", &json!({"pki": "external"})).await?;
    ask(&outside, "web", &issuer).await?;
    let refused = outside.reaches("web", "Failed").await?;
    let message = refused.ready().unwrap().message;
    assert!(message.starts_with("namespace-not-selected: "), "{message}");
    assert!(refused.failure_time().is_some());

    // The label takes effect at once.
    namespace(rig, "fence-outside", &json!({"pki": "internal"})).await?;
    ask(&outside, "again", &issuer).await?;
    outside.reaches("again", "Issued").await?;
    Ok(())
}

#[tokio::test]
async fn a_kubernetes_csr_belongs_to_the_namespace_of_the_service_account_that_made_it()
-> Result<()> {
    let rig = shared_rig().await?;
    let issuer = selective(rig, "selective-csr").await?;
    namespace(rig, "fence-account", &json!({"pki": "internal"})).await?;
    let spec = signing_request_spec(&issuer, &csr_for("web.example")?);
    let of_account = rig
        .cluster()
        .signing_requests("system:serviceaccount:fence-account:builder")
        .await?;
    of_account
        .create("fence-account", spec.clone(), json!({}))
        .await?;
    of_account.approve("fence-account").await?;
    of_account.is_issued("fence-account").await?;

    let of_nobody = rig.cluster().signing_requests("csr-maker").await?;
    of_nobody.create("fence-nobody", spec, json!({})).await?;
    of_nobody.approve("fence-nobody").await?;
    let failed = of_nobody
        .until("fence-nobody", |status| {
            status.condition("Failed").is_some()
        })
        .await?;
    let message = failed.condition("Failed").unwrap().message;
    assert!(message.starts_with("namespace-unknown: "), "{message}");
    Ok(())
}

#[tokio::test]
async fn an_invalid_selector_keeps_the_issuer_from_signing() -> Result<()> {
    let rig = shared_rig().await?;
    let issuer = IssuerName::cluster("selective-wrongly");
    let mut spec = rig.authority().issuer_spec();
    spec["namespaceSelector"] =
        json!({"matchExpressions": [{"key": "pki", "operator": "Resembles"}]});
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    let status = rig
        .cluster()
        .issuer_reaches(&issuer, |status| status.ready().is_some())
        .await?;
    assert_eq!(status.ready().unwrap().reason, "NamespaceSelectorInvalid");
    Ok(())
}
