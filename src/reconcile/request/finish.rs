//! The end of what this process knows of a request.

use kube::ResourceExt as _;

use super::{Memory, RequestError, apply::read_again, due::subject, kind::Request};
use crate::{
    api::{IssuerName, tolerant::Tolerant},
    audit::note,
    metrics::RequestResult,
    pipeline::now,
    reconcile::Context,
};

/// Why a certificate is discarded: the request has changed, or has got another certificate.
pub(in crate::reconcile) const SUPERSEDED: &str = "superseded";
/// Why a certificate is discarded: this process ends, and could not publish it before.
pub(in crate::reconcile) const STOPPED: &str = "stopped";

/// Nothing more will be done for this request here. A certificate that was signed for it is named: as published if the API
/// server has stored it after all and only its answer was lost, else as discarded, for the reason `why`.
///
/// # Errors
/// What is stored could not be read; the certificate stays known.
pub(super) async fn finish<R: Request>(
    request: &R,
    name: &IssuerName,
    memory: &mut Memory,
    why: &'static str,
    context: &Context,
) -> Result<(), RequestError> {
    let Some(signed) = memory.signed() else {
        return Ok(());
    };
    // Not from the queue, which has dropped the octets.
    let stored = read_again(request, context).await?;
    let stored = stored.filter(|stored| stored.uid() == request.uid());
    let pem = signed.certificate.certificate_pem();
    // Behind the chain there may be the root.
    let published = stored
        .as_ref()
        .and_then(Request::certificate)
        .is_some_and(|octets| octets.starts_with(pem.as_bytes()));
    let (subject, line) = (subject(request, name), signed.line());
    let (result, noted) = if published {
        let noted = context.record.published(now(), &subject, &line);
        (RequestResult::Issued, noted)
    } else {
        let noted = context.record.discarded(now(), &subject, &line, why);
        (RequestResult::Discarded, noted)
    };
    context.metrics.request(R::KIND, result);
    note(noted);
    memory.owe_nothing();
    Ok(())
}

/// The same for an object that may not be one that can be read.
///
/// # Errors
/// As [`finish`].
pub(in crate::reconcile) async fn part_with<R: Request>(
    object: &Tolerant<R>,
    memory: &mut Memory,
    why: &'static str,
    context: &Context,
) -> Result<(), RequestError> {
    let Ok(request) = &object.0 else {
        return Ok(());
    };
    match request.issuer() {
        Some(issuer) => finish(request, &issuer, memory, why, context).await,
        None => Ok(()),
    }
}
