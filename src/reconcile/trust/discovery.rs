//! Finds the version of ClusterTrustBundles that the cluster serves, at the start and after a change of the cluster.

use std::sync::Arc;

use kube::{Client, api::ApiResource};
use parking_lot::RwLock;
use tracing::{info, warn};

use crate::{
    metrics::Metrics,
    reconcile::call::{Trouble, serves},
};

const GROUP: &str = "certificates.k8s.io";

/// The kind ClusterTrustBundle in the newest version that both the cluster and the controller support.
#[derive(Debug, Default)]
pub struct TrustBundles {
    kind: RwLock<Option<ApiResource>>,
}

impl TrustBundles {
    /// Finds the kind. Waits until the API server answers. Without the kind, no bundle is published until
    /// the sweep of the bundles finds it.
    pub async fn find(client: &Client, metrics: &Arc<Metrics>) -> Self {
        let bundles = Self::default();
        if !bundles.discover(client, metrics).await {
            warn!(
                "this Kubernetes cluster does not serve ClusterTrustBundles yet; the controller publishes them once it does"
            );
        }
        bundles
    }

    /// Returns the kind, if the cluster served it when it was last asked.
    pub(super) fn kind(&self) -> Option<ApiResource> {
        self.kind.read().clone()
    }

    /// Asks for the kind, and returns whether the cluster serves it. Waits until the API server answers.
    pub(super) async fn discover(&self, client: &Client, metrics: &Arc<Metrics>) -> bool {
        let mut trouble = Trouble::of("ClusterTrustBundle", metrics);
        let mut found = None;
        for version in ["v1", "v1beta1"] {
            let api_version = format!("{GROUP}/{version}");
            if serves(client, &api_version, "clustertrustbundles", &mut trouble).await {
                found = Some(ApiResource {
                    group: GROUP.to_owned(),
                    version: version.to_owned(),
                    api_version,
                    kind: "ClusterTrustBundle".to_owned(),
                    plural: "clustertrustbundles".to_owned(),
                });
                break;
            }
        }
        let is_new = found.is_some() && self.kind.read().is_none();
        if let (true, Some(kind)) = (is_new, &found) {
            info!(version = kind.api_version, "found ClusterTrustBundles");
        }
        let is_served = found.is_some();
        *self.kind.write() = found;
        is_served
    }
}
