//! Tests Gateways and ListenerSets with cert-manager's annotations.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{
    NAMESPACE, both, domain,
    ingresses::{naming, with},
    issued::Issued,
    named,
    objects::{CERTIFICATE, Objects},
    stage::EXTRA_PROTOCOL,
    validations,
};

const API: &str = "gateway.networking.k8s.io/v1";

/// Returns a listener whose certificate is in the Secret of this name.
fn listener(name: &str, protocol: &str, port: u16, host: &str, secret: &str) -> Value {
    json!({
        "name": name,
        "protocol": protocol,
        "port": port,
        "hostname": host,
        "tls": {"mode": "Terminate", "certificateRefs": [{"group": "", "kind": "Secret", "name": secret}]},
    })
}

fn gateway(name: &str, annotations: &Value, listeners: &[Value]) -> Value {
    json!({
        "apiVersion": API,
        "kind": "Gateway",
        "metadata": {"namespace": NAMESPACE, "name": name, "annotations": annotations},
        "spec": {"gatewayClassName": "e2e", "listeners": listeners},
    })
}

#[tokio::test]
async fn a_gateway_may_set_every_option_of_its_certificate() -> Result<()> {
    let rule = "a_gateway_may_set_every_option_of_its_certificate";
    let objects = Objects::new().await?;
    for (kind, issuer) in both() {
        let (name, host) = (named(rule, kind), format!("{kind}.{}", domain(rule)));
        let more = json!({"common-name": host, "duration": "999h0m0s", "renew-before": "111h0m0s"});
        let annotations = with(naming(&issuer), more);
        let listeners = [listener("https", "HTTPS", 443, &host, &name)];
        objects
            .create(gateway(&name, &annotations, &listeners))
            .await?;
        let issued = Issued::wait(&objects, &name).await?;
        for (field, wanted) in [
            ("dnsNames", json!([host])),
            ("commonName", json!(host)),
            ("duration", json!("999h0m0s")),
            ("renewBefore", json!("111h0m0s")),
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

#[tokio::test]
async fn a_listener_that_the_gateway_says_to_ignore_gets_no_certificate() -> Result<()> {
    let rule = "a_listener_that_the_gateway_says_to_ignore_gets_no_certificate";
    let objects = Objects::new().await?;
    for (kind, issuer) in both() {
        let (name, host) = (named(rule, kind), format!("{kind}.{}", domain(rule)));
        let ignored = format!("{name}-ignored");
        let annotations = with(naming(&issuer), json!({"ignore-tls-listeners": "ignored"}));
        let listeners = [
            listener(
                "ignored",
                "HTTPS",
                444,
                &format!("ignored.{host}"),
                &ignored,
            ),
            listener("https", "HTTPS", 443, &host, &name),
        ];
        objects
            .create(gateway(&name, &annotations, &listeners))
            .await?;
        // cert-manager handles all listeners of a Gateway at once, so a Certificate for the ignored listener would exist by
        // now.
        validations::all(&Issued::wait(&objects, &name).await?, &[])?;
        let certificates = objects.of(CERTIFICATE, NAMESPACE);
        ensure!(
            certificates.get_opt(&ignored).await?.is_none(),
            "cert-manager created a Certificate"
        );
    }
    Ok(())
}

#[tokio::test]
async fn a_listener_of_an_extra_protocol_gets_a_certificate() -> Result<()> {
    let rule = "a_listener_of_an_extra_protocol_gets_a_certificate";
    let objects = Objects::new().await?;
    for (kind, issuer) in both() {
        let (name, host) = (named(rule, kind), format!("{kind}.{}", domain(rule)));
        let listeners = [listener("extra", EXTRA_PROTOCOL, 8443, &host, &name)];
        objects
            .create(gateway(&name, &naming(&issuer), &listeners))
            .await?;
        validations::all(&Issued::wait(&objects, &name).await?, &[])?;
    }
    Ok(())
}

#[tokio::test]
async fn a_listener_set_gets_certificates_of_its_own() -> Result<()> {
    let rule = "a_listener_set_gets_certificates_of_its_own";
    let objects = Objects::new().await?;
    for (kind, issuer) in both() {
        let (name, host) = (named(rule, kind), format!("{kind}.{}", domain(rule)));
        let listeners = [json!({"name": "http", "protocol": "HTTP", "port": 80})];
        let mut parent = gateway(&name, &json!({}), &listeners);
        parent["spec"]["allowedListeners"] = json!({"namespaces": {"from": "Same"}});
        objects.create(parent).await?;
        let set = json!({
            "apiVersion": API,
            "kind": "ListenerSet",
            "metadata": {"namespace": NAMESPACE, "name": name, "annotations": naming(&issuer)},
            "spec": {
                "parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name},
                "listeners": [listener("https", "HTTPS", 443, &host, &name)],
            },
        });
        objects.create(set).await?;
        validations::all(&Issued::wait(&objects, &name).await?, &[])?;
    }
    Ok(())
}
