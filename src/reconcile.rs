//! The shell around Kubernetes: observe, decide, act.
//!
//! [`decide`] and [`conclude`] are pure; [`apply`] is the one status write; the rest reads the cluster.

pub mod answer;
pub mod apply;
mod attend;
mod call;
pub mod census;
pub mod conclude;
pub mod decide;
pub mod drain;
pub mod establish;
pub mod events;
mod fence;
mod finish;
pub mod issuer;
pub mod issuers;
mod keep;
pub mod kind;
pub mod ledger;
pub mod material;
pub mod observe;
pub mod patience;
mod queue;
pub mod request;
pub mod retry;
mod sign;
pub mod trust;
mod uid;
pub mod watch;

use std::{sync::Arc, time::Duration};

use kube::{
    Client,
    runtime::reflector::{ObjectRef, Store},
};

use crate::{
    api::{
        issuer::{PKCS11ClusterIssuer, PKCS11Issuer},
        tolerant::Tolerant,
    },
    audit::IssuanceRecord,
    metrics::Metrics,
    ownership::Ownership,
    pipeline::IssuerName,
    signers::{Tokens, limiter::Limiter},
};

/// What every reconciliation shares.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Context {
    /// The API server, as the controller's own identity.
    pub client: Client,
    /// Where the objects lie that cluster issuers name.
    pub cluster_resource_namespace: String,
    /// How long a signature that verified proves an issuer's key.
    pub probe_interval: Duration,
    /// Whether a request must be approved before it is signed.
    pub enforce_approval: bool,
    /// The tokens of the operator's configuration.
    pub tokens: Tokens,
    /// What is this replica's to do.
    pub ownership: Arc<Ownership>,
    /// What is known of the issuers.
    pub issuers: issuers::Issuers,
    /// Who waits because of an issuer's limit.
    pub limiter: Limiter<issuers::Waiter>,
    /// What was written to the issuers and may not be seen yet.
    pub written: issuer::Written,
    /// How often issuers are looked at.
    pub pace: issuer::Pace,
    /// What the metrics tell of the issuers.
    pub census: census::Census,
    /// The issuers as stored.
    pub stored: StoredIssuers,
    /// What was signed and is not yet seen published.
    pub ledger: ledger::Ledger,
    /// How often each object failed in a row.
    pub retries: retry::Retries,
    /// How long requests have waited.
    pub patience: patience::Patience,
    /// Where trust anchors are published, if they are.
    pub trust: Option<trust::TrustBundles>,
    /// Events for people.
    pub events: events::Events,
    /// The issuance record.
    pub record: IssuanceRecord,
    /// The counters.
    pub metrics: Arc<Metrics>,
}

impl Context {
    /// Nothing more is to be known of this request.
    fn forget(&self, uid: &str) {
        self.retries.forget(uid);
        self.patience.forget(uid);
        self.events.forget(uid);
        self.ledger.forget(uid);
    }
}

/// Caches of both kinds.
#[derive(Debug)]
pub struct StoredIssuers {
    /// `PKCS11Issuer`.
    pub namespaced: Store<Tolerant<PKCS11Issuer>>,
    /// `PKCS11ClusterIssuer`.
    pub cluster: Store<Tolerant<PKCS11ClusterIssuer>>,
}

impl StoredIssuers {
    /// Whether there is an issuer of this name.
    fn has(&self, name: &IssuerName) -> bool {
        match &name.namespace {
            Some(namespace) => {
                let at = ObjectRef::new(&name.name).within(namespace);
                self.namespaced.get(&at).is_some()
            }
            None => self.cluster.get(&ObjectRef::new(&name.name)).is_some(),
        }
    }
}
