//! Records what became of a certificate before its request is forgotten.

use kube::ResourceExt as _;

use super::{
    Memory, RequestError,
    kind::Request,
    world::{Noted, World},
};
use crate::{api::tolerant::Tolerant, reconcile::Context};

/// A certificate is discarded because its request has changed or has another certificate.
pub(in crate::reconcile) const SUPERSEDED: &str = "superseded";
/// A certificate is discarded because this process stops before it has published the certificate.
pub(in crate::reconcile) const STOPPED: &str = "stopped";

/// Records what became of the certificate that was signed for a request: published, if the API server has stored it and only
/// its answer was lost; else discarded, for the reason `why`. Then forgets the certificate.
///
/// # Errors
/// The stored object could not be read; the certificate stays in the memory.
pub(super) async fn finish<R: Request, W: World<R>>(
    request: &R,
    memory: &mut Memory,
    why: &'static str,
    world: &W,
) -> Result<(), RequestError> {
    let Some(signed) = memory.signed() else {
        return Ok(());
    };
    // Read from the API server, because the queue has dropped the octets of the certificate.
    let stored = world.read(request).await?;
    let stored = stored.filter(|stored| stored.uid() == request.uid());
    let pem = signed.certificate.certificate_pem();
    // The root may follow the chain.
    let published = stored
        .as_ref()
        .and_then(Request::certificate)
        .is_some_and(|octets| octets.starts_with(pem.as_bytes()));
    let noted = match published {
        true => Noted::FoundPublished(request, signed),
        false => Noted::Discarded(Some(request), signed, why),
    };
    world.note(noted);
    memory.clear_unpublished();
    Ok(())
}

/// Does the same as [`finish`]. The certificate of an object that can no longer be parsed is discarded, because its status
/// cannot be read either.
///
/// # Errors
/// As [`finish`].
pub(in crate::reconcile) async fn discard_unpublished<R: Request>(
    object: &Tolerant<R>,
    memory: &mut Memory,
    why: &'static str,
    context: &Context,
) -> Result<(), RequestError> {
    account_for(object, memory, why, context).await
}

/// Does the work of [`discard_unpublished`] in any world.
pub(super) async fn account_for<R: Request, W: World<R>>(
    object: &Tolerant<R>,
    memory: &mut Memory,
    why: &'static str,
    world: &W,
) -> Result<(), RequestError> {
    match &object.0 {
        Ok(request) => finish(request, memory, why, world).await,
        Err(_) => {
            if let Some(signed) = memory.signed() {
                world.note(Noted::Discarded(None, signed, why));
                memory.clear_unpublished();
            }
            Ok(())
        }
    }
}
