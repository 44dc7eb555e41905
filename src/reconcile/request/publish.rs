//! Publishes what was signed.

use super::{
    Acted, Memory, Next, RequestError,
    conclude::Known,
    finish::{SUPERSEDED, finish},
    kind::Request,
    say::{Said, say},
    world::{Noted, World},
};

/// Writes the certificate that was signed for a request.
///
/// # Errors
/// The API server did not take it for now; the certificate stays known.
pub(super) async fn publish<R: Request, W: World<R>>(
    known: &Known<'_, R>,
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
        // It stays known until this replica may write again, or the request is seen finished.
        Said::NotOurs | Said::Told => Next::OnChange,
    };
    Ok(Acted::Then(next))
}
