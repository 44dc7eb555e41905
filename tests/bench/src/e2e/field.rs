//! The environment of all contestants: one control plane with cert-manager's webhook, and two tokens with an issuer each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};
use bench::Spent;
use control_plane::CertManagerOptions;
use kube::Client;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rig::{Authority, Cluster, IssuerName, Metrics, Programs, Requests};
use serde_json::{Value, json};
use softhsm_test_helpers::KeyKind;

use crate::contestant::{Contestant, Key};

/// Number of requests that each of cert-manager's controllers handles concurrently: our default.
const CERT_MANAGER_WORKERS: u16 = 32;

const RBAC_OF_LIMIT: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bench-limit}
rules:
- {apiGroups: [cert-manager.io], resources: [certificaterequests], verbs: [list, watch]}
- {apiGroups: [cert-manager.io], resources: [certificaterequests/status], verbs: [patch, update]}
- {apiGroups: [events.k8s.io], resources: [events], verbs: [create]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: bench-limit}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bench-limit}
subjects: [{kind: ServiceAccount, name: limit, namespace: bench}]
";

/// The name of the issuers, both ours and cert-manager's.
const ISSUER: &str = "bench";

/// The control plane and everything on it except the issuers' programs.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) cluster: Cluster,
    pub(crate) programs: Programs,
    /// The kubeconfig of the limit's service account.
    pub(crate) limit: PathBuf,
    /// Files with the chain and the root that the limit publishes, PEM.
    pub(crate) constant: [PathBuf; 2],
    p256: Authority,
    rsa2048: Authority,
    namespaces: AtomicU32,
}

/// CPU time that the control plane has used, in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlaneSpent {
    pub(crate) api_server: f64,
    pub(crate) etcd: f64,
    pub(crate) webhook: f64,
}

/// Number of writes that the API server has answered, including refused ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writes {
    /// Writes to the status of requests.
    pub(crate) statuses: f64,
    /// New Events and updates that count another occurrence.
    pub(crate) events: f64,
}

impl PlaneSpent {
    pub(crate) fn seconds(&self) -> f64 {
        self.api_server + self.etcd + self.webhook
    }
}

impl Field {
    /// Starts everything except the issuers' programs.
    pub(crate) async fn start() -> Result<Self> {
        let programs = Programs::find()?;
        let options = CertManagerOptions {
            approver: false,
            concurrent_workers: CERT_MANAGER_WORKERS,
            ..CertManagerOptions::default()
        };
        let cluster = bench::cluster(&programs, options).await?;
        let plane = cluster.plane();
        plane.apply(RBAC_OF_LIMIT).await?;
        create_ca_issuer(&cluster).await?;
        cluster.cert_manager()?.controller().kill();

        let p256 = Authority::new(KeyKind::P256)?;
        let constant = ["chain.pem", "root.pem"].map(|name| plane.log_dir().join(name));
        let [chain, root] = &constant;
        // As long as what a real issuer publishes: a leaf with the issuing certificate, and the root.
        std::fs::write(chain, p256.issuing().pem().repeat(2))?;
        std::fs::write(root, p256.root().pem())?;
        Ok(Self {
            limit: plane.service_account("bench", "limit")?,
            cluster,
            programs,
            constant,
            p256,
            rsa2048: Authority::new(KeyKind::Rsa2048)?,
            namespaces: AtomicU32::new(0),
        })
    }

    /// Creates a namespace and returns its requests.
    pub(crate) async fn namespace(&self) -> Result<(String, Requests)> {
        let number = self.namespaces.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("bench-{number}");
        self.cluster.create_namespace(&namespace).await?;
        let requests = self.cluster.requests(&namespace).await?;
        Ok((namespace, requests))
    }

    /// Prepares the issuer that this contestant serves and returns the reference to it.
    pub(crate) async fn issuer_of(&self, contestant: Contestant) -> Result<Value> {
        let key = match contestant {
            Contestant::CertManager => {
                return Ok(
                    json!({"group": "cert-manager.io", "kind": "ClusterIssuer", "name": ISSUER}),
                );
            }
            Contestant::Ours { key, .. } => key,
            // cert-manager's webhook requires that the issuer's kind exists, so the limit serves our kind.
            Contestant::Limit { .. } => Key::P256,
        };
        let issuer = IssuerName::cluster(ISSUER);
        let spec = self.authority(key).issuer_spec();
        self.cluster.apply_issuer(&issuer, &spec).await?;
        Ok(issuer.reference())
    }

    /// Returns the token with an issuing key of this kind.
    pub(crate) fn authority(&self, key: Key) -> &Authority {
        match key {
            Key::P256 => &self.p256,
            Key::Rsa2048 => &self.rsa2048,
        }
    }

    /// Returns a client with all rights.
    pub(crate) async fn admin(&self) -> Result<Client> {
        self.cluster.plane().admin().await
    }

    /// Makes the API server collect its garbage. Its heap is larger than a gigabyte, so a collection during the two seconds
    /// of a run would cost more than the difference between contestants.
    pub(crate) async fn collect_garbage(&self) -> Result<()> {
        let profile = self.get("/debug/pprof/heap?gc=1&debug=1").await?;
        ensure!(
            profile.starts_with("heap profile"),
            "the API server did not return a heap profile, which would collect its garbage"
        );
        Ok(())
    }

    /// Returns the CPU time that the control plane has used so far.
    pub(crate) fn spent(&self) -> Result<PlaneSpent> {
        let plane = self.cluster.plane();
        let of = |process: &control_plane::Process| -> Result<f64> {
            Ok(Spent::by(process.id())?.cpu_seconds)
        };
        Ok(PlaneSpent {
            api_server: of(plane.api_server())?,
            etcd: of(plane.etcd())?,
            webhook: of(self.cluster.cert_manager()?.webhook())?,
        })
    }

    /// Returns the number of writes that the API server has answered so far.
    pub(crate) async fn writes(&self) -> Result<Writes> {
        let metrics = Metrics::of(self.get("/metrics").await?);
        let sum = |resource, subresource| {
            let of = |verb| {
                let labels = [
                    ("resource", resource),
                    ("subresource", subresource),
                    ("verb", verb),
                ];
                metrics.sum("apiserver_request_total", &labels)
            };
            ["POST", "PUT", "PATCH", "APPLY"].map(of).iter().sum()
        };
        Ok(Writes {
            statuses: sum("certificaterequests", "status"),
            events: sum("events", ""),
        })
    }

    /// Returns the API server's response to a GET of this path.
    async fn get(&self, path: &str) -> Result<String> {
        let request = http::Request::get(path).body(Vec::new())?;
        Ok(self.admin().await?.request_text(request).await?)
    }
}

/// Creates cert-manager's CA issuer, whose key is in a Secret and so in cert-manager's memory.
async fn create_ca_issuer(cluster: &Cluster) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Bench CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.pem();
    let texts = BTreeMap::from([
        ("ca.crt", certificate.clone()),
        ("tls.crt", certificate),
        ("tls.key", key.serialize_pem()),
    ]);
    cluster.apply_secret("cert-manager", ISSUER, &texts).await?;
    let issuer = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": ISSUER},
        "spec": {"ca": {"secretName": ISSUER}},
    });
    let plane = cluster.plane();
    plane.apply(&issuer.to_string()).await?;
    let wait = [
        "wait",
        "clusterissuer/bench",
        "--for=condition=Ready",
        "--timeout=60s",
    ];
    plane
        .kubectl(&wait)
        .await
        .context("wait for cert-manager's CA issuer")?;
    Ok(())
}
