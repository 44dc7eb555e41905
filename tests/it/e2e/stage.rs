//! The control plane that all e2e tests share, with everything that runs on it.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use control_plane::{
    ApproverPolicy, CertManagerOptions, ControlPlane, ControllerManager, TrustManager,
};
use rig::{Authority, Cluster, Controller, ControllerOptions, IssuerName, apply_rights};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind};
use tokio::sync::OnceCell;

use super::{LIKE_THE_CA_ISSUER, NAMESPACE};
use crate::controller::programs;

/// The namespace of an issuer whose requests approver-policy decides on.
pub(super) const GUARDED: &str = "guarded";
/// The namespace of an issuer whose requests only people may approve.
pub(super) const UNAPPROVED: &str = "unapproved";
/// The cluster issuer with the default profile.
pub(super) const DEFAULT_PROFILE: &str = "default-profile";
/// The issuers, of both kinds, that publish CRLs.
pub(super) const REVOKING: &str = "revoking";
/// A protocol of listeners that cert-manager serves only because its flags name it.
pub(super) const EXTRA_PROTOCOL: &str = "e2e.example/Extra";

const EXAMPLE: &str = include_str!("../../../docs/examples/like-the-ca-issuer.yaml");
/// The lifetime of the CA, which is longer than any requested lifetime: 20 years.
const CA_HOURS: i64 = 20 * 365 * 24;

/// RBAC that lets the authors of Kubernetes CSRs name the issuers of the namespace.
const REFERENCE: &str = r"
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: reference, namespace: e2e}
rules: [{apiGroups: [cert-manager.io], resources: [signers], verbs: [reference]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reference, namespace: e2e}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: reference}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: rig-requesters}]
";

/// Everything that runs, in the order in which it is dropped.
pub(super) struct Stage {
    controller_manager: ControllerManager,
    _trust_manager: TrustManager,
    _approver_policy: ApproverPolicy,
    controller: Controller,
    cluster: Cluster,
    authority: Authority,
    root: String,
}

impl Stage {
    pub(super) fn plane(&self) -> &ControlPlane {
        self.cluster.plane()
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    pub(super) fn controller(&self) -> &Controller {
        &self.controller
    }

    pub(super) fn controller_manager(&self) -> &ControllerManager {
        &self.controller_manager
    }

    /// Returns the root certificate of the issuers named [`LIKE_THE_CA_ISSUER`].
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    async fn start() -> Result<Self> {
        let programs = programs()?;
        let authority = Authority::new(KeyKind::P256)?;
        let token = authority.token();
        let lasting = |name| CaProfile::named(name).valid_hours(-1, CA_HOURS);
        let root = token
            .generate_key("lasting-root", &[3], KeyKind::P256)?
            .self_signed(&lasting("Lasting root"))?;
        let issuing = token.generate_key("lasting-issuing", &[4], KeyKind::P256)?;
        let issuing = root.issue(&issuing, &lasting("Lasting issuing"))?;

        let cluster = Cluster::start(&programs, cert_manager()).await?;
        for namespace in [NAMESPACE, GUARDED, UNAPPROVED] {
            cluster.create_namespace_with_issuers(namespace).await?;
        }
        let values = json!({
            "crl": {"enabled": true, "onDelete": true},
            "trustConfigMaps": true,
            "reissue": true,
        });
        apply_rights(cluster.plane(), &values).await?;
        let mut configuration = authority.configuration(&[NAMESPACE, GUARDED, UNAPPROVED]);
        let grants = configuration["tokens"]["issuing"]["grants"].as_array_mut();
        for grant in grants.context("no grants")? {
            grant["limits"] = json!({"ca": {"allow": true}});
            if !grant["namespaces"].is_null() {
                grant["revokeAny"] = true.into();
            }
        }
        let options = ControllerOptions {
            args: [
                "--crl-address",
                "127.0.0.1:0",
                "--revoke-deleted-certificates",
                "--trust-config-maps",
                "--reissue",
            ]
            .map(str::to_owned)
            .to_vec(),
            ..ControllerOptions::new(configuration.to_string(), &programs)
        };
        let controller = Controller::start(&cluster, &options).await?;

        let chain = BTreeMap::from([("tls.crt", issuing.pem()), ("ca.crt", root.pem())]);
        let example: Value = serde_saphyr::from_str(EXAMPLE)?;
        let secret = example["spec"]["certificate"]["secretRef"]["name"].as_str();
        let secret = secret.context("the example names no Secret")?;
        for namespace in [NAMESPACE, rig::NAMESPACE] {
            cluster.apply_secret(namespace, secret, &chain).await?;
        }
        cluster.plane().apply(EXAMPLE).await?;
        cluster.plane().apply(REFERENCE).await?;
        let mut revoking = example["spec"].clone();
        let url = format!("http://{}/crl", controller.crl_address().await?);
        revoking["crl"] = json!({"url": url, "onDelete": "Revoke"});
        let mut issuers = vec![IssuerName::cluster(LIKE_THE_CA_ISSUER)];
        for (issuer, spec) in [
            (
                IssuerName::namespaced(NAMESPACE, LIKE_THE_CA_ISSUER),
                &example["spec"],
            ),
            (IssuerName::cluster(REVOKING), &revoking),
            (IssuerName::namespaced(NAMESPACE, REVOKING), &revoking),
            (
                IssuerName::cluster(DEFAULT_PROFILE),
                &authority.issuer_spec(),
            ),
            (
                IssuerName::namespaced(GUARDED, GUARDED),
                &authority.issuer_spec(),
            ),
            (
                IssuerName::namespaced(UNAPPROVED, UNAPPROVED),
                &authority.issuer_spec(),
            ),
        ] {
            cluster.apply_issuer(&issuer, spec).await?;
            issuers.push(issuer);
        }
        for issuer in issuers {
            cluster.issuer_is_ready(&issuer).await?;
        }

        let guarded = format!("pkcs11issuers.pkcs11-issuer.dev/{GUARDED}.{GUARDED}");
        let plane = cluster.plane();
        Ok(Self {
            _approver_policy: ApproverPolicy::start(plane, &[&guarded]).await?,
            _trust_manager: TrustManager::start(plane, rig::NAMESPACE).await?,
            // Started last, so that it knows every kind from the start.
            controller_manager: ControllerManager::start(plane)?,
            controller,
            root: root.pem(),
            cluster,
            authority,
        })
    }
}

/// Returns options of cert-manager with everything that the tests need. Its approver may approve for all cluster issuers
/// and for one namespaced issuer.
fn cert_manager() -> CertManagerOptions {
    CertManagerOptions {
        approve_signer_names: vec![
            "pkcs11clusterissuers.pkcs11-issuer.dev/*".to_owned(),
            format!("pkcs11issuers.pkcs11-issuer.dev/{NAMESPACE}.{LIKE_THE_CA_ISSUER}"),
        ],
        feature_gates: vec!["ListenerSets=true".to_owned()],
        gateway_api: true,
        gateway_api_extra_protocols: vec![EXTRA_PROTOCOL.to_owned()],
        minimum_backoff: Some(Duration::from_secs(1)),
        ..CertManagerOptions::default()
    }
}

pub(super) async fn stage() -> Result<&'static Stage> {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_try_init(Stage::start).await
}
