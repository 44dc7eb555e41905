//! Reads the facts for a decision about a request from the caches.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{
    decide::{self, Approval, Facts, IssuerFact, Share},
    due::IssuerVersion,
    kind::Request,
};
use crate::{
    api::{IssuerName, tolerant::Tolerant},
    lanes::Lane,
    pipeline::ReadyIssuer,
    reconcile::{
        Context, Seat,
        issuer::{Health, Stored},
    },
};

/// Observation of a request and its issuer at one moment.
#[derive(Debug)]
pub(super) struct Observed<S> {
    /// The issuer that the request names, if it is of one of our kinds.
    pub(super) issuer: Option<IssuerName>,
    /// The snapshot to sign with, if the issuer is ready.
    pub(super) ready: Option<S>,
    /// The version of the issuer object.
    pub(super) version: Option<IssuerVersion>,
    /// Selects the namespaces that the issuer serves; `None` for all.
    pub(super) selector: Option<LabelSelector>,
    /// The facts that the decision depends on.
    pub(super) facts: Facts,
}

/// Observes a request and its issuer.
pub(super) fn observe(
    request: &impl Request,
    unpublished: bool,
    context: &Context,
) -> Observed<Arc<ReadyIssuer>> {
    let issuer = request.issuer();
    let stored = issuer.as_ref().and_then(|name| context.stored.get(name));
    let (fact, ready) = match (&issuer, &stored) {
        (Some(_), Some(stored)) if !stored.is_ours || stored.is_elsewhere => {
            (IssuerFact::Elsewhere, None)
        }
        (Some(name), Some(stored)) => look_at(name, stored, context),
        (Some(_) | None, _) => (IssuerFact::Missing, None),
    };
    Observed {
        facts: Facts {
            ours: issuer.is_some(),
            stage: request.stage(context.settings.enforce_approval),
            issuer: fact,
            max_pending: stored.as_ref().and_then(|stored| stored.max_pending),
            share: share(request, unpublished, context),
        },
        issuer,
        ready,
        version: stored.as_ref().map(IssuerVersion::from),
        selector: stored.and_then(|stored| stored.selector),
    }
}

impl From<&Stored> for IssuerVersion {
    fn from(stored: &Stored) -> Self {
        Self {
            uid: stored.uid.clone(),
            generation: stored.generation,
        }
    }
}

/// Returns whether a request has ended for good, whatever happens to its issuer.
pub(in crate::reconcile) fn is_finished(request: &impl Request) -> bool {
    decide::is_finished(&request.stage(true))
}

/// Returns when a request began to wait for an approver's decision; `None` if it does not wait for one.
pub(in crate::reconcile) fn undecided_since(
    request: &impl Request,
    context: &Context,
) -> Option<Timestamp> {
    let stage = request.stage(context.settings.enforce_approval);
    let undecided = stage.approval == Approval::Awaited && !decide::is_finished(&stage);
    let created = request.meta().creation_timestamp.as_ref();
    undecided.then(|| created.map_or(Timestamp::UNIX_EPOCH, |created| created.0))
}

/// Returns since when a request has waited for the controller: since it was approved or, if it needs no approval, since it was
/// created. `None` if it does not wait.
pub(in crate::reconcile) fn waits_since(
    request: &impl Request,
    context: &Context,
) -> Option<Timestamp> {
    let stage = request.stage(context.settings.enforce_approval);
    let waits = stage.approval != Approval::Awaited && !decide::is_finished(&stage);
    waits.then(|| approved_at(request))
}

/// Returns when a request was approved; if that is not known, when it was created.
pub(super) fn approved_at(request: &impl Request) -> Timestamp {
    let created = request.meta().creation_timestamp.as_ref();
    let created = created.map_or(Timestamp::UNIX_EPOCH, |created| created.0);
    request.approved_at().unwrap_or(created)
}

/// Returns which replica acts on a request at this moment. A replica that has already signed a certificate acts as long as
/// its Lease holds, whichever replica may sign now. That saves a second signature, and the preconditions of the status
/// write prevent a second certificate.
pub(super) fn share(request: &impl Request, unpublished: bool, context: &Context) -> Share {
    let ownership = &context.ownership;
    let own = if unpublished {
        ownership.holds()
    } else {
        let issuer = request.issuer();
        let token = issuer.and_then(|name| context.stored.token(&name));
        let uid = request.meta().uid.as_deref().unwrap_or_default();
        ownership.owns(token.as_deref(), uid)
    };
    if own { Share::Own } else { Share::Others }
}

/// Returns the request's place in the queue.
pub(in crate::reconcile) fn seat<R: Request>(request: &Tolerant<R>, context: &Context) -> Seat {
    let request = request.0.as_ref().ok();
    let issuer = request.and_then(Request::issuer);
    // All tokens that are not configured count as one, because a tenant can name as many of them as it likes.
    let token = issuer
        .as_ref()
        .and_then(|issuer| context.stored.token(issuer))
        .filter(|token| context.tokens.get(token).is_some());
    Seat {
        lane: Lane {
            tenant: request.map_or("", Request::tenant).into(),
            issuer: issuer
                .map(|issuer| issuer.to_string())
                .unwrap_or_default()
                .into(),
        },
        token: token.map(Into::into),
    }
}

fn look_at(
    name: &IssuerName,
    stored: &Stored,
    context: &Context,
) -> (IssuerFact, Option<Arc<ReadyIssuer>>) {
    let issuers = &context.issuers;
    match issuers.health(name, &stored.uid, stored.generation) {
        Some(Health::Ready(ready)) => (IssuerFact::Ready, Some(ready)),
        Some(Health::NotReady(reason)) => (IssuerFact::NotReady(reason), None),
        None => (IssuerFact::Unknown, None),
    }
}
