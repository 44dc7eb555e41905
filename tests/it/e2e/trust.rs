//! trust-manager distributes the root from the Secret that the cluster issuer names.

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use k8s_openapi::api::core::v1::ConfigMap;
use rig::{IssuerName, PATIENCE};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind};

use super::{
    NAMESPACE, both, domain,
    issued::{Issued, verify},
    named,
    objects::Objects,
    stage::stage,
};

/// Returns a Bundle of these sources for the namespace of the tests.
fn bundle(name: &str, sources: Value) -> Value {
    json!({
        "apiVersion": "trust.cert-manager.io/v1alpha1",
        "kind": "Bundle",
        "metadata": {"name": name},
        "spec": {
            "sources": sources,
            "target": {
                "configMap": {"key": "ca.pem"},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            },
        },
    })
}

async fn distributed(objects: &Objects, name: &str) -> Result<String> {
    let maps = objects.known::<ConfigMap>(NAMESPACE);
    until(
        "trust-manager to write the ConfigMap",
        PATIENCE,
        async || {
            let map = maps.get_opt(name).await?;
            Ok(map.and_then(|map| map.data?.remove("ca.pem")))
        },
    )
    .await
}

fn blocks(pem: &str) -> usize {
    pem.matches("-----BEGIN CERTIFICATE-----").count()
}

#[tokio::test]
async fn trust_manager_distributes_the_root_out_of_the_issuers_secret() -> Result<()> {
    let rule = "trust_manager_distributes_the_root_out_of_the_issuers_secret";
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let secret = json!([{"secret": {"name": "issuing-ca", "key": "ca.crt"}}]);
    objects.create(bundle("issuing-root", secret)).await?;
    let root = distributed(&objects, "issuing-root").await?;
    ensure!(
        blocks(&root) == 1 && stage.root().trim() == root.trim(),
        "{root}"
    );
    for (kind, issuer) in both() {
        let name = named(rule, kind);
        let spec = json!({"dnsNames": [domain(rule)]});
        objects.create_certificate(&name, &issuer, spec).await?;
        let issued = Issued::wait(&objects, &name).await?;
        issued.verify(root.as_bytes())?;
    }
    Ok(())
}

/// While certificates under an old root are valid, trust-manager distributes both roots.
#[tokio::test]
async fn trust_manager_distributes_an_old_root_beside_the_new_one() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let old = stage.authority().root().pem();
    let sources = json!([{"secret": {"name": "issuing-ca", "key": "ca.crt"}}, {"inLine": old}]);
    objects.create(bundle("both-roots", sources)).await?;
    let roots = distributed(&objects, "both-roots").await?;
    ensure!(blocks(&roots) == 2, "{roots}");
    // Verify a chain under each root: the old issuing certificate, and the new one from the Secret.
    verify(
        stage.authority().issuing().pem().as_bytes(),
        roots.as_bytes(),
    )?;
    let secret = objects.secret(rig::NAMESPACE, "issuing-ca").await?;
    let data = secret.data.context("the Secret is empty")?;
    verify(
        &data.get("tls.crt").context("no tls.crt")?.0,
        roots.as_bytes(),
    )
}

/// During a rollover, the controller itself puts both roots into its ConfigMap, and trust-manager distributes them.
#[tokio::test]
async fn trust_manager_distributes_both_roots_of_a_rollover() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let issuer = IssuerName::cluster("rolling");
    let map = json!([{"configMap": {"name": "pkcs11-issuer-trust-rolling", "key": "ca.crt"}}]);
    let mut spec = stage.authority().issuer_spec();
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    stage.cluster().issuer_is_ready(&issuer).await?;
    objects.create(bundle("rolling-roots", map)).await?;
    let first = distributed(&objects, "rolling-roots").await?;
    ensure!(
        first.trim() == stage.authority().root().pem().trim(),
        "{first}"
    );

    let token = stage.authority().token();
    let root = token
        .generate_key("rolling-root", &[0x52], KeyKind::P256)?
        .self_signed(&CaProfile::named("Rolling root"))?;
    let key = token.generate_key("rolling", &[0x53], KeyKind::P256)?;
    let issuing = root.issue(&key, &CaProfile::named("Rolling"))?;
    let certificate = json!({"pem": issuing.pem(), "rootPem": root.pem()});
    spec["next"] = json!({"key": {"label": "rolling"}, "certificate": certificate});
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    let roots = until(
        "trust-manager to distribute both roots",
        PATIENCE,
        async || {
            let roots = distributed(&objects, "rolling-roots").await?;
            Ok((blocks(&roots) == 2).then_some(roots))
        },
    )
    .await?;
    for issuing in [stage.authority().issuing().pem(), issuing.pem()] {
        verify(issuing.as_bytes(), roots.as_bytes())?;
    }
    Ok(())
}
