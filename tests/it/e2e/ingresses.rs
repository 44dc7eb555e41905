//! Ingresses with cert-manager's annotations.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Event;
use rig::{IssuerName, PATIENCE};
use serde_json::{Value, json};

use super::{
    LIKE_THE_CA_ISSUER, NAMESPACE, both, domain,
    issued::Issued,
    named,
    objects::{CERTIFICATE, Objects},
    validations,
};

/// Returns the three annotations that name one of our issuers, of either kind.
pub(super) fn naming(issuer: &IssuerName) -> Value {
    let reference = issuer.reference();
    json!({
        "cert-manager.io/issuer": reference["name"],
        "cert-manager.io/issuer-kind": reference["kind"],
        "cert-manager.io/issuer-group": reference["group"],
    })
}

/// Returns `annotations` with `more` added.
pub(super) fn with(mut annotations: Value, more: Value) -> Value {
    for (key, value) in more.as_object().into_iter().flatten() {
        annotations[format!("cert-manager.io/{key}")] = value.clone();
    }
    annotations
}

fn ingress(name: &str, host: &str, annotations: Value) -> Value {
    let service = json!({"service": {"name": "web", "port": {"number": 80}}});
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"namespace": NAMESPACE, "name": name, "annotations": annotations},
        "spec": {
            "tls": [{"hosts": [host], "secretName": name}],
            "rules": [{
                "host": host,
                "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": service}]},
            }],
        },
    })
}

#[tokio::test]
async fn an_ingress_that_names_the_issuer_gets_a_certificate() -> Result<()> {
    let rule = "an_ingress_that_names_the_issuer_gets_a_certificate";
    let objects = Objects::new().await?;
    for (kind, issuer) in both() {
        let (name, host) = (named(rule, kind), format!("{kind}.{}", domain(rule)));
        objects
            .create(ingress(&name, &host, naming(&issuer)))
            .await?;
        let issued = Issued::wait(&objects, &name).await?;
        validations::all(&issued, &[])?;
        ensure!(
            issued.texts("dnsNames").contains(&host),
            "{:?}",
            issued.spec("dnsNames")
        );
    }
    Ok(())
}

#[tokio::test]
async fn an_ingress_may_set_every_option_of_its_certificate() -> Result<()> {
    let rule = "an_ingress_may_set_every_option_of_its_certificate";
    let objects = Objects::new().await?;
    for (kind, issuer) in both() {
        let (name, host) = (named(rule, kind), format!("{kind}.{}", domain(rule)));
        let annotations = with(
            naming(&issuer),
            json!({
                "common-name": host,
                "duration": "999h0m0s",
                "renew-before": "111h0m0s",
                "revision-history-limit": "7",
                "private-key-algorithm": "RSA",
                "private-key-encoding": "PKCS1",
                "private-key-size": "4096",
                "private-key-rotation-policy": "Always",
            }),
        );
        objects.create(ingress(&name, &host, annotations)).await?;
        let issued = Issued::wait(&objects, &name).await?;
        let key = json!({"algorithm": "RSA", "encoding": "PKCS1", "size": 4096, "rotationPolicy": "Always"});
        for (field, wanted) in [
            ("dnsNames", json!([host])),
            ("commonName", json!(host)),
            ("duration", json!("999h0m0s")),
            ("renewBefore", json!("111h0m0s")),
            ("revisionHistoryLimit", json!(7)),
            ("privateKey", key),
        ] {
            ensure!(
                *issued.spec(field) == wanted,
                "{field}: {}",
                issued.spec(field)
            );
        }
        validations::all(&issued, &[])?;
    }
    Ok(())
}

/// The annotation `cluster-issuer` works only for cert-manager's own kind.
#[tokio::test]
async fn an_ingress_with_our_kind_in_the_cluster_issuer_annotation_gets_an_event() -> Result<()> {
    let rule = "an_ingress_with_our_kind_in_the_cluster_issuer_annotation_gets_an_event";
    let objects = Objects::new().await?;
    let name = named(rule, "cluster");
    let annotations = json!({
        "cert-manager.io/cluster-issuer": LIKE_THE_CA_ISSUER,
        "cert-manager.io/issuer-kind": "PKCS11ClusterIssuer",
        "cert-manager.io/issuer-group": "pkcs11-issuer.dev",
    });
    objects
        .create(ingress(&name, &domain(rule), annotations))
        .await?;
    let events = objects.known::<Event>(NAMESPACE);
    let message = control_plane::until("an Event about the Ingress", PATIENCE, async || {
        let all = events.list(&Default::default()).await?;
        let about = all.items.into_iter().find(|event| {
            event.involved_object.name.as_deref() == Some(&name)
                && event.reason.as_deref() == Some("BadConfig")
        });
        Ok(about.and_then(|event| event.message))
    })
    .await?;
    ensure!(message.contains("cluster-issuer"), "{message}");
    ensure!(
        objects
            .of(CERTIFICATE, NAMESPACE)
            .get_opt(&name)
            .await?
            .is_none(),
        "cert-manager created a Certificate"
    );
    Ok(())
}
