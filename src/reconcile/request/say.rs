//! Reports a conclusion: one status write, if the kind has a place for it, then one Event.

use std::time::Duration;

use super::{
    Memory, Next, Remembered as _,
    apply::{Applied, ApplyError},
    conclude::{Basis, Conclusion},
    kind::{Answer, Request},
    world::{Noted, World},
};
use crate::{
    issuance::Refusal,
    reconcile::events::{EventReason, Notice},
};

/// Note of the Event about an undecided request.
const UNDECIDED: &str = "Nobody has approved or denied this request; approve it, or check that an approver runs and may \
    approve requests for this issuer";

/// Outcome of reporting a conclusion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// The status is stored.
    Written,
    /// The object has changed since it was read. The watch will report the newer version, and the request is then looked at
    /// again.
    Conflict,
    /// The object is gone.
    Gone,
    /// Nothing was written, because the status has no place for the message or already contains it.
    Told,
    /// Nothing was reported, because the request now belongs to another replica's share.
    NotOurs,
}

/// Writes the status of a conclusion and emits its Event.
///
/// # Errors
/// The API server, or a webhook behind it, did not answer or rejected the write for now.
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
    if !world.is_own(request, memory.has_unpublished()) {
        return Ok(Said::NotOurs);
    }
    match answer {
        Answer::Write(status) => match world.store(request, &status).await? {
            Applied::Written => {
                world.count(request, result);
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

/// Reports a conclusion that ends the request. Once it is stored, nothing more is done.
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

/// Emits an Event about a request that nobody has approved or denied within the time that the operator allows. Before that,
/// schedules a look for the end of that time.
pub(super) fn say_undecided<R: Request, W: World<R>>(
    request: &R,
    memory: &mut Memory,
    world: &W,
) -> Next {
    let created = request.meta().creation_timestamp.as_ref();
    let (Some(after), Some(created)) = (world.undecided_after(), created) else {
        return Next::OnChange;
    };
    let time = world.time();
    let waited = Duration::try_from(time.day.duration_since(created.0)).unwrap_or_default();
    if waited < after {
        return Next::At(time.steady + (after - waited));
    }
    let notice = Notice::new(EventReason::Undecided, UNDECIDED);
    if world.is_own(request, memory.has_unpublished()) && memory.tells(&notice) {
        world.tell(request, notice);
    }
    Next::OnChange
}

/// Ends a request with a refusal, and notes it in the issuance log and the metrics. While the log takes no lines, the refusal
/// waits.
///
/// # Errors
/// As [`say`].
pub(super) async fn refuse<R: Request, W: World<R>>(
    known: &Basis<'_, R>,
    refusal: &Refusal,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, ApplyError> {
    if !world.can_note() {
        return Ok(Next::At(memory.failed(world.time().steady)));
    }
    let next = say_last(known.request, known.refused(refusal), memory, world).await?;
    if next == Next::Settled {
        let reason = refusal.reason().as_str();
        world.note(Noted::Refused(known.request, known.issuer, reason));
    }
    Ok(next)
}
