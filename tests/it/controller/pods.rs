//! Tests PodCertificateRequests and ClusterTrustBundles on a real API server.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::until;
use jiff::Timestamp;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use rig::{IssuerName, PATIENCE, Rig};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use x509_parser::prelude::GeneralName;

use super::{TENANT, openssl_verifies, own_rig_with};
use crate::whole::lasting;

const KIND: &str = "podcertificaterequests.certificates.k8s.io";

/// A finalizer of another client, on every request of these tests.
const FINALIZER: &str = "example.com/hold";

fn labels() -> Value {
    json!({"example.com/team": "others"})
}

/// Returns a rig whose controller serves pods and publishes roots in every way.
pub(super) async fn rig() -> Result<&'static Rig> {
    static RIG: OnceCell<Rig> = OnceCell::const_new();
    let flags = [
        "--pod-certificate-requests",
        "--cluster-trust-bundles",
        "--trust-config-maps",
    ];
    let values = json!({
        "podCertificateRequests": true, "clusterTrustBundles": true, "trustConfigMaps": true,
    });
    RIG.get_or_try_init(async || own_rig_with(&flags, values.clone()).await)
        .await
}

pub(super) fn pods() -> Value {
    json!({
        "uris": ["spiffe://example.org/ns/{{namespace}}/sa/{{serviceAccount}}"],
        "dnsNames": ["{{pod}}.{{namespace}}.pod.example"],
    })
}

/// Creates an issuer that serves pods and waits until it is ready.
async fn serving(rig: &Rig, name: &str) -> Result<IssuerName> {
    let issuer = IssuerName::cluster(name);
    let mut spec = rig.authority().issuer_spec();
    spec["podCertificates"] = pods();
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    rig.cluster().issuer_is_ready(&issuer).await?;
    Ok(issuer)
}

/// Returns a CSR like kubelet's, which has only the key.
fn stub(key: &KeyPair) -> Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    Ok(STANDARD.encode(params.serialize_request(key)?.der()))
}

/// Creates a request as kubelet does for a pod of this namespace.
pub(super) async fn ask(
    rig: &Rig,
    namespace: &str,
    name: &str,
    signer: &str,
    more: Value,
) -> Result<()> {
    rig.cluster().create_namespace(namespace).await?;
    let metadata = json!({
        "namespace": namespace, "name": name, "labels": labels(), "finalizers": [FINALIZER],
    });
    rig.cluster().apply(&request(metadata, signer, more)?).await
}

/// Returns a request as kubelet creates it.
pub(crate) fn request(metadata: Value, signer: &str, more: Value) -> Result<Value> {
    let mut spec = json!({
        "signerName": signer,
        "podName": "web-0", "podUID": "3a1ba5b4-6f4f-4a1e-9d0c-1f5ff1f1a001",
        "serviceAccountName": "web", "serviceAccountUID": "3a1ba5b4-6f4f-4a1e-9d0c-1f5ff1f1a002",
        "nodeName": "one", "nodeUID": "3a1ba5b4-6f4f-4a1e-9d0c-1f5ff1f1a003",
        "maxExpirationSeconds": 7200,
        "stubPKCS10Request": stub(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)?,
    });
    let more = more.as_object().cloned().unwrap_or_default();
    spec.as_object_mut().context("an object")?.extend(more);
    Ok(json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "PodCertificateRequest",
        "metadata": metadata, "spec": spec,
    }))
}

/// Waits until the status has a condition and returns the status. Checks that the rest of the object is as [`ask`] created
/// it.
async fn answered(rig: &Rig, namespace: &str, name: &str) -> Result<Value> {
    let object = until("the request to be answered", PATIENCE, async || {
        let get = ["get", KIND, "-n", namespace, name, "-o", "json"];
        let object: Value = serde_json::from_str(&rig.cluster().plane().kubectl(&get).await?)?;
        let answered = object["status"]["conditions"][0]["type"].is_string();
        Ok(answered.then(|| lasting(&object)))
    })
    .await?;
    let metadata = &object["metadata"];
    let made = json!({
        "namespace": namespace, "name": name, "labels": labels(), "finalizers": [FINALIZER],
        "uid": metadata["uid"], "creationTimestamp": metadata["creationTimestamp"],
    });
    assert_eq!(*metadata, made);
    Ok(object["status"].clone())
}

