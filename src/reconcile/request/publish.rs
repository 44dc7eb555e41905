//! Publishes what was signed.

use super::{
    Memory, Next, RequestError,
    conclude::Known,
    finish::{SUPERSEDED, finish},
    kind::Request,
    say::{Said, say},
    world::{Noted, World},
};

/// What came of publishing.
pub(super) enum Published {
    Then(Next),
    /// The object has changed since it was read.
    Changed,
}

/// Writes the certificate that was signed for a request.
///
/// # Errors
/// The API server did not take it for now; the certificate stays known.
pub(super) async fn publish<R: Request, W: World<R>>(
    known: &Known<'_, R>,
    memory: &mut Memory,
    world: &W,
) -> Result<Published, RequestError> {
    let Some(signed) = memory.signed().cloned() else {
        return Ok(Published::Then(Next::OnChange));
    };
    let conclusion = known.issued(&signed.certificate, signed.publish);
    let next = match say(known.request, conclusion, memory, world).await? {
        Said::Written => {
            world.note(known.request, known.issuer, Noted::Published(&signed));
            memory.settle();
            Next::Settled
        }
        Said::Conflict => return Ok(Published::Changed),
        Said::Gone => {
            finish(known.request, known.issuer, memory, SUPERSEDED, world).await?;
            Next::OnChange
        }
        // It stays known until this replica may write again, or the request is seen finished.
        Said::NotOurs | Said::Told => Next::OnChange,
    };
    Ok(Published::Then(next))
}
