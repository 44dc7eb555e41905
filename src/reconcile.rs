//! The shell around Kubernetes: observe, decide, act.
//!
//! [`decide`] and [`conclude`] are pure; [`apply`] is the one status write; the rest reads the cluster.

pub mod answer;
pub mod apply;
pub mod conclude;
pub mod decide;
pub mod establish;
pub mod events;
mod fence;
pub mod issuer;
pub mod issuers;
mod keep;
pub mod kind;
pub mod ledger;
pub mod material;
pub mod observe;
pub mod request;
pub mod retry;
mod sign;
pub mod trust;
pub mod watch;

use std::sync::Arc;

use kube::{Client, runtime::reflector::Store};

use crate::{
    api::issuer::{PKCS11ClusterIssuer, PKCS11Issuer},
    audit::IssuanceRecord,
    metrics::Metrics,
    ownership::Ownership,
    signers::Tokens,
};

/// What every reconciliation shares.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Context {
    /// The API server, as the controller's own identity.
    pub client: Client,
    /// Where the objects lie that cluster issuers name.
    pub cluster_resource_namespace: String,
    /// Whether a request must be approved before it is signed.
    pub enforce_approval: bool,
    /// The tokens of the operator's configuration.
    pub tokens: Tokens,
    /// What is this replica's to do.
    pub ownership: Arc<Ownership>,
    /// What is known of the issuers.
    pub issuers: issuers::Issuers,
    /// The issuers as stored.
    pub stored: StoredIssuers,
    /// What was signed and is not yet seen published.
    pub ledger: ledger::Ledger,
    /// How often each object failed in a row.
    pub retries: retry::Retries,
    /// Where trust anchors are published, if they are.
    pub trust: Option<trust::TrustBundles>,
    /// Events for people.
    pub events: events::Events,
    /// The issuance record.
    pub record: IssuanceRecord,
    /// The counters.
    pub metrics: Arc<Metrics>,
}

/// Caches of both kinds.
#[derive(Debug)]
pub struct StoredIssuers {
    /// `PKCS11Issuer`.
    pub namespaced: Store<kube::core::DeserializeGuard<PKCS11Issuer>>,
    /// `PKCS11ClusterIssuer`.
    pub cluster: Store<kube::core::DeserializeGuard<PKCS11ClusterIssuer>>,
}
