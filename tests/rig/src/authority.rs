//! A certification authority on a token: a root key, an issuing key and the certificates that the root signed.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaCertificate, CaProfile, KeyKind, SoftwareKey, Store, TestToken};

/// Name of the token in the operator's configuration, and its label.
const TOKEN: &str = "issuing";
/// `CKA_LABEL` of the issuing key.
const ISSUING_KEY: &str = "issuing-ca";
/// `CKA_LABEL` and `CKA_ID` of the key that signs checkpoints of the issuance log.
const CHECKPOINT_KEY: (&str, &[u8]) = ("audit", &[9]);

/// A SoftHSM token with a root key and an issuing key of the same kind. The root key signed its own certificate and the
/// issuing certificate, both valid for a year. Their subjects are `CN=Test root` and `CN=Test issuing`.
#[derive(Debug)]
pub struct Authority {
    token: TestToken,
    root: Arc<CaCertificate>,
    issuing: Arc<CaCertificate>,
}

impl Authority {
    /// Creates the token, the keys and the certificates.
    ///
    /// # Errors
    ///
    /// When SoftHSM is not installed or returns an error.
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

    /// Creates the same certification authority for each of several replicas: each has a token with a copy of the one P-256
    /// issuing key, and of the one P-256 key for checkpoints, as when HSMs are copies of one another.
    ///
    /// # Errors
    ///
    /// As [`Authority::new`].
    pub fn copies(count: usize) -> Result<Vec<Self>> {
        let key = SoftwareKey::generate()?;
        let on = |token: TestToken| token.import_key(ISSUING_KEY, &[2], &key);
        let tokens = (0..count).map(|_| Ok(Store::new()?.make_token(TOKEN)?));
        let tokens = tokens.collect::<Result<Vec<_>>>()?;
        let (label, id) = CHECKPOINT_KEY;
        let checkpoint_key = SoftwareKey::generate()?;
        for token in &tokens {
            token.import_key(label, id, &checkpoint_key)?;
        }
        let first = tokens.first().context("count must be at least 1")?;
        let root = first
            .generate_key("root-ca", &[1], KeyKind::P256)?
            .self_signed(&CaProfile::named("Test root"))?;
        let keys = tokens
            .iter()
            .cloned()
            .map(on)
            .collect::<Result<Vec<_>, _>>()?;
        let first = keys.first().context("count must be at least 1")?;
        let issuing = root.issue(first, &CaProfile::named("Test issuing").path_length(0))?;
        let (root, issuing) = (Arc::new(root), Arc::new(issuing));
        let authorities = tokens.into_iter().map(|token| Self {
            token,
            root: Arc::clone(&root),
            issuing: Arc::clone(&issuing),
        });
        Ok(authorities.collect())
    }

    /// Returns the token, to add keys to it or to take it away.
    pub fn token(&self) -> &TestToken {
        &self.token
    }

    /// Returns the root certificate, which can sign further certificates.
    pub fn root(&self) -> &CaCertificate {
        &self.root
    }

    /// Returns the issuing certificate, which can sign further certificates.
    pub fn issuing(&self) -> &CaCertificate {
        &self.issuing
    }

    /// Returns the operator's configuration for this token, which it names `issuing`. The PIN is in a file, and every key is
    /// granted to cluster issuers and to the issuers of these namespaces.
    pub fn configuration(&self, namespaces: &[&str]) -> Value {
        self.configuration_of(namespaces, &["*"])
    }

    /// Generates the key for checkpoints on the token.
    ///
    /// # Errors
    ///
    /// When the token refuses.
    pub fn generate_checkpoint_key(&self, kind: KeyKind) -> Result<()> {
        let (label, id) = CHECKPOINT_KEY;
        self.token.generate_key(label, id, kind)?;
        Ok(())
    }

    /// Returns the same as [`Authority::configuration`], with checkpoints that the checkpoint key signs every second. The
    /// grants cover the issuing key and the root key only. The cluster is called `prod`.
    pub fn configuration_with_checkpoints(&self, namespaces: &[&str]) -> Value {
        let mut all = self.configuration_of(namespaces, &[ISSUING_KEY, "root-ca"]);
        if let Some(all) = all.as_object_mut() {
            all.insert("audit".to_owned(), Self::checkpoints());
        }
        all
    }

    /// Returns the value `audit` of the chart for [`Authority::configuration_with_checkpoints`].
    pub fn checkpoints() -> Value {
        let (label, _) = CHECKPOINT_KEY;
        json!({"cluster": "prod", "checkpoints": {"token": TOKEN, "key": label, "every": "1s"}})
    }

    fn configuration_of(&self, namespaces: &[&str], keys: &[&str]) -> Value {
        let mut grants = vec![json!({"clusterIssuers": true, "keys": keys})];
        if !namespaces.is_empty() {
            grants.push(json!({"namespaces": namespaces, "keys": keys}));
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

    /// Returns the `spec` of an issuer that signs with the issuing key and has the certificates inline.
    pub fn issuer_spec(&self) -> Value {
        self.spec(json!({"pem": self.issuing.pem(), "rootPem": self.root.pem()}))
    }

    /// Returns the `spec` of an issuer that signs with the issuing key and names a Secret with the content of
    /// [`Authority::chain`].
    pub fn issuer_spec_with_secret(&self, secret: &str) -> Value {
        self.spec(json!({"secretRef": {"name": secret}}))
    }

    /// Returns the issuing certificate and the root in PEM, under the keys that an issuer reads from a Secret or ConfigMap.
    pub fn chain(&self) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("tls.crt", self.issuing.pem()), ("ca.crt", self.root.pem())])
    }

    fn spec(&self, certificate: Value) -> Value {
        json!({"token": TOKEN, "key": {"label": ISSUING_KEY}, "certificate": certificate})
    }
}
