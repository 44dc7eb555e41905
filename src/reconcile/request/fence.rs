//! What stands between a request that is due and its issuer: who may use it.

use k8s_openapi::{
    api::{
        authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec},
        core::v1::Namespace,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::{
    Api, ResourceExt as _,
    api::PostParams,
    core::{Selector, SelectorExt as _},
};

use super::{conclude::Delay, due::Due, kind::Request};
use crate::{
    api::IssuerName,
    issuance::{Refusal, RefusalReason},
    reconcile::Context,
    telemetry::Chain,
};

/// Why a request does not get as far as the pipeline.
pub(super) enum Fenced {
    /// It never will.
    Refused(Refusal),
    /// It cannot be told now.
    Delayed(Delay),
}

/// Asks whether the requester may use the issuer.
pub(super) async fn admitted<R: Request, S>(
    due: &Due<'_, R, S>,
    context: &Context,
) -> Result<(), Fenced> {
    if let Some(reference) = due.known.request.reference() {
        may_reference(reference, due.known.issuer, context).await?;
    }
    match due.selector {
        Some(selector) => {
            is_selected(
                selector,
                due.known.request.fenced_in(),
                due.known.issuer,
                context,
            )
            .await
        }
        None => Ok(()),
    }
}

/// Whether the issuer serves the namespace that the request belongs to. The namespace is read for every request: a
/// cache that lags would fail one for good.
async fn is_selected(
    selector: &LabelSelector,
    namespace: Option<&str>,
    issuer: &IssuerName,
    context: &Context,
) -> Result<(), Fenced> {
    let namespace = namespace.ok_or_else(|| {
        Fenced::Refused(Refusal::new(
            RefusalReason::NamespaceUnknown,
            format!(
                "{issuer} serves some namespaces only, and the request belongs to none; have it made by a service account"
            ),
        ))
    })?;
    let unknown = |why: &dyn std::error::Error| {
        Fenced::Delayed(Delay::Passing(format!(
            "whether {issuer} serves namespace {namespace} cannot be told: {}",
            Chain(why)
        )))
    };
    let selector = Selector::try_from(selector.clone()).map_err(|error| unknown(&error))?;
    let read = Api::<Namespace>::all(context.client.clone())
        .get_metadata(namespace)
        .await
        .map_err(|error| unknown(&error))?;
    if selector.matches(read.labels()) {
        return Ok(());
    }
    Err(Fenced::Refused(Refusal::new(
        RefusalReason::NamespaceNotSelected,
        format!(
            "{issuer} does not serve namespace {namespace}; its namespaceSelector selects {selector}"
        ),
    )))
}

/// Whether the author of a request may use a namespaced issuer, as cert-manager asks it (cert-manager.md 1.7).
async fn may_reference(
    reference: SubjectAccessReviewSpec,
    issuer: &IssuerName,
    context: &Context,
) -> Result<(), Fenced> {
    let review = SubjectAccessReview {
        spec: reference,
        ..SubjectAccessReview::default()
    };
    let reviews = Api::<SubjectAccessReview>::all(context.client.clone());
    match reviews.create(&PostParams::default(), &review).await {
        Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => Ok(()),
        Ok(_) => Err(Fenced::Refused(Refusal::new(
            RefusalReason::ReferenceDenied,
            format!(
                "the requester may not use {issuer}; it takes the verb reference on signers of cert-manager.io in that namespace"
            ),
        ))),
        Err(error) => Err(Fenced::Delayed(Delay::Passing(format!(
            "the API server does not tell whether the requester may use {issuer}: {}",
            Chain(&error)
        )))),
    }
}
