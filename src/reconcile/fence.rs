//! What stands between a request that is due and its issuer: who may use it.

use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, api::PostParams};

use super::{Context, conclude::Delay, kind::Request, sign::Due};
use crate::{
    issuance::{Refusal, RefusalReason},
    pipeline::IssuerName,
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
pub(super) async fn admitted<R: Request>(
    due: &Due<'_, R>,
    context: &Context,
) -> Result<(), Fenced> {
    if let Some(reference) = due.request.reference() {
        may_reference(reference, due.name, context).await?;
    }
    Ok(())
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
