//! A certification authority on a token: a root key and an issuing key, and what the root signed.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaCertificate, CaProfile, KeyKind, SoftwareKey, Store, TestToken};

/// Name of the token in the operator's configuration, and its label.
const TOKEN: &str = "issuing";
/// `CKA_LABEL` of the issuing key.
const ISSUING_KEY: &str = "issuing-ca";

/// A SoftHSM token of its own with two keys of one kind. The root key signed its own certificate and the issuing one,
/// both valid for a year; their subjects are `CN=Test root` and `CN=Test issuing`.
#[derive(Debug)]
pub struct Authority {
    token: TestToken,
    root: Arc<CaCertificate>,
    issuing: Arc<CaCertificate>,
}

impl Authority {
    /// Makes the token, the keys and the certificates.
    ///
    /// # Errors
    ///
    /// When SoftHSM is not installed or refuses.
    pub fn new(kind: KeyKind) -> Result<Self> {
        let token = Store::new()?.make_token(TOKEN)?;
        let root_key = token.generate_key("root-ca", &[1], kind)?;
        let issuing_key = token.generate_key(ISSUING_KEY, &[2], kind)?;
        let root = root_key.self_signed(&CaProfile::named("Test root"))?;
        let issuing = root.issue(
            &issuing_key,
            &CaProfile::named("Test issuing").path_length(0),
        )?;
        Ok(Self {
            token,
            root: Arc::new(root),
            issuing: Arc::new(issuing),
        })
    }

    /// The same certification authority once for each of several replicas: the one issuing key, on P-256, lies on a
    /// token of each, as when HSMs are copies of one another.
    ///
    /// # Errors
    ///
    /// As [`Authority::new`].
    pub fn copies(count: usize) -> Result<Vec<Self>> {
        let key = SoftwareKey::generate()?;
        let on = |token: TestToken| token.import_key(ISSUING_KEY, &[2], &key);
        let tokens = (0..count).map(|_| Ok(Store::new()?.make_token(TOKEN)?));
        let tokens = tokens.collect::<Result<Vec<_>>>()?;
        let first = tokens.first().context("no copy is asked for")?;
        let root = first
            .generate_key("root-ca", &[1], KeyKind::P256)?
            .self_signed(&CaProfile::named("Test root"))?;
        let keys = tokens
            .iter()
            .cloned()
            .map(on)
            .collect::<Result<Vec<_>, _>>()?;
        let first = keys.first().context("no copy is asked for")?;
        let issuing = root.issue(first, &CaProfile::named("Test issuing").path_length(0))?;
        let (root, issuing) = (Arc::new(root), Arc::new(issuing));
        let authorities = tokens.into_iter().map(|token| Self {
            token,
            root: Arc::clone(&root),
            issuing: Arc::clone(&issuing),
        });
        Ok(authorities.collect())
    }

    /// The token, for further keys, or to take it away.
    pub fn token(&self) -> &TestToken {
        &self.token
    }

    /// The root certificate, which can sign further ones.
    pub fn root(&self) -> &CaCertificate {
        &self.root
    }

    /// The issuing certificate, which can sign further ones.
    pub fn issuing(&self) -> &CaCertificate {
        &self.issuing
    }

    /// The operator's configuration for this token, `issuing` by name, with the PIN from its file and every key
    /// granted to cluster issuers and to the issuers of these namespaces.
    pub fn configuration(&self, namespaces: &[&str]) -> Value {
        let mut grants = vec![json!({"clusterIssuers": true, "keys": ["*"]})];
        if !namespaces.is_empty() {
            grants.push(json!({"namespaces": namespaces, "keys": ["*"]}));
        }
        json!({
            "modules": {"softhsm": {"path": self.token.module(), "env": self.token.env()}},
            "tokens": {TOKEN: {
                "module": "softhsm",
                "label": self.token.label(),
                "pinFile": self.token.pin_file(),
                "grants": grants,
            }},
        })
    }

    /// The `spec` of an issuer that signs with the issuing key and has the certificates inline.
    pub fn issuer_spec(&self) -> Value {
        self.spec(json!({"pem": self.issuing.pem(), "rootPem": self.root.pem()}))
    }

    /// The `spec` of an issuer that signs with the issuing key and has the certificates in a Secret with the content of
    /// [`Authority::chain`].
    pub fn issuer_spec_with_secret(&self, secret: &str) -> Value {
        self.spec(json!({"secretRef": {"name": secret}}))
    }

    /// The issuing certificate and the root, PEM, under the keys that an issuer looks for in a Secret or ConfigMap.
    pub fn chain(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("tls.crt", self.issuing.pem()), ("ca.crt", self.root.pem())])
    }

    fn spec(&self, certificate: Value) -> Value {
        json!({"token": TOKEN, "key": {"label": ISSUING_KEY}, "certificate": certificate})
    }
}
