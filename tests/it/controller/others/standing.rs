//! Tests the objects that the controller writes repeatedly: issuers, its Lease, the PIN record and trust bundles.

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rig::{IssuerName, NAMESPACE};
use serde_json::{Value, json};

use super::{
    Meanwhile, meddle, meddle_with_status, metadata, metadata_of_new,
    stage::{HERE, LATER, PIN_STATE, Stage, stage},
};
use crate::{
    controller::pods::pods,
    whole::{Ours, condition},
};

const ISSUER: Ours = Ours {
    fields: &[
        "/status/observedGeneration",
        "/status/installation",
        "/status/token",
        "/status/certificate",
        "/status/lastSignature",
        "/status/lifetimes",
        "/status/nextDue",
        "/status/key/algorithm",
        "/status/key/label",
        "/status/key/idHex",
        "/status/key/sensitive",
        "/status/key/extractable",
        "/status/key/neverExtractable",
        "/status/key/local",
    ],
    conditions: &["Ready", "CAExpiringSoon"],
};
const LEASE: Ours = Ours {
    fields: &["/spec/renewTime"],
    conditions: &[],
};
const RECORD: Ours = Ours {
    fields: &["/data/hmac-key", "/data/token.*"],
    conditions: &[],
};
const BUNDLE: Ours = Ours {
    fields: &[
        "/spec/trustBundle",
        "/metadata/annotations/pkcs11-issuer.dev~1retiring",
    ],
    conditions: &[],
};
/// A trust bundle that another client created under our signer name.
const ADOPTED_BUNDLE: Ours = Ours {
    fields: &[
        "/spec/trustBundle",
        "/metadata/annotations/pkcs11-issuer.dev~1retiring",
        "/metadata/labels/app.kubernetes.io~1managed-by",
        // The other client owned this field before; now the controller does.
        "/metadata/managedFields",
    ],
    conditions: &[],
};

#[tokio::test]
async fn writing_the_status_of_an_issuer_keeps_the_fields_of_others() -> Result<()> {
    let stage = stage().await?;
    for (name, meanwhile) in [("alone", Meanwhile::Nothing), ("met", Meanwhile::Unnoticed)] {
        let plural = "pkcs11clusterissuers";
        is_written_to(stage, &IssuerName::cluster(name), plural, name, meanwhile).await?;
        let issuer = IssuerName::namespaced(HERE, name);
        is_written_to(stage, &issuer, "pkcs11issuers", name, meanwhile).await?;
    }
    Ok(())
}

/// Removes the certificate of a ready issuer and restores it, which causes one status write each.
async fn is_written_to(
    stage: &Stage,
    issuer: &IssuerName,
    plural: &str,
    name: &str,
    meanwhile: Meanwhile,
) -> Result<()> {
    let (namespace, of_secret, scope) = match plural {
        "pkcs11issuers" => (Some(HERE), HERE, format!("namespaces/{HERE}/")),
        _ => (None, NAMESPACE, String::new()),
    };
    let secret = format!("others-{name}");
    let chain = stage.authority.chain();
    stage
        .cluster
        .apply_secret(of_secret, &secret, &chain)
        .await?;
    stage
        .cluster
        .apply(&json!({
            "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": issuer.kind(),
            "metadata": metadata_of_new(namespace, name),
            "spec": stage.authority.issuer_spec_with_secret(&secret),
        }))
        .await?;
    stage.cluster.issuer_is_ready(issuer).await?;
    let kind = format!("{plural}.pkcs11-issuer.dev");
    stage.audit(&kind, name).await?;
    let path = format!("/apis/pkcs11-issuer.dev/v1alpha1/{scope}{plural}/{name}");
    let mut edit = meanwhile.edit(meddle_with_status);
    for (secret, status) in [("nowhere", "False"), (&secret, "True")] {
        stage.between.watch(&path, edit.take());
        let spec = json!({"certificate": {"secretRef": {"name": secret}}});
        stage.patch(&kind, name, &json!({"spec": spec})).await?;
        let writes = stage.between.writes(&path).await?;
        let write = meanwhile.check(&writes, ISSUER).context(path.clone())?;
        assert_eq!(condition(&write.after, "Ready")["status"], status);
        assert!(write.after["status"]["key"][LATER].is_object());
    }
    Ok(())
}

