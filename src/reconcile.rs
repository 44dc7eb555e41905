//! The shell around Kubernetes: observe, decide, act.
//!
//! `attend` watches requests and says who is next; `request` is one of them, from what is seen to what is written; `issuer`
//! looks at issuers; `trust` publishes their roots.

mod attend;
mod backoff;
mod call;
mod events;
mod issuer;
mod request;
mod seat;
mod trust;

use std::{sync::Arc, time::Duration};

use self::seat::Seat;
pub use self::{
    attend::{Ending, Wanted, answer, trust_bundles},
    events::Events,
    issuer::{
        Issuers, Notes, StoredIssuers, ToldIssuers, Waiter, Woken, issuers, run_issuers,
        tell_usable,
    },
    trust::TrustBundles,
};
use kube::Client;

use crate::{
    audit::IssuanceRecord,
    metrics::Metrics,
    ownership::Ownership,
    signers::{Tokens, limiter::Limiter},
};

/// What every look shares.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Context {
    /// The API server, as the controller's own identity.
    pub client: Client,
    /// What the operator has chosen.
    pub settings: Settings,
    /// The tokens of the operator's configuration.
    pub tokens: Tokens,
    /// What is this replica's to do.
    pub ownership: Arc<Ownership>,
    /// The issuers as stored.
    pub stored: StoredIssuers,
    /// What is known of the issuers, and who waits for them.
    pub issuers: Issuers,
    /// What is remembered of the issuers from one look to the next.
    pub notes: Notes,
    /// Who waits because of an issuer's limit.
    pub limiter: Limiter<Waiter>,
    /// Where trust anchors are published, if they are.
    pub trust: Option<TrustBundles>,
    /// Events for people.
    pub events: Events,
    /// The issuance record.
    pub record: IssuanceRecord,
    /// The counters.
    pub metrics: Arc<Metrics>,
}

/// What the operator has chosen.
#[derive(Debug)]
pub struct Settings {
    /// Where the objects lie that cluster issuers name.
    pub cluster_resource_namespace: String,
    /// How long a signature that verified proves an issuer's key.
    pub probe_interval: Duration,
    /// Whether a request must be approved before it is signed.
    pub enforce_approval: bool,
}