/// Returns type, reason and message of the one condition. Checks that a status without a certificate has nothing else.
fn outcome(status: &Value) -> (&str, &str, &str) {
    let condition = &status["conditions"][0];
    let text = |field: &str| condition[field].as_str().unwrap_or_default();
    let (type_, reason, message) = (text("type"), text("reason"), text("message"));
    let mut whole = json!({"conditions": [{
        "type": type_, "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": condition["lastTransitionTime"],
    }]});
    if type_ == "Issued" {
        for field in [
            "certificateChain",
            "notBefore",
            "notAfter",
            "beginRefreshAt",
        ] {
            whole[field] = status[field].clone();
        }
    }
    assert_eq!(*status, whole);
    (type_, reason, message)
}

#[tokio::test]
async fn a_pod_gets_a_certificate_with_its_identity_in_one_status_write() -> Result<()> {
    let rig = rig().await?;
    let issuer = serving(rig, "pods-issued").await?;
    ask(rig, "pods-issued", "one", &issuer.signer_name(), json!({})).await?;
    let status = answered(rig, "pods-issued", "one").await?;
    assert_eq!(outcome(&status).0, "Issued", "{status}");
    let chain = status["certificateChain"].as_str().context("a chain")?;
    openssl_verifies(chain, &rig.authority().root().pem())?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes())?;
    let certificate = pem.parse_x509()?;
    assert_eq!(certificate.subject().iter().count(), 0);
    let names = certificate.subject_alternative_name()?.context("names")?;
    assert_eq!(
        names.value.general_names,
        [
            GeneralName::URI("spiffe://example.org/ns/pods-issued/sa/web"),
            GeneralName::DNSName("web-0.pods-issued.pod.example"),
        ]
    );
    let validity = certificate.validity();
    let lifetime = validity.not_after.timestamp() - validity.not_before.timestamp();
    assert_eq!(lifetime, 7200);
    for (field, seconds) in [
        ("notBefore", validity.not_before.timestamp()),
        ("notAfter", validity.not_after.timestamp()),
        (
            "beginRefreshAt",
            validity.not_before.timestamp() + lifetime * 2 / 3,
        ),
    ] {
        let time: Timestamp = status[field].as_str().context("a time")?.parse()?;
        assert_eq!(time.as_second(), seconds, "{field}");
    }
    let written = until("the write in the audit log", PATIENCE, async || {
        let log = rig.cluster().plane().audit_log()?.writes();
        let ours = log.by(rig::CONTROLLER).on(KIND).of("pods-issued", "one");
        Ok(Some(ours.succeeded().len()).filter(|count| *count > 0))
    });
    assert_eq!(written.await?, 1);
    Ok(())
}

#[tokio::test]
async fn a_pod_is_denied_by_an_issuer_without_pod_certificates_and_by_one_in_another_namespace()
-> Result<()> {
    let rig = rig().await?;
    let plain = super::issuer().signer_name();
    ask(rig, "pods-denied", "plain", &plain, json!({})).await?;
    let own = IssuerName::namespaced(TENANT, "pods-own");
    rig.cluster()
        .apply_secret(TENANT, "pods-own-ca", &rig.authority().chain())
        .await?;
    let mut spec = rig.authority().issuer_spec_with_secret("pods-own-ca");
    spec["podCertificates"] = pods();
    rig.cluster().apply_issuer(&own, &spec).await?;
    rig.cluster().issuer_is_ready(&own).await?;
    ask(
        rig,
        "pods-denied",
        "elsewhere",
        &own.signer_name(),
        json!({}),
    )
    .await?;
    for name in ["plain", "elsewhere"] {
        let status = answered(rig, "pods-denied", name).await?;
        let (type_, reason, message) = outcome(&status);
        assert_eq!((type_, reason), ("Denied", "NotServed"), "{name}: {status}");
        assert!(message.starts_with("pods-not-served: "), "{message}");
    }
    ask(rig, TENANT, "at-home", &own.signer_name(), json!({})).await?;
    assert_eq!(
        outcome(&answered(rig, TENANT, "at-home").await?).0,
        "Issued"
    );
    Ok(())
}

