//! Reads what a decision about a request depends on, from the caches.

use std::sync::Arc;

use kube::{
    Resource,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};

use super::{
    Context,
    decide::{Decision, Facts, IssuerFact, Why, decide},
    issuers::{Health, Known},
    kind::{Request, Stage},
};
use crate::{
    api::issuer::IssuerKind,
    pipeline::{IssuerName, ReadyIssuer},
};

/// A request and what was seen of its issuer, at one moment.
#[derive(Debug)]
pub struct Observed {
    /// The issuer that it names, if that is one of our kinds.
    pub issuer: Option<IssuerName>,
    /// The snapshot to sign with, if the issuer is ready.
    pub ready: Option<Arc<ReadyIssuer>>,
    /// What the decision depends on.
    pub facts: Facts,
}

/// Looks at a request and its issuer.
#[must_use]
pub fn observe(request: &impl Request, context: &Context) -> Observed {
    let issuer = request.issuer();
    let (fact, ready) = match &issuer {
        None => (IssuerFact::Missing, None),
        Some(name) => look_at(name, context),
    };
    let stage = request.stage(context.enforce_approval);
    Observed {
        facts: facts(stage, issuer.is_some(), fact),
        issuer,
        ready,
    }
}

/// Nothing will be done for this request any more, whatever becomes of its issuer.
pub(super) fn is_finished(request: &impl Request) -> bool {
    let facts = facts(request.stage(true), true, IssuerFact::Unknown);
    decide(&facts) == Decision::Leave(Why::Finished)
}

fn look_at(name: &IssuerName, context: &Context) -> (IssuerFact, Option<Arc<ReadyIssuer>>) {
    let stored = match &name.namespace {
        Some(namespace) => stored(
            &context.stored.namespaced,
            ObjectRef::new(&name.name).within(namespace),
        ),
        None => stored(&context.stored.cluster, ObjectRef::new(&name.name)),
    };
    let Some((uid, generation)) = stored else {
        return (IssuerFact::Missing, None);
    };
    match context.issuers.get(name) {
        // A snapshot of an earlier generation, or of another object of the same name, is never signed with.
        Some(Known {
            uid: seen,
            generation: at,
            health,
        }) if seen == uid && at == generation => match health {
            Health::Ready(ready) => (IssuerFact::Ready, Some(ready)),
            Health::NotReady(reason) => (IssuerFact::NotReady(reason), None),
        },
        Some(_) | None => (IssuerFact::Unknown, None),
    }
}

fn stored<K>(
    store: &Store<DeserializeGuard<K>>,
    name: ObjectRef<DeserializeGuard<K>>,
) -> Option<(String, i64)>
where
    K: IssuerKind,
    DeserializeGuard<K>: Resource<DynamicType = ()>,
{
    let object = store.get(&name)?;
    let meta = object.meta();
    Some((
        meta.uid.clone().unwrap_or_default(),
        meta.generation.unwrap_or_default(),
    ))
}

fn facts(stage: Stage, ours: bool, issuer: IssuerFact) -> Facts {
    let Stage {
        approval,
        invalid,
        progress,
        has_certificate,
    } = stage;
    Facts {
        ours,
        approval,
        invalid,
        progress,
        has_certificate,
        issuer,
    }
}
