//! Checks whether the requester may use the issuer.

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

use super::{conclude::Delay, due::DueRequest, kind::Request};
use crate::{
    api::IssuerName,
    issuance::{Refusal, RefusalReason},
    reconcile::Context,
    telemetry::ErrorChain,
    trace::{self, WorkStage},
};

/// Reason why a request does not reach the pipeline.
pub(super) enum Fenced {
    /// The requester may not use the issuer.
    Refused(Refusal),
    /// The check could not be made now.
    Delayed(Delay),
}

/// Checks whether the requester may use the issuer.
pub(super) async fn admitted<R: Request, S>(
    due: &DueRequest<'_, R, S>,
    context: &Context,
) -> Result<(), Fenced> {
    if let Some(reference) = due.known.request.reference() {
        may_reference(reference, due.known.issuer, context).await?;
    }
    match due.selector {
        Some(selector) => {
            is_selected(
                selector,
                due.known.request.tenant_namespace(),
                due.known.issuer,
                context,
            )
            .await
        }
        None => Ok(()),
    }
}

/// Checks whether the issuer serves the request's namespace. The namespace is read for every request, because a stale cache
/// could refuse a request for good.
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
                "{issuer} serves only some namespaces, and the request belongs to none; create it as a service account"
            ),
        ))
    })?;
    let unknown = |why: &(dyn std::error::Error + 'static)| {
        Fenced::Delayed(Delay::Passing(format!(
            "failed to check whether {issuer} serves namespace {namespace}: {}",
            ErrorChain(why)
        )))
    };
    let selector = Selector::try_from(selector.clone()).map_err(|error| unknown(&error))?;
    let namespaces = Api::<Namespace>::all(context.client.clone());
    let read = trace::stage(WorkStage::Check, namespaces.get_metadata(namespace))
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

/// Checks whether the author of a request may use a namespaced issuer, with the same review as cert-manager
/// (docs/reference/cert-manager.md, "Kubernetes CertificateSigningRequests").
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
    let params = PostParams::default();
    match trace::stage(WorkStage::Check, reviews.create(&params, &review)).await {
        Ok(answer) if answer.status.as_ref().is_some_and(|status| status.allowed) => Ok(()),
        Ok(_) => Err(Fenced::Refused(Refusal::new(
            RefusalReason::ReferenceDenied,
            format!(
                "the requester may not use {issuer}; that takes the verb reference on signers.cert-manager.io in the issuer's namespace"
            ),
        ))),
        Err(error) => Err(Fenced::Delayed(Delay::Passing(format!(
            "failed to check whether the requester may use {issuer}: {}",
            ErrorChain(&error)
        )))),
    }
}