#[tokio::test]
async fn renewing_a_lease_keeps_the_fields_of_others() -> Result<()> {
    let stage = stage().await?;
    let name = "pkcs11-issuer-pkcs11-issuer";
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{name}");
    let mut changed = metadata();
    changed["generateName"] = json!("others-");
    let patch = json!({"metadata": changed}).to_string();
    let words = [
        "patch",
        "lease",
        name,
        "-n",
        NAMESPACE,
        "--type=merge",
        "-p",
        &patch,
    ];
    stage.cluster.plane().kubectl(&words).await?;
    // Skip the renewal that conflicts with this change.
    stage.between.watch(&path, None);
    stage.between.writes(&path).await?;

    stage.between.watch(&path, None);
    let writes = stage.between.writes(&path).await?;
    Meanwhile::Nothing.check(&writes, LEASE)?;

    stage.between.watch(&path, Some(Box::new(meddle)));
    let writes = stage.between.writes(&path).await?;
    Meanwhile::Noticed.check(&writes, LEASE)?;
    Ok(())
}

#[tokio::test]
async fn writing_the_pin_record_keeps_the_fields_of_others() -> Result<()> {
    let stage = stage().await?;
    let writes = stage.between.writes(PIN_STATE).await?;
    let write = Meanwhile::Noticed.check(&writes, RECORD)?;
    assert_eq!(write.after["data"]["of-others"], "b3RoZXJz");
    let last = writes.last().context("no write")?.after["data"].clone();
    let records = last.as_object().context("no data")?;
    assert!(
        records.keys().any(|key| key.starts_with("token.")),
        "{records:?}"
    );
    Ok(())
}

/// Applies a cluster issuer that serves pods, with the root or the issuing certificate as its trust anchor. Another value of
/// `hours` changes the issuer, so that the controller looks at it.
async fn serves_pods(stage: &Stage, name: &str, rooted: bool, hours: u8) -> Result<()> {
    let mut spec = stage.authority.issuer_spec();
    spec["podCertificates"] = pods();
    spec["maxPending"] = json!(format!("{hours}h"));
    if !rooted {
        spec["ca"] = json!("Issuing");
        spec["certificate"] = json!({"pem": stage.authority.issuing().pem()});
    }
    let issuer = IssuerName::cluster(name);
    stage.cluster.apply_issuer(&issuer, &spec).await
}

/// Returns the path and the name of the trust bundle of a cluster issuer.
fn bundle(name: &str) -> (String, String) {
    let signer = IssuerName::cluster(name).signer_name();
    let bundle = format!("{}:trust-anchors", signer.replace('/', ":"));
    let path = format!("/apis/certificates.k8s.io/v1/clustertrustbundles/{bundle}");
    (path, bundle)
}

#[tokio::test]
async fn publishing_trust_anchors_keeps_the_fields_of_others() -> Result<()> {
    let stage = stage().await?;
    let issuer = "anchors";
    let (path, name) = bundle(issuer);
    stage.between.watch(&path, None);
    serves_pods(stage, issuer, true, 1).await?;
    stage.between.writes(&path).await?;
    let patch = json!({"metadata": metadata()});
    stage.patch("clustertrustbundle", &name, &patch).await?;

    stage.between.watch(&path, None);
    serves_pods(stage, issuer, false, 1).await?;
    let writes = stage.between.writes(&path).await?;
    Meanwhile::Nothing.check(&writes, BUNDLE)?;

    stage.between.watch(&path, Some(Box::new(meddle)));
    serves_pods(stage, issuer, true, 1).await?;
    stage.between.tried(&path).await?;
    serves_pods(stage, issuer, true, 2).await?;
    let writes = stage.between.writes(&path).await?;
    Meanwhile::Noticed.check(&writes, BUNDLE)?;
    Ok(())
}

#[tokio::test]
async fn a_trust_bundle_that_somebody_else_creates_first_keeps_its_anchors() -> Result<()> {
    let stage = stage().await?;
    let issuer = "anchors-of-others";
    let (path, name) = bundle(issuer);
    let key = KeyPair::generate()?;
    let mut theirs = CertificateParams::new([])?;
    theirs.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let theirs = theirs.self_signed(&key)?.pem();
    let mut metadata = metadata();
    metadata["name"] = json!(name);
    metadata["labels"]["example.com/meanwhile"] = json!("yes");
    let first = json!({
        "apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", "metadata": metadata,
        "spec": {"signerName": IssuerName::cluster(issuer).signer_name(), "trustBundle": theirs},
    });
    stage
        .between
        .watch(&path, Some(Box::new(move |_: &Value| first)));
    serves_pods(stage, issuer, true, 1).await?;
    stage.between.tried(&path).await?;
    serves_pods(stage, issuer, true, 2).await?;
    let writes = stage.between.writes(&path).await?;
    let write = Meanwhile::Noticed.check(&writes, ADOPTED_BUNDLE)?;
    let anchors = write.after["spec"]["trustBundle"].as_str();
    let anchors = anchors.context("no anchors")?.replace('\n', "");
    for anchor in [theirs, stage.authority.root().pem()] {
        assert!(
            anchors.contains(&anchor.replace(['\r', '\n'], "")),
            "{anchors}"
        );
    }
    Ok(())
}