#[tokio::test]
async fn a_pod_request_that_the_issuer_does_not_allow_is_denied_with_the_reason_of_the_api()
-> Result<()> {
    let rig = rig().await?;
    let issuer = IssuerName::cluster("pods-strict");
    let mut spec = rig.authority().issuer_spec();
    spec["podCertificates"] = pods();
    spec["profile"] = json!({"keys": {"ed25519": false}});
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    rig.cluster().issuer_is_ready(&issuer).await?;
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let signer = issuer.signer_name();
    ask(
        rig,
        "pods-strict",
        "key",
        &signer,
        json!({"stubPKCS10Request": stub(&key)?}),
    )
    .await?;
    let status = answered(rig, "pods-strict", "key").await?;
    assert_eq!(outcome(&status).1, "UnsupportedKeyType", "{status}");
    let annotations = json!({"unverifiedUserAnnotations": {"example.com/a": "b"}});
    ask(rig, "pods-strict", "annotations", &signer, annotations).await?;
    let status = answered(rig, "pods-strict", "annotations").await?;
    let (type_, _, message) = outcome(&status);
    assert_eq!(type_, "Denied");
    assert!(message.starts_with("unknown-annotation: "), "{message}");
    Ok(())
}

#[tokio::test]
async fn the_trust_anchors_are_published_under_the_signer_name_and_rotation_keeps_the_old_ones()
-> Result<()> {
    let rig = rig().await?;
    let issuer = serving(rig, "pods-trust").await?;
    let name = format!("{}:trust-anchors", issuer.signer_name().replace('/', ":"));
    let bundle = async || -> Result<Value> {
        until("the trust bundle", PATIENCE, async || {
            let get = [
                "get",
                "clustertrustbundle",
                &name,
                "--ignore-not-found",
                "-o",
                "json",
            ];
            let text = rig.cluster().plane().kubectl(&get).await?;
            if text.is_empty() {
                return Ok(None);
            }
            Ok(Some(serde_json::from_str::<Value>(&text)?))
        })
        .await
    };
    let old = rig.authority().root().pem();
    let first = bundle().await?;
    assert_eq!(first["spec"]["signerName"], json!(issuer.signer_name()));
    assert_eq!(first["spec"]["trustBundle"], json!(old));

    // A new root above the same issuing certificate, as when a CA is re-rooted.
    let mut spec = rig.authority().issuer_spec();
    spec["podCertificates"] = pods();
    spec["ca"] = json!("Issuing");
    let pem = spec["certificate"]["pem"]
        .as_str()
        .context("a chain")?
        .to_owned();
    let issuing = pem
        .split_inclusive("-----END CERTIFICATE-----\n")
        .next()
        .context("a certificate")?;
    spec["certificate"] = json!({"pem": issuing});
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    until("both anchors", PATIENCE, async || {
        let text = bundle().await?["spec"]["trustBundle"]
            .as_str()
            .map(str::to_owned);
        let text = text.context("a bundle")?;
        Ok((text.contains(issuing.trim()) && text.contains(old.trim())).then_some(()))
    })
    .await?;
    let retiring = &bundle().await?["metadata"]["annotations"]["pkcs11-issuer.dev/retiring"];
    assert!(
        retiring.as_str().is_some_and(|text| text.contains("20")),
        "{retiring}"
    );
    Ok(())
}

#[tokio::test]
async fn the_anchors_of_a_deleted_issuer_retire() -> Result<()> {
    let rig = rig().await?;
    let issuer = serving(rig, "pods-gone").await?;
    let name = format!("{}:trust-anchors", issuer.signer_name().replace('/', ":"));
    let retiring = async || -> Result<Option<String>> {
        let path = "jsonpath={.metadata.annotations['pkcs11-issuer\\.dev/retiring']}";
        let get = [
            "get",
            "clustertrustbundle",
            &name,
            "--ignore-not-found",
            "-o",
            path,
        ];
        let text = rig.cluster().plane().kubectl(&get).await?;
        Ok((!text.is_empty()).then_some(text))
    };
    let first = until("the trust bundle", PATIENCE, retiring).await?;
    assert_eq!(first, "{}");
    let delete = ["delete", "pkcs11clusterissuer", "pods-gone"];
    rig.cluster().plane().kubectl(&delete).await?;
    until("the anchors to retire", PATIENCE, async || {
        Ok(retiring().await?.filter(|text| text != "{}").map(drop))
    })
    .await
}
