//! Publishes a signed certificate.

use super::{
    Acted, Memory, Next, RequestError,
    conclude::{Basis, Delay},
    finish::{SUPERSEDED, finish},
    kind::Request,
    say::{Said, say},
    world::{Noted, World},
};

/// Why a certificate is not published yet.
const NOT_LOGGED: &str = "the certificate is signed; it is published when the issuance log has it, which the operator of the controller has to mend";

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
    if !world.is_logged(&signed).await {
        let again = memory.failed(world.time().steady);
        let delay = Delay::Passing(NOT_LOGGED.to_owned());
        if let Some(conclusion) = known.delayed(&delay) {
            say(known.request, conclusion, memory, world).await?;
        }
        return Ok(Acted::Then(Next::At(again)));
    }
    let conclusion = known.issued(&signed.certificate, &signed.publish);
    let next = match say(known.request, conclusion, memory, world).await? {
        Said::Written => {
            world.note(Noted::Published(known.request, &signed));
            memory.settle();
            Next::Settled
        }
        Said::Conflict => return Ok(Acted::ReadAgain),
        Said::Gone => {
            finish(known.request, memory, SUPERSEDED, world).await?;
            Next::OnChange
        }
        // The certificate stays in the memory until this replica may write again or observes that the request has ended.
        Said::NotOurs | Said::Told => Next::OnChange,
    };
    Ok(Acted::Then(next))
}
