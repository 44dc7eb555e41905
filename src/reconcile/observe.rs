//! Reads what a decision about a request depends on, from the caches.

use std::sync::Arc;

use kube::{
    Resource, ResourceExt as _,
    core::DeserializeGuard,
    runtime::reflector::{ObjectRef, Store},
};

use super::{
    Context,
    decide::{Approval, Decision, Facts, IssuerFact, Progress, Why, decide},
    issuers::{Health, Known},
};
use crate::{
    api::{
        GROUP,
        certificate_request::{CertificateRequest, IssuerRef, condition_type, reason},
        issuer::{IssuerKind, PKCS11ClusterIssuer, PKCS11Issuer},
    },
    pipeline::{IssuerName, ReadyIssuer},
};

/// A request and what was seen of its issuer, at one moment.
#[derive(Debug)]
pub struct Observed<'a> {
    /// The request as read.
    pub request: &'a CertificateRequest,
    /// The issuer that it names, if that is one of our kinds.
    pub issuer: Option<IssuerName>,
    /// The snapshot to sign with, if the issuer is ready.
    pub ready: Option<Arc<ReadyIssuer>>,
    /// What the decision depends on.
    pub facts: Facts,
}

/// Looks at a request and its issuer.
#[must_use]
pub fn observe<'a>(request: &'a CertificateRequest, context: &Context) -> Observed<'a> {
    let issuer = issuer_name(&request.spec.issuer_ref, request.namespace());
    let (fact, ready) = match &issuer {
        None => (IssuerFact::Missing, None),
        Some(name) => look_at(name, context),
    };
    let facts = facts(request, issuer.is_some(), context.enforce_approval, fact);
    Observed {
        request,
        issuer,
        ready,
        facts,
    }
}

/// Nothing will be done for this request any more, whatever becomes of its issuer.
pub(super) fn is_finished(request: &CertificateRequest) -> bool {
    let facts = facts(request, true, true, IssuerFact::Unknown);
    decide(&facts) == Decision::Leave(Why::Finished)
}

/// The issuer that a reference means, if it is of our group and one of our kinds. Group and kind must be spelled
/// out: empty ones mean cert-manager's own (cert-manager.md 1.1).
fn issuer_name(reference: &IssuerRef, namespace: Option<String>) -> Option<IssuerName> {
    let name = reference.name.clone();
    match (reference.group.as_str(), reference.kind.as_str()) {
        (GROUP, PKCS11Issuer::KIND) => Some(IssuerName {
            namespace: Some(namespace?),
            name,
        }),
        (GROUP, PKCS11ClusterIssuer::KIND) => Some(IssuerName {
            namespace: None,
            name,
        }),
        (_, _) => None,
    }
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

fn facts(
    request: &CertificateRequest,
    ours: bool,
    enforce_approval: bool,
    issuer: IssuerFact,
) -> Facts {
    let status = request.status.as_ref();
    let is_true = |type_| status.is_some_and(|status| status.is_true(type_));
    Facts {
        ours,
        approval: match (
            is_true(condition_type::DENIED),
            is_true(condition_type::APPROVED) || !enforce_approval,
        ) {
            (true, _) => Approval::Denied,
            (false, true) => Approval::Approved,
            (false, false) => Approval::Awaited,
        },
        invalid: is_true(condition_type::INVALID_REQUEST),
        progress: match status.and_then(|status| status.ready_reason()) {
            Some(reason::ISSUED) => Progress::Issued,
            Some(reason::FAILED) => Progress::Failed,
            Some(reason::DENIED) => Progress::Denied,
            Some(_) | None => Progress::Open,
        },
        has_certificate: status
            .and_then(|status| status.certificate.as_ref())
            .is_some_and(|certificate| !certificate.0.is_empty()),
        issuer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(group: &str, kind: &str) -> IssuerRef {
        IssuerRef {
            name: "issuing".to_owned(),
            kind: kind.to_owned(),
            group: group.to_owned(),
        }
    }

    #[test]
    fn only_our_group_with_one_of_our_kinds_spelled_out_is_ours() {
        let shop = || Some("shop".to_owned());
        assert!(issuer_name(&reference(GROUP, "PKCS11Issuer"), shop()).is_some());
        assert!(issuer_name(&reference(GROUP, "PKCS11ClusterIssuer"), shop()).is_some());
        for (group, kind) in [
            ("", "PKCS11Issuer"),
            (GROUP, ""),
            (GROUP, "Issuer"),
            ("cert-manager.io", "PKCS11Issuer"),
        ] {
            assert_eq!(
                issuer_name(&reference(group, kind), shop()),
                None,
                "{group:?} {kind:?}"
            );
        }
    }

    #[test]
    fn a_namespaced_issuer_is_looked_for_in_the_namespace_of_the_request_only() {
        let name = issuer_name(&reference(GROUP, "PKCS11Issuer"), Some("shop".to_owned())).unwrap();
        assert_eq!(name.namespace.as_deref(), Some("shop"));
    }
}
