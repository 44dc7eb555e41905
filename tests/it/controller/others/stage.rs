//! The control plane of these tests: kinds of a later version, and a controller that reaches the API server through
//! [`Between`].

use anyhow::Result;
use control_plane::{CertManagerOptions, until};
use rig::{Authority, Cluster, Controller, ControllerOptions, NAMESPACE, PATIENCE, apply_rights};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;
use tokio::sync::OnceCell;

use super::{condition, later, meddle, metadata};
use crate::controller::{between::Between, issuer, programs};

/// The namespace of every request and of every namespaced issuer.
pub(super) const HERE: &str = "others";
/// The field that a later version of a kind has in its status, and in `status.key` of an issuer.
pub(super) const LATER: &str = "later";
/// Path of the PIN record.
pub(super) const PIN_STATE: &str =
    "/api/v1/namespaces/pkcs11-issuer-system/secrets/pkcs11-issuer-pin-state";

pub(super) struct Stage {
    pub(super) between: Between,
    // Dropped in this order.
    pub(super) controller: Controller,
    pub(super) cluster: Cluster,
    pub(super) authority: Authority,
}

/// Returns the stage that all tests share, each with objects of its own.
pub(super) async fn stage() -> Result<&'static Stage> {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_try_init(Stage::start).await
}

impl Stage {
    async fn start() -> Result<Self> {
        let programs = programs()?;
        let authority = Authority::new(KeyKind::P256)?;
        let cert_manager = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cluster = Cluster::start(&programs, cert_manager).await?;
        cluster.create_namespace_with_issuers(HERE).await?;
        let values = json!({"podCertificateRequests": true, "clusterTrustBundles": true});
        apply_rights(cluster.plane(), &values).await?;
        for kind in [
            "certificaterequests.cert-manager.io",
            "pkcs11issuers.pkcs11-issuer.dev",
            "pkcs11clusterissuers.pkcs11-issuer.dev",
        ] {
            make_later(&cluster, kind).await?;
        }
        let between = Between::start(cluster.plane(), cluster.controller_kubeconfig())?;

        let record = json!({"metadata": metadata(), "data": {"of-others": "b3RoZXJz"}}).to_string();
        let secret = [
            "patch",
            "secret",
            "pkcs11-issuer-pin-state",
            "-n",
            NAMESPACE,
        ];
        let words = [&secret[..], &["--type=merge", "-p", &record]].concat();
        cluster.plane().kubectl(&words).await?;
        between.watch(PIN_STATE, Some(Box::new(meddle)));

        let options = ControllerOptions {
            args: ["--pod-certificate-requests", "--cluster-trust-bundles"]
                .map(str::to_owned)
                .into(),
            kubeconfig: Some(between.kubeconfig().to_owned()),
            ..ControllerOptions::new(authority.configuration(&[HERE]).to_string(), &programs)
        };
        let controller = Controller::start(&cluster, &options).await?;
        let stage = Self {
            between,
            controller,
            cluster,
            authority,
        };
        let mut spec = stage.authority.issuer_spec();
        spec["podCertificates"] = json!({"dnsNames": ["{{pod}}.{{namespace}}.pod.example"]});
        stage.cluster.apply_issuer(&issuer(), &spec).await?;
        stage.cluster.issuer_is_ready(&issuer()).await?;
        Ok(stage)
    }

    /// Patches an object with all rights.
    pub(super) async fn patch(&self, kind: &str, name: &str, patch: &Value) -> Result<()> {
        let patch = patch.to_string();
        let flags = ["--type=merge", "-p", &patch];
        self.kubectl(&["patch", kind, name], &flags).await.map(drop)
    }

    /// Adds another client's condition to the status of an object, and the field [`LATER`] if its kind has it.
    pub(super) async fn audit(&self, kind: &str, name: &str) -> Result<()> {
        let what = format!("{kind} {name} to be of a later version");
        until(&what, PATIENCE, async || {
            let conditions = self.get(kind, name).await?["status"]["conditions"].clone();
            let mut conditions = conditions.as_array().cloned().unwrap_or_default();
            conditions.retain(|one| one["type"] != "Audited");
            conditions.push(condition());
            let mut status = json!({"conditions": conditions});
            let custom = !kind.ends_with(".k8s.io");
            if custom {
                status[LATER] = later();
            }
            if kind.contains("issuers.") {
                status["key"] = json!({LATER: later()});
            }
            let patch = json!({"status": status}).to_string();
            let patch = ["--subresource=status", "--type=merge", "-p", &patch];
            self.kubectl(&["patch", kind, name], &patch).await?;
            let status = &self.get(kind, name).await?["status"];
            Ok((!custom || status[LATER] == later()).then_some(()))
        })
        .await
    }

    pub(super) async fn get(&self, kind: &str, name: &str) -> Result<Value> {
        let text = self.kubectl(&["get", kind, name], &["-o", "json"]).await?;
        Ok(serde_json::from_str(&text)?)
    }

    async fn kubectl(&self, words: &[&str], flags: &[&str]) -> Result<String> {
        let words = [words, &["-n", HERE], flags].concat();
        self.cluster.plane().kubectl(&words).await
    }
}

/// Adds the field [`LATER`], of any type, to the status of a CRD. The API server serves it a moment later.
async fn make_later(cluster: &Cluster, kind: &str) -> Result<()> {
    let plane = cluster.plane();
    let get = ["get", "crd", kind, "-o", "json"];
    let mut crd: Value = serde_json::from_str(&plane.kubectl(&get).await?)?;
    let version = &mut crd["spec"]["versions"][0];
    let status = &mut version["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"];
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    status[LATER] = any.clone();
    if let Some(key) = status.get_mut("key") {
        key["properties"][LATER] = any;
    }
    let versions = json!([{
        "op": "replace", "path": "/spec/versions", "value": crd["spec"]["versions"],
    }]);
    let versions = versions.to_string();
    let patch = ["patch", "crd", kind, "--type=json", "-p", &versions];
    plane.kubectl(&patch).await.map(drop)
}
