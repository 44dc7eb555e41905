//! Publishes a signed certificate.

use super::{
    Acted, Memory, Next, RequestError,
    conclude::Basis,
    finish::{SUPERSEDED, finish},
    kind::Request,
    say::{Said, say},
    world::{Noted, World},
};

/// Writes the certificate that was signed for a request to its status.
///
/// # Errors
/// The API server did not accept the write for now; the certificate stays in the memory.
pub(super) async fn publish<R: Request, W: World<R>>(
    known: &Basis<'_, R>,
    memory: &mut Memory,
    world: &W,
) -> Result<Acted, RequestError> {
    let Some(signed) = memory.signed().cloned() else {
        return Ok(Acted::Then(Next::OnChange));
    };
    let conclusion = known.issued(&signed.certificate, signed.publish);
    let next = match say(known.request, conclusion, memory, world).await? {
        Said::Written => {
            world.note(known.request, known.issuer, Noted::Published(&signed));
            memory.settle();
            Next::Settled
        }
        Said::Conflict => return Ok(Acted::Changed),
        Said::Gone => {
            finish(known.request, memory, SUPERSEDED, world).await?;
            Next::OnChange
        }
        // The certificate stays in the memory until this replica may write again or observes that the request has ended.
        Said::NotOurs | Said::Told => Next::OnChange,
    };
    Ok(Acted::Then(next))
}
