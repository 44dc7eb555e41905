//! The Kubernetes side of the controller: observe, decide, act.
//!
//! `attend` watches requests and chooses the next one to look at. `request` handles one request, from observation to status
//! write. `issuer` looks at issuers. `trust` publishes their root certificates. `revocation` answers revocations.
//! `reissue` has Certificates renewed. All of them ask the API server by `call`.

mod attend;
mod call;
mod events;
mod issuer;
mod listed;
mod reissue;
mod renewal;
mod request;
mod revocation;
mod seat;
mod state;
mod trust;

use std::{sync::Arc, time::Duration};

pub use self::request::BUG;
use self::seat::Seat;
pub use self::{
    attend::{
        AnsweredKinds, AskedQueues, CertificateRequests, Ending, QueueOfKind, Queues, answer,
    },
    events::Events,
    issuer::{
        Issuers, Notes, StoredIssuers, ToldIssuers, Waiter, Woken, expiry_of, issuers,
        publish_usable_tokens, run_issuers,
    },
    listed::Listed,
    reissue::run_reissues,
    revocation::{DeletedCertificates, run_revocations},
    state::{About, State},
    trust::TrustBundles,
};
pub(crate) use self::{
    events::CONTROLLER,
    renewal::request_renewal,
    request::{Approval, Progress, Request, Stage, issuer_name},
};
use kube::Client;

use crate::{
    api::IssuerName,
    audit::IssuanceLog,
    metrics::{IssuerId, Metrics},
    ownership::Ownership,
    revocation::Register,
    signers::{Tokens, limiter::Limiter},
    trace::Spans,
};

/// State that every look shares.
#[expect(missing_debug_implementations, reason = "kube's client has none")]
pub struct Context {
    /// Client for the API server, with the controller's own identity.
    pub client: Client,
    /// Settings that the operator chose.
    pub settings: Settings,
    /// The tokens of the operator's configuration.
    pub tokens: Tokens,
    /// Which objects belong to this replica's share.
    pub ownership: Arc<Ownership>,
    /// The issuers as the API server stores them.
    pub stored: StoredIssuers,
    /// Health of each issuer, and the requests that wait for it to change.
    pub issuers: Issuers,
    /// State of each issuer that is kept from one look to the next.
    pub notes: Notes,
    /// Requests that wait because of an issuer's limit.
    pub limiter: Limiter<Waiter>,
    /// Where to publish trust anchors; `None` if they are not published.
    pub trust: Option<TrustBundles>,
    /// The register of revoked certificates.
    pub register: Arc<Register>,
    /// Certificates that are deleted, for issuers that revoke them.
    pub deleted: DeletedCertificates,
    /// Writer of Kubernetes Events.
    pub events: Events,
    /// The issuance log.
    pub log: IssuanceLog,
    /// The Prometheus metrics.
    pub metrics: Arc<Metrics>,
    /// Where the spans of requests go.
    pub spans: Spans,
}

/// Returns an issuer's name for the labels of metrics.
fn issuer_id(name: &IssuerName) -> IssuerId<'_> {
    IssuerId {
        kind: name.kind(),
        namespace: name.namespace.as_deref(),
        name: &name.name,
    }
}

/// Settings that the operator chose.
#[derive(Debug)]
pub struct Settings {
    /// Namespace of the objects that cluster issuers refer to.
    pub cluster_resource_namespace: String,
    /// How long a verified signature counts as proof of an issuer's key.
    pub probe_interval: Duration,
    /// Whether a request must be approved before it is signed.
    pub enforce_approval: bool,
    /// Whether to publish the trust anchors of cluster issuers as ConfigMaps.
    pub trust_config_maps: bool,
    /// Whether issuers may have Certificates renewed (`spec.reissue`).
    pub reissue: bool,
    /// How long a request may await approval or denial before an Event reports it; `None` if no Event does.
    pub undecided_after: Option<Duration>,
}
