//! Tests the example with several tokens and tenants on SoftHSM.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use rig::{Cluster, IssuerName, NAMESPACE, Status, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind, Store, TestToken};

use super::{objects, stage::SHOP, text};
use crate::{
    chart::{merge, pod::Pod, release},
    controller::{openssl_verifies, programs},
};

const PAYMENTS: &str = "payments";

/// The cluster of the example with its two tokens and its root.
struct Tenants {
    _pod: Pod,
    cluster: Cluster,
    root: String,
    /// Held because the tokens exist only as long as this value.
    _token: TestToken,
}

impl Tenants {
    async fn start() -> Result<Self> {
        let cluster = release::without_approver().await?;
        for namespace in [SHOP, PAYMENTS] {
            cluster.create_namespace(namespace).await?;
        }

        let store = Store::new()?;
        let (shared, payments) = (store.make_token("shared")?, store.make_token(PAYMENTS)?);
        for (namespace, token) in [(NAMESPACE, &shared), (PAYMENTS, &payments)] {
            let pin = BTreeMap::from([("pin", token.user_pin().to_owned())]);
            cluster.apply_secret(namespace, "hsm-pin", &pin).await?;
        }
        let root = shared.generate_key("root", &[1], KeyKind::P256)?;
        let root = root.self_signed(&CaProfile::named("Tenants' root"))?;
        for (id, token, namespace, label) in [
            (2, &shared, NAMESPACE, "platform-ca"),
            (3, &shared, SHOP, "shop-ca"),
            (4, &payments, PAYMENTS, "payments-ca"),
        ] {
            let key = token.generate_key(label, &[id], KeyKind::P256)?;
            let certificate = root.issue(&key, &CaProfile::named(label).path_length(0))?;
            let chain = BTreeMap::from([("tls.crt", certificate.pem()), ("ca.crt", root.pem())]);
            cluster.apply_secret(namespace, label, &chain).await?;
        }

        let mut values = objects("tenants-values.yaml")?.remove(0);
        let library = json!({"path": store.module(), "env": store.env()});
        merge(&mut values, json!({"modules": {"hsm": library}}));
        release::install(&cluster, &values).await?;
        let pod = Pod::start(&cluster, &programs()?, "tenants").await?;
        cluster.plane().apply(&text("tenants.yaml")?).await?;
        Ok(Self {
            _pod: pod,
            cluster,
            root: root.pem(),
            _token: payments,
        })
    }

    /// Creates an approved request in a namespace and returns the issuer's answer.
    async fn answer(&self, issuer: &IssuerName, namespace: &str, host: &str) -> Result<Status> {
        let requests = self.cluster.requests(namespace).await?;
        let spec = request_spec(issuer, &csr_for(host)?);
        requests.create(host, spec).await?;
        requests.approve(host).await?;
        let answered = |status: &Status| {
            let ready = status.ready();
            ready.is_some_and(|ready| ["Issued", "Failed"].contains(&&*ready.reason))
        };
        requests.until(host, answered).await
    }

    /// Applies an issuer of the shop that names something that is not granted to the shop, and waits for the reason that it
    /// is not ready.
    async fn reaches_for(&self, name: &str, spec: Value, reason: &str) -> Result<()> {
        let thief = IssuerName::namespaced(SHOP, name);
        self.cluster.apply_issuer(&thief, &spec).await?;
        let told = |status: &Status| status.ready().is_some_and(|ready| ready.reason == reason);
        self.cluster.issuer_reaches(&thief, told).await?;
        Ok(())
    }
}

#[tokio::test]
async fn every_tenant_has_its_own_key_and_no_other() -> Result<()> {
    let tenants = Tenants::start().await?;
    let platform = IssuerName::cluster("platform");
    let shop = IssuerName::namespaced(SHOP, "shop");
    let payments = IssuerName::namespaced(PAYMENTS, "payments");
    for (issuer, namespace, host) in [
        (&platform, "default", "web.platform.example"),
        (&shop, SHOP, "web.shop.example"),
        (&payments, PAYMENTS, "web.payments.example"),
    ] {
        tenants.cluster.issuer_is_ready(issuer).await?;
        let status = tenants.answer(issuer, namespace, host).await?;
        let chain = status.certificate().context(status.json().to_string())?;
        openssl_verifies(&chain, &tenants.root)?;
    }

    let beyond = tenants.answer(&shop, SHOP, "web.payments.example").await?;
    let message = beyond.ready().context("no condition")?.message;
    assert!(message.starts_with("san-not-allowed"), "{message}");

    let certificate = json!({"secretRef": {"name": "shop-ca"}});
    let key = |label: &str| json!({"label": label});
    let platforms =
        json!({"token": "shared", "key": key("platform-ca"), "certificate": certificate});
    tenants
        .reaches_for("platforms-key", platforms, "KeyNotFound")
        .await?;
    let payments = json!({
        "token": "payments", "key": key("payments-ca"), "certificate": certificate,
        "pinSecretRef": {"name": "hsm-pin", "key": "pin"},
    });
    tenants
        .reaches_for("payments-token", payments, "NotGranted")
        .await
}
