//! Lists the requests of an issuer, the waiting ones first. Pure.

use std::cmp::Reverse;

use jiff::Timestamp;
use serde::Serialize;

use super::{
    explain::explain,
    gather::OfIssuer,
    read::{Gap, Read},
    snapshot::{SeenIssuer, SeenRequest, Snapshot},
    step::{StepName, between},
};
use crate::reconcile::{Approval, Progress};

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RequestState {
    /// It waits for an approver or for us.
    Waiting,
    /// It was refused or denied, or has failed otherwise.
    Failed,
    /// It has its certificate.
    Issued,
}

impl RequestState {
    /// Returns how far a request is.
    pub(super) const fn of(request: &SeenRequest) -> Self {
        let stage = request.stage;
        match (stage.approval, stage.progress) {
            (_, Progress::Issued) => Self::Issued,
            (_, Progress::Failed | Progress::Denied) | (Approval::Denied, Progress::Open) => {
                Self::Failed
            }
            (Approval::Awaited | Approval::Approved, Progress::Open) => {
                if stage.has_certificate {
                    Self::Issued
                } else if stage.invalid {
                    Self::Failed
                } else {
                    Self::Waiting
                }
            }
        }
    }

    /// Returns the word for people.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Failed => "failed",
            Self::Issued => "issued",
        }
    }
}

/// One request of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestRow {
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) state: RequestState,
    /// The step that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held_by: Option<StepName>,
    /// Why, or what became of it.
    pub(super) why: String,
    /// When it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created: Option<Timestamp>,
    /// The time since then.
    #[serde(skip)]
    pub(super) age: String,
}

/// The requests of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestsRecord {
    pub(super) issuer: String,
    pub(super) waiting: usize,
    pub(super) failed: usize,
    pub(super) issued: usize,
    /// The first of them.
    pub(super) requests: Vec<RequestRow>,
    /// How many are not shown.
    pub(super) more: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<Gap>,
}

/// Lists at most `limit` requests: the waiting ones first, the oldest of them first; then those that have ended, the newest
/// first.
pub(super) fn of(
    issuer: &SeenIssuer,
    read: &OfIssuer,
    limit: usize,
    now: Timestamp,
) -> RequestsRecord {
    let mut all: Vec<_> = read.requests.iter().collect();
    let ended = |request: &SeenRequest| request.changed.or(request.created);
    all.sort_by_key(|request| match RequestState::of(request) {
        RequestState::Waiting => (RequestState::Waiting, request.created, Reverse(None)),
        state @ (RequestState::Failed | RequestState::Issued) => {
            (state, None, Reverse(ended(request)))
        }
    });
    let count = |state| {
        let of = |request: &&&SeenRequest| RequestState::of(request) == state;
        all.iter().filter(of).count()
    };
    RequestsRecord {
        issuer: issuer.name.to_string(),
        waiting: count(RequestState::Waiting),
        failed: count(RequestState::Failed),
        issued: count(RequestState::Issued),
        requests: all
            .iter()
            .take(limit)
            .map(|request| row(request, issuer, read, now))
            .collect(),
        more: all.len().saturating_sub(limit),
        unknown: gaps(read),
    }
}

/// Returns everything that could not be read of an issuer's requests and replicas.
pub(super) fn gaps(read: &OfIssuer) -> Vec<Gap> {
    let replicas = read.replicas.as_ref().and_then(Read::gap).cloned();
    read.gaps.iter().cloned().chain(replicas).collect()
}

fn row(request: &SeenRequest, issuer: &SeenIssuer, read: &OfIssuer, now: Timestamp) -> RequestRow {
    let about = |event: &&super::snapshot::SeenEvent| {
        let (kind, namespace, name) = &event.about;
        kind == request.kind.as_str() && *namespace == request.namespace && *name == request.name
    };
    let explained = explain(
        &Snapshot {
            certificate: None,
            request: Read::Found(request.clone()),
            issuer: Some(Read::Found(issuer.clone())),
            events: Read::Found(read.events.iter().filter(about).cloned().collect()),
            replicas: read.replicas.clone(),
        },
        now,
    );
    RequestRow {
        kind: request.kind.as_str(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
        state: RequestState::of(request),
        held_by: explained.held_by,
        why: explained.why().to_owned(),
        created: request.created,
        age: request
            .created
            .map_or_else(String::new, |created| between(created, now)),
    }
}
