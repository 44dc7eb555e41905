//! Tests Istio with istio-csr. Neither runs here: the tests create requests as istio-csr does, and the Certificate of
//! istiod, which cert-manager serves, as in istio-csr's chart.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, KeyPair,
    PKCS_RSA_SHA256,
};
use rig::{IssuerName, Status};
use serde_json::{Value, json};

use super::{
    leaf::Leaf,
    stage::{ISTIO, SHOP, Stage, issuer, stage},
};
use crate::controller::openssl_verifies;

/// Tags of GeneralName: 6 is a URI, 2 is a DNS name.
const URI: u8 = 0x86;
const DNS: u8 = 0x82;
const WORKLOAD: &str = "spiffe://cluster.local/ns/shop/sa/default";
const SERVING: &str = "cert-manager-istio-csr.istio-system.svc";

/// Applies the example and waits until its issuer is ready.
async fn istio(stage: &Stage) -> Result<IssuerName> {
    stage.apply("istio.yaml").await?;
    let issuer = IssuerName::cluster("istio");
    stage.cluster().issuer_is_ready(&issuer).await?;
    Ok(issuer)
}

/// Returns a CSR like those of Istio's agents and istio-csr: RSA with 2048 bits, an empty organization, and one critical
/// name.
fn csr(tag: u8, name: &str) -> Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let nothing = DnValue::PrintableString("".try_into()?);
    params
        .distinguished_name
        .push(DnType::OrganizationName, nothing);
    let length = u8::try_from(name.len())?;
    let octets = [&[0x30, length + 2, tag, length], name.as_bytes()].concat();
    let mut names = CustomExtension::from_oid_content(&[2, 5, 29, 17], octets);
    names.set_criticality(true);
    params.custom_extensions = vec![names];
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    Ok(params.serialize_request(&key)?.pem()?)
}

/// Returns the request that istio-csr creates for a CSR.
fn request(
    issuer: &IssuerName,
    namespace: &str,
    csr: &str,
    identity: &str,
    usages: Value,
) -> Value {
    json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "CertificateRequest",
        "metadata": {
            "generateName": "istio-csr-",
            "namespace": namespace,
            "annotations": {"istio.cert-manager.io/identities": identity},
        },
        "spec": {
            "duration": "1h0m0s",
            "isCA": false,
            "issuerRef": issuer.reference(),
            "request": STANDARD.encode(csr.as_bytes()),
            "usages": usages,
        },
    })
}

/// Checks what istio-csr, Envoy and SPIFFE check.
fn fits(status: &Status, name: &str) -> Result<()> {
    let chain = status.certificate().context("no certificate")?;
    let root = status.ca().context("no root")?;
    openssl_verifies(&chain, &root)?;
    let leaf = Leaf::of(&chain)?;
    assert_eq!(leaf.names()?, (vec![name.to_owned()], true));
    assert_eq!(leaf.certificate()?.subject().iter().count(), 0);
    assert_eq!(leaf.seconds()?, 3600);
    let root = Leaf::of(&root)?;
    let root = root.certificate()?;
    assert_eq!(root.subject(), root.issuer(), "status.ca must be a root");
    Ok(())
}

#[tokio::test]
async fn a_workload_gets_the_certificate_that_istio_csr_asks_for() -> Result<()> {
    let stage = stage().await?;
    let issuer = istio(stage).await?;
    let usages = json!(["client auth", "server auth"]);
    let asked = request(&issuer, ISTIO, &csr(URI, WORKLOAD)?, WORKLOAD, usages);
    let status = stage.ask(asked, "Issued").await?;
    fits(&status, WORKLOAD)?;
    let leaf = Leaf::of(&status.certificate().context("no certificate")?)?;
    let leaf = leaf.certificate()?;
    let purposes = leaf.extended_key_usage()?.context("no purposes")?.value;
    assert!(purposes.client_auth && purposes.server_auth);
    Ok(())
}

#[tokio::test]
async fn istio_csr_gets_its_own_certificate_and_istiod_gets_one_from_cert_manager() -> Result<()> {
    let stage = stage().await?;
    let issuer = istio(stage).await?;
    let usages = json!(["server auth"]);
    let asked = request(
        &issuer,
        ISTIO,
        &csr(DNS, SERVING)?,
        "istio-csr-serving",
        usages,
    );
    fits(&stage.ask(asked, "Issued").await?, SERVING)?;

    let istiod = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "istiod", "namespace": ISTIO},
        "spec": {
            "commonName": "istiod.istio-system.svc",
            "dnsNames": ["istiod.istio-system.svc"],
            "uris": ["spiffe://cluster.local/ns/istio-system/sa/istiod-service-account"],
            "secretName": "istiod-tls",
            "duration": "1h",
            "renewBefore": "30m",
            "privateKey": {"rotationPolicy": "Always", "algorithm": "RSA", "size": 2048},
            "revisionHistoryLimit": 1,
            "issuerRef": issuer.reference(),
        },
    });
    stage.cluster().apply(&istiod).await?;
    stage.issued(ISTIO, "istiod-tls").await?;
    Ok(())
}

#[tokio::test]
async fn only_istio_csr_may_name_workloads_and_a_default_profile_refuses_the_csrs_of_istio()
-> Result<()> {
    let stage = stage().await?;
    let istio = istio(stage).await?;
    for (issuer, namespace, slug) in [
        (&istio, SHOP, "namespace-not-selected"),
        (&issuer(), ISTIO, "bad-subject"),
    ] {
        let usages = json!(["client auth", "server auth"]);
        let asked = request(issuer, namespace, &csr(URI, WORKLOAD)?, WORKLOAD, usages);
        let refused = stage.ask(asked, "Failed").await?;
        let message = refused.ready().context("no condition")?.message;
        assert!(message.starts_with(slug), "{message}");
    }
    Ok(())
}
