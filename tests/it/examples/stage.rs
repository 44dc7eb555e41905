//! A cluster with the example for a laptop: cert-manager, the chart as helm installs it, and the pod's processes.

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options, until};
use kube::{
    Api,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
};
use rig::{Cluster, IssuerName, NAMESPACE, PATIENCE, Status};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::{readme::Walk, text};
use crate::{
    chart::pod::Pod,
    controller::{openssl_verifies, programs},
};

/// The namespace of the workloads in the examples.
pub(super) const SHOP: &str = "shop";
/// The namespace of Istio.
pub(super) const ISTIO: &str = "istio-system";

/// Everything that runs. Dropped in this order.
pub(super) struct Stage {
    _pod: Pod,
    cluster: Cluster,
    /// Output of the last command of README.md, which is about the certificate.
    pub(super) shown: String,
}

/// The files that cert-manager writes to a Secret.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) root: String,
}

impl Stage {
    async fn start() -> Result<Self> {
        let plane = ControlPlane::start(Options::default()).await?;
        let own = [
            "issuers.cert-manager.io/*",
            "clusterissuers.cert-manager.io/*",
        ];
        let options = CertManagerOptions {
            // Our chart gives cert-manager's approver the right for our own signers.
            approve_signer_names: own.map(str::to_owned).to_vec(),
            gateway_api: true,
            ..CertManagerOptions::default()
        };
        let cert_manager = CertManager::start(&plane, options).await?;
        let cluster = Cluster::prepare(plane, cert_manager).await?;
        for namespace in [SHOP, ISTIO] {
            cluster.create_namespace(namespace).await?;
        }
        let walk = Walk::read()?;
        walk.install(&cluster).await?;
        // Kubelet waits for the Secrets of a pod.
        in_secret(&cluster, NAMESPACE, "issuing-ca").await?;
        let pod = Pod::start(&cluster, &programs()?, "laptop").await?;
        cluster.issuer_is_ready(&issuer()).await?;
        let shown = walk.result(&cluster).await?;
        Ok(Self {
            _pod: pod,
            cluster,
            shown,
        })
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Applies an example.
    pub(super) async fn apply(&self, file: &str) -> Result<()> {
        self.cluster.plane().apply(&text(file)?).await
    }

    /// Waits until a Secret has a server certificate from cert-manager and verifies it with openssl.
    pub(super) async fn issued(&self, namespace: &str, secret: &str) -> Result<Issued> {
        let issued = in_secret(&self.cluster, namespace, secret).await?;
        openssl_verifies(&issued.chain, &issued.root)?;
        Ok(issued)
    }

    /// Creates a CertificateRequest, as another program would, and waits until it has this reason. cert-manager's approver
    /// approves it.
    pub(super) async fn ask(&self, request: Value, reason: &str) -> Result<Status> {
        let namespace = request["metadata"]["namespace"].as_str();
        let namespace = namespace.context("no namespace")?.to_owned();
        let kind = GroupVersionKind::gvk("cert-manager.io", "v1", "CertificateRequest");
        let client = self.cluster.plane().admin().await?;
        let requests = Api::<DynamicObject>::namespaced_with(
            client,
            &namespace,
            &ApiResource::from_gvk(&kind),
        );
        let request = serde_json::from_value(request)?;
        let created = requests.create(&PostParams::default(), &request).await?;
        let name = created.metadata.name.context("no name")?;
        let requests = self.cluster.requests(&namespace).await?;
        requests.reaches(&name, reason).await
    }
}

/// Returns the issuer of the example.
pub(super) fn issuer() -> IssuerName {
    IssuerName::cluster("issuing")
}

/// Waits until a Secret has a certificate.
pub(super) async fn in_secret(cluster: &Cluster, namespace: &str, secret: &str) -> Result<Issued> {
    until(
        &format!("a certificate in {secret}"),
        PATIENCE,
        async || {
            let get = "get secret --ignore-not-found -o json";
            let mut args: Vec<_> = get.split(' ').collect();
            args.extend(["--namespace", namespace, secret]);
            let found = cluster.plane().kubectl(&args).await?;
            if found.trim().is_empty() {
                return Ok(None);
            }
            let found: Value = serde_json::from_str(&found)?;
            let pem = |key: &str| {
                let octets = STANDARD.decode(found["data"][key].as_str().unwrap_or_default());
                String::from_utf8(octets.unwrap_or_default()).unwrap_or_default()
            };
            let issued = Issued {
                chain: pem("tls.crt"),
                root: pem("ca.crt"),
            };
            Ok((!issued.chain.is_empty() && !issued.root.is_empty()).then_some(issued))
        },
    )
    .await
}

pub(super) async fn stage() -> Result<&'static Stage> {
    static STAGE: OnceCell<Stage> = OnceCell::const_new();
    STAGE.get_or_try_init(Stage::start).await
}
