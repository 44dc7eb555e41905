//! The end of what this process knows of a request.

use kube::ResourceExt as _;

use super::{
    Memory, RequestError,
    kind::Request,
    world::{Noted, World},
};
use crate::{api::tolerant::Tolerant, reconcile::Context};

/// Why a certificate is discarded: the request has changed, or has got another certificate.
pub(in crate::reconcile) const SUPERSEDED: &str = "superseded";
/// Why a certificate is discarded: this process ends, and could not publish it before.
pub(in crate::reconcile) const STOPPED: &str = "stopped";

/// Nothing more will be done for this request here. A certificate that was signed for it is named: as published if the API
/// server has stored it after all and only its answer was lost, else as discarded, for the reason `why`.
///
/// # Errors
/// What is stored could not be read; the certificate stays known.
pub(super) async fn finish<R: Request, W: World<R>>(
    request: &R,
    memory: &mut Memory,
    why: &'static str,
    world: &W,
) -> Result<(), RequestError> {
    let (Some(signed), Some(issuer)) = (memory.signed(), request.issuer()) else {
        return Ok(());
    };
    // Not from the queue, which has dropped the octets.
    let stored = world.read(request).await?;
    let stored = stored.filter(|stored| stored.uid() == request.uid());
    let pem = signed.certificate.certificate_pem();
    // Behind the chain there may be the root.
    let published = stored
        .as_ref()
        .and_then(Request::certificate)
        .is_some_and(|octets| octets.starts_with(pem.as_bytes()));
    let noted = match published {
        true => Noted::FoundPublished(signed),
        false => Noted::Discarded(signed, why),
    };
    world.note(request, &issuer, noted);
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
    match &object.0 {
        Ok(request) => finish(request, memory, why, context).await,
        Err(_) => Ok(()),
    }
}
