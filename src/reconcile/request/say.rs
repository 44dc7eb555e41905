//! Says something of a request: one status write, where its kind has a place for it, then one Event.

use super::{
    Memory, Next, Remembered as _,
    apply::{Applied, ApplyError},
    conclude::{Conclusion, Known},
    kind::{Answer, Request},
    world::{Noted, World},
};
use crate::issuance::Refusal;

/// What came of saying it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// It is stored.
    Written,
    /// The object has changed since it was read: a newer version is on its way to us, and decides anew.
    Conflict,
    /// The object is gone.
    Gone,
    /// The status has no place for it, or says so already.
    Told,
    /// Nothing was said: the request has become another replica's.
    NotOurs,
}

/// Says it.
///
/// # Errors
/// The API server, or a webhook behind it, did not answer or refused for now.
pub(super) async fn say<R: Request, W: World<R>>(
    request: &R,
    conclusion: Conclusion,
    memory: &mut Memory,
    world: &W,
) -> Result<Said, ApplyError> {
    let Conclusion {
        answer,
        notice,
        result,
    } = conclusion;
    if !world.is_own(request, memory.owes()) {
        return Ok(Said::NotOurs);
    }
    match answer {
        Answer::Write(status) => match world.store(request, &status).await? {
            Applied::Written => {
                world.count(result);
                world.tell(request, notice);
                Ok(Said::Written)
            }
            Applied::Conflict => Ok(Said::Conflict),
            Applied::Gone => Ok(Said::Gone),
        },
        Answer::Tell => {
            if memory.tells(&notice) {
                world.tell(request, notice);
            }
            Ok(Said::Told)
        }
        Answer::SaidBefore => Ok(Said::Told),
    }
}

/// Says the last thing that there is to say of a request. Once it is stored, nothing more is done.
///
/// # Errors
/// As [`say`].
pub(super) async fn say_last<R: Request, W: World<R>>(
    request: &R,
    conclusion: Conclusion,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, ApplyError> {
    Ok(match say(request, conclusion, memory, world).await? {
        Said::Written => {
            memory.settle();
            Next::Settled
        }
        Said::Conflict | Said::Gone | Said::Told | Said::NotOurs => Next::OnChange,
    })
}

/// Says that only a new request can help, and notes it.
///
/// # Errors
/// As [`say`].
pub(super) async fn refuse<R: Request, W: World<R>>(
    known: &Known<'_, R>,
    refusal: &Refusal,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, ApplyError> {
    let next = say_last(known.request, known.refused(refusal), memory, world).await?;
    if next == Next::Settled {
        let reason = refusal.reason().as_str();
        world.note(known.request, known.issuer, Noted::Refused(reason));
    }
    Ok(next)
}
