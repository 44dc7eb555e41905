//! The state of every issuer, for people.

use kube::{Resource as _, ResourceExt as _, runtime::reflector::Store};
use serde::Serialize;

use super::health::{Health, KnownHealth};
use crate::{
    api::{
        IssuerName,
        issuer::{IssuerKind, IssuerStatus},
        tolerant::Tolerant,
    },
    message::shown,
    reconcile::Context,
};

/// State of an issuer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::reconcile) struct IssuerState {
    /// Whether this replica can sign with it; `None` before the first look. Issuers that are not ready come first.
    ready: Option<bool>,
    /// Its kind and name, with its namespace if its kind has one.
    issuer: String,
    uid: String,
    generation: i64,
    /// The token that it names, if the issuer can be read.
    token: Option<String>,
    /// Whether this installation answers it.
    is_ours: bool,
    /// Whether this replica writes its status.
    is_own: bool,
    /// Reason of its `Ready` condition, as this replica has found it.
    reason: Option<&'static str>,
    /// Message of its `Ready` condition, as it is stored.
    message: Option<String>,
    /// Requests that wait for it to change.
    waiting: usize,
}

/// Returns the state of all issuers that are stored: first those that are not ready, each part by name.
pub(in crate::reconcile) fn issuer_states(context: &Context) -> Vec<IssuerState> {
    let mut states = of_kind(&context.stored.cluster, context);
    states.extend(of_kind(&context.stored.namespaced, context));
    states.sort();
    states
}

fn of_kind<K: IssuerKind>(store: &Store<Tolerant<K>>, context: &Context) -> Vec<IssuerState> {
    let all = store.state();
    all.iter().map(|issuer| state(issuer, context)).collect()
}

fn state<K: IssuerKind>(issuer: &Tolerant<K>, context: &Context) -> IssuerState {
    let name = IssuerName {
        namespace: issuer.namespace(),
        name: issuer.name_any(),
    };
    let readable = issuer.0.as_ref().ok();
    let spec = readable.map(IssuerKind::issuer_spec);
    let status = readable.and_then(IssuerKind::issuer_status);
    let uid = issuer.uid().unwrap_or_default();
    let token = spec.map(|spec| spec.token.clone());
    let known = context.issuers.get(&name).filter(|known| known.uid == uid);
    let (ready, reason) = match known {
        Some(KnownHealth {
            health: Health::Ready(_),
            ..
        }) => (Some(true), None),
        Some(KnownHealth {
            health: Health::NotReady(reason),
            ..
        }) => (Some(false), Some(reason)),
        None => (None, None),
    };
    IssuerState {
        ready,
        issuer: name.to_string(),
        generation: issuer.meta().generation.unwrap_or_default(),
        is_ours: context.stored.answers(spec) && !context.stored.is_elsewhere(status),
        is_own: context.ownership.owns(token.as_deref(), &uid),
        token,
        uid,
        reason,
        message: message(status),
        waiting: context.issuers.waiting(&name),
    }
}

fn message(status: Option<&IssuerStatus>) -> Option<String> {
    let ready = status?.condition("Ready")?;
    Some(shown(&ready.message))
}
