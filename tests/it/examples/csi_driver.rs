//! Tests a pod with a volume of cert-manager's csi-driver. Neither the driver nor kubelet runs here: the test applies the
//! pod and creates the request as the driver does, from the volume's attributes and the pod on the API server.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_RSA_SHA256, SanType};
use rig::IssuerName;
use serde_json::{Value, json};

use super::{
    leaf::Leaf,
    stage::{SHOP, stage},
};
use crate::controller::openssl_verifies;

/// Returns an attribute of the driver's volume.
fn attribute(pod: &Value, name: &str) -> Result<String> {
    let volume = &pod["spec"]["volumes"][0]["csi"];
    anyhow::ensure!(volume["driver"] == "csi.cert-manager.io", "{volume}");
    let value = &volume["volumeAttributes"][format!("csi.cert-manager.io/{name}")];
    let mut value = value.as_str().with_context(|| name.to_owned())?.to_owned();
    for (variable, of_pod) in [
        ("POD_NAME", &pod["metadata"]["name"]),
        ("POD_NAMESPACE", &pod["metadata"]["namespace"]),
        ("POD_UID", &pod["metadata"]["uid"]),
        ("SERVICE_ACCOUNT_NAME", &pod["spec"]["serviceAccountName"]),
    ] {
        let text = of_pod.as_str().context("the pod has no such field")?;
        value = value.replace(&format!("${{{variable}}}"), text);
    }
    Ok(value)
}

/// Returns the request that the driver creates for a pod: RSA with 2048 bits, no subject, and the pod as its owner.
fn request(pod: &Value) -> Result<Value> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![
        SanType::DnsName(attribute(pod, "dns-names")?.try_into()?),
        SanType::URI(attribute(pod, "uri-sans")?.try_into()?),
    ];
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    let csr = params.serialize_request(&key)?.pem()?;
    let usages = attribute(pod, "key-usages")?;
    let usages: Vec<_> = usages.split(',').collect();
    Ok(json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "CertificateRequest",
        "metadata": {
            "name": "5d5b7d0c-4f5e-4d9a-8f0e-2f6f6f0c1a11",
            "namespace": pod["metadata"]["namespace"],
            "labels": {
                "csi.cert-manager.io/node-id-hash": "3046434529",
                "csi.cert-manager.io/volume-id-hash": "1766894087",
            },
            "ownerReferences": [{
                "apiVersion": "v1",
                "kind": "Pod",
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
            }],
        },
        "spec": {
            "duration": attribute(pod, "duration")?,
            "isCA": false,
            "issuerRef": {
                "group": attribute(pod, "issuer-group")?,
                "kind": attribute(pod, "issuer-kind")?,
                "name": attribute(pod, "issuer-name")?,
            },
            "request": STANDARD.encode(csr.as_bytes()),
            "usages": usages,
        },
    }))
}

#[tokio::test]
async fn a_pod_gets_the_certificate_that_csi_driver_asks_for() -> Result<()> {
    let stage = stage().await?;
    stage.apply("csi-driver.yaml").await?;
    let issuer = IssuerName::cluster("pods");
    stage.cluster().issuer_is_ready(&issuer).await?;
    let get = ["get", "pod", "web", "--namespace", SHOP, "-o", "json"];
    let pod = stage.cluster().plane().kubectl(&get).await?;
    let status = stage
        .ask(request(&serde_json::from_str(&pod)?)?, "Issued")
        .await?;
    // The driver takes the time of renewal from the first certificate of the chain, and writes both files to the volume.
    let chain = status.certificate().context("no certificate")?;
    openssl_verifies(&chain, &status.ca().context("no root")?)?;
    let leaf = Leaf::of(&chain)?;
    let wanted = [
        "web.shop.svc.cluster.local",
        "spiffe://cluster.local/ns/shop/sa/default",
    ];
    assert_eq!(leaf.names()?.0, wanted);
    assert_eq!(leaf.seconds()?, 86_400);
    Ok(())
}
