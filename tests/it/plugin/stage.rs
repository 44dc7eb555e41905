//! The cluster that the tests of the plugin share, with an issuer for each fault.

use std::path::PathBuf;

use anyhow::Result;
use control_plane::CertManagerOptions;
use rig::{Authority, Cluster, Controller, ControllerOptions, IssuerName, apply_rights};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind};
use tokio::sync::OnceCell;

use super::{BARE, SHOP};
use crate::controller::programs;

/// Everything that runs, in the order in which it is dropped.
pub(super) struct Stage {
    pub(super) controller: Controller,
    pub(super) cluster: Cluster,
    pub(super) authority: Authority,
}

/// An issuer: its name, what differs from one that is well, and the reason of its condition `Ready`, if it gets one.
type Issuer = (IssuerName, Value, Option<&'static str>);

impl Stage {
    /// Starts a cluster without an approver, and a controller whose configuration has a token that does not exist.
    pub(super) async fn start() -> Result<Self> {
        let programs = programs()?;
        let authority = Authority::new(KeyKind::P256)?;
        let options = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cluster = Cluster::start(&programs, options).await?;
        for namespace in [SHOP, BARE] {
            cluster.create_namespace_with_issuers(namespace).await?;
        }
        let values = json!({"crl": {"enabled": true}, "podCertificateRequests": true});
        apply_rights(cluster.plane(), &values).await?;
        let mut configuration = authority.configuration(&[SHOP]);
        let mut gone = configuration["tokens"]["issuing"].clone();
        gone["label"] = json!("gone");
        configuration["tokens"]["gone"] = gone;
        let options = ControllerOptions {
            args: [
                "--lease-duration",
                "3s",
                "--crl-address",
                "127.0.0.1:0",
                "--pod-certificate-requests",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..ControllerOptions::new(configuration.to_string(), &programs)
        };
        let controller = Controller::start(&cluster, &options).await?;
        let stage = Self {
            controller,
            cluster,
            authority,
        };
        stage.apply_issuers().await?;
        Ok(stage)
    }

    /// Returns the kubeconfig of somebody with all rights.
    pub(super) fn admin(&self) -> PathBuf {
        self.cluster.plane().admin_kubeconfig()
    }

    async fn apply_issuers(&self) -> Result<()> {
        let issuers = self.issuers()?;
        for (name, fields, _) in &issuers {
            let mut spec = self.authority.issuer_spec();
            for (field, value) in fields.as_object().into_iter().flatten() {
                spec[field] = value.clone();
            }
            self.cluster.apply_issuer(name, &spec).await?;
        }
        for (name, _, reason) in &issuers {
            let Some(reason) = reason else { continue };
            let reached = self.cluster.issuer_reaches(name, |status| {
                status.ready().is_some_and(|ready| ready.reason == *reason)
            });
            reached.await?;
        }
        Ok(())
    }

    fn issuers(&self) -> Result<Vec<Issuer>> {
        let expired = self.authority.root().issue(
            self.authority.issuing().key(),
            &CaProfile::named("Old").expired(),
        )?;
        let chain = |pem: String| json!({"pem": pem, "rootPem": self.authority.root().pem()});
        let cluster = |name: &str, fields: Value, reason: &'static str| {
            (IssuerName::cluster(name), fields, Some(reason))
        };
        let of_shop = json!({"sans": {"allowed": {"dns": ["*.shop.example"]}}, "validity": {"min": "1s", "backdate": "0s", "minRemaining": "0s"}});
        Ok(vec![
            cluster("issuing", json!({"profile": of_shop}), "Verified"),
            cluster(
                "slow",
                json!({"rateLimit": {"perSecond": 1, "burst": 1}}),
                "Verified",
            ),
            cluster(
                "selective",
                json!({"namespaceSelector": {"matchLabels": {"pki": "internal"}}}),
                "Verified",
            ),
            cluster(
                "no-certificate",
                json!({"certificate": {"secretRef": {"name": "missing"}}}),
                "CertificateMissing",
            ),
            cluster(
                "expired",
                json!({"certificate": chain(expired.pem())}),
                "CertificateExpired",
            ),
            cluster(
                "no-key",
                json!({"key": {"label": "missing"}}),
                "KeyNotFound",
            ),
            cluster(
                "other-key",
                json!({"key": {"label": "root-ca"}}),
                "KeyMismatch",
            ),
            cluster("no-token", json!({"token": "missing"}), "TokenUnknown"),
            cluster("token-gone", json!({"token": "gone"}), "TokenUnavailable"),
            cluster(
                "pin-not-taken",
                json!({"pinSecretRef": {"name": "pin", "key": "pin"}}),
                "PinNotTaken",
            ),
            cluster(
                "contradicts",
                json!({"profile": {"validity": {"default": "2h", "max": "1h"}}}),
                "ProfileInvalid",
            ),
            (
                IssuerName::namespaced(BARE, "not-granted"),
                json!({}),
                Some("NotGranted"),
            ),
            (
                IssuerName::namespaced(SHOP, "of-shop"),
                json!({}),
                Some("Verified"),
            ),
            cluster(
                "revoking",
                json!({"crl": {"url": "http://pki.example/crl"}}),
                "Verified",
            ),
            cluster(
                "for-pods",
                json!({"podCertificates": {"dnsNames": ["{{pod}}.{{namespace}}.shop.example"]}}),
                "Verified",
            ),
            (
                IssuerName::cluster("other-class"),
                json!({"class": "elsewhere"}),
                None,
            ),
        ])
    }
}

/// Returns the cluster of all tests that break nothing.
pub(super) async fn stage() -> Result<&'static Stage> {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_try_init(Stage::start).await
}
