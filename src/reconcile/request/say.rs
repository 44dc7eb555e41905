//! Says something of a request: one status write, where its kind has a place for it, then one Event.

use super::{
    Memory, Next,
    apply::{Applied, ApplyError, apply},
    conclude::{Conclusion, Known},
    decide::Share,
    due::subject,
    kind::{Answer, Request},
    observe::share,
};
use crate::{audit::note, issuance::Refusal, pipeline::now, reconcile::Context};

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
pub(super) async fn say<R: Request>(
    request: &R,
    conclusion: Conclusion,
    memory: &mut Memory,
    context: &Context,
) -> Result<Said, ApplyError> {
    let Conclusion {
        answer,
        notice,
        result,
    } = conclusion;
    if share(request, memory.owes(), context) == Share::Others {
        return Ok(Said::NotOurs);
    }
    let tell = |notice| {
        context
            .events
            .publish(notice, request.object_ref(&()), now());
    };
    match answer {
        Answer::Write(status) => match apply(&context.client, request, &status).await? {
            Applied::Written => {
                context.metrics.request(R::KIND, result);
                tell(notice);
                Ok(Said::Written)
            }
            Applied::Conflict => Ok(Said::Conflict),
            Applied::Gone => Ok(Said::Gone),
        },
        Answer::Tell => {
            if memory.tells(&notice) {
                tell(notice);
            }
            Ok(Said::Told)
        }
        Answer::SaidBefore => Ok(Said::Told),
    }
}

/// Says that only a new request can help, and notes it.
///
/// # Errors
/// As [`say`].
pub(super) async fn refuse<R: Request>(
    known: &Known<'_, R>,
    refusal: &Refusal,
    memory: &mut Memory,
    context: &Context,
) -> Result<Next, ApplyError> {
    let said = say(known.request, known.refused(refusal), memory, context).await?;
    if said != Said::Written {
        return Ok(Next::OnChange);
    }
    let reason = refusal.reason().as_str();
    context.metrics.refused(reason);
    let subject = subject(known.request, known.issuer);
    note(context.record.refused(now(), &subject, reason));
    memory.settle();
    Ok(Next::Settled)
}
