//! One request, from observation to status write: observe, decide, act.

mod apply;
mod cluster;
mod conclude;
mod decide;
mod due;
mod fence;
mod finish;
mod kind;
mod log;
mod memory;
mod observe;
mod publish;
mod say;
mod sign;
mod world;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;

pub use self::sign::BUG;
use self::{
    apply::ApplyError,
    conclude::Basis,
    decide::{Decision, Why, deadline, decide},
    due::DueRequest,
    finish::finish,
    publish::publish,
    say::{refuse, say, say_last, say_undecided},
    sign::{SigningStep, sign},
    world::World,
};
pub(super) use self::{
    apply::full_name,
    finish::{STOPPED, SUPERSEDED, discard_unpublished},
    kind::CERTIFICATE,
    log::{kind_of, log_request},
    memory::{Memory, Remembered, WorkedOn},
    observe::{is_finished, seat, undecided_since, waits_since},
};
pub(crate) use self::{
    decide::{Approval, Progress, Stage},
    kind::{Request, issuer_name},
};
use super::{Context, issuer::Waiter};
use crate::{api::tolerant::Tolerant, issuance::Refusal, telemetry::ErrorChain, trace};

/// Next step after a look at a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the stored request has ended or was deleted.
    Ended,
    /// Nothing: a write of ours has ended the request, but the watch has not reported it yet.
    Settled,
    /// Another look when something changes.
    OnChange,
    /// Another look at this time, or earlier if something changes.
    At(Instant),
}

/// Failure after which a request is looked at again although nothing about it has changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The status was not written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The object could not be read again.
    #[error("failed to read {kind} {name} again")]
    Read {
        /// Kind of the object.
        kind: String,
        /// Name of the object, with its namespace if the kind has one.
        name: String,
        /// The API server's error.
        source: Box<kube::Error>,
    },
}

/// Returns the handle by which a request is woken when its issuer changes or its turn comes.
pub(super) fn waiter<R: Request>(request: &R) -> Waiter {
    Waiter {
        kind: R::KIND,
        uid: request.uid().unwrap_or_default(),
    }
}

/// Looks at one request and takes the one action that is due. `waiting` is the number of other requests that wait for a
/// later look.
///
/// Waits for the API server and for a turn at the token. If the future is dropped, an unpublished certificate stays in
/// `memory`.
pub(super) async fn look<R: Request>(
    object: &Tolerant<R>,
    memory: &mut Memory,
    waiting: usize,
    context: &Context,
) -> Next {
    let request = match &object.0 {
        Ok(request) => request,
        Err(invalid) => {
            let error = ErrorChain(invalid).to_string();
            log_request!(seldom warn, &error, object, error,
                         "ignored a request that cannot be parsed");
            return Next::OnChange;
        }
    };
    let granted = granted_turn(request, context);
    let acted = act_until_settled(request, memory, context).await;
    if let Some(granted) = granted {
        // If the request did not use the turn that the issuer's limit granted it, pass the turn on.
        context.limiter.leave(&granted);
    }
    acted.unwrap_or_else(|error| {
        let error = ErrorChain(&error).to_string();
        log_request!(seldom warn, &error, object, error, "will try again");
        memory.retry_at(waiting, Instant::now())
    })
}

/// Returns the request's handle if an issuer's limit has granted it a turn.
fn granted_turn<R: Request>(request: &R, context: &Context) -> Option<Waiter> {
    if context.limiter.is_idle() {
        return None;
    }
    let request = waiter(request);
    context.limiter.is_woken(&request).then_some(request)
}

/// Acts on a request. If the object changed before its certificate was published, or if what the queue keeps of it is not
/// enough, reads it and decides again. A certificate that was signed is then published if that is still due.
async fn act_until_settled<R: Request, W: World<R>>(
    request: &R,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, RequestError> {
    let mut fresh: Option<R> = None;
    loop {
        let (seen, is_whole) = match &fresh {
            Some(fresh) => (fresh, true),
            None => (request, !request.lacks_csr()),
        };
        match act(seen, is_whole, memory, world).await? {
            Acted::Then(next) => return Ok(next),
            Acted::ReadAgain => {
                let read = world.read(request).await?;
                let same = read.filter(|read| read.meta().uid == request.meta().uid);
                if same.is_none() {
                    finish(request, memory, SUPERSEDED, world).await?;
                    return Ok(Next::OnChange);
                }
                fresh = same;
            }
        }
    }
}

/// Outcome of acting on a decision.
enum Acted {
    Then(Next),
    /// The object has to be read: it has changed and its certificate is not published, or the queue has not kept its CSR.
    ReadAgain,
}

async fn act<R: Request, W: World<R>>(
    request: &R,
    is_whole: bool,
    memory: &mut Memory,
    world: &W,
) -> Result<Acted, RequestError> {
    let seen = world.observe(request, memory.has_unpublished());
    let Some(name) = &seen.issuer else {
        return Ok(Acted::Then(Next::OnChange));
    };
    let time = world.time();
    let end = deadline(&seen.facts).map(|end| time.steady + time_left(time.day, end));
    let known = Basis {
        request,
        issuer: name,
        now: time.day,
    };
    let decision = decide(&seen.facts, &memory.recalled(), time);
    if !is_whole && matches!(decision, Decision::Sign | Decision::Refuse) {
        return Ok(Acted::ReadAgain);
    }
    match decision {
        // The request still waits for what it waited for when the try failed.
        Decision::HoldOff(_) => {}
        Decision::Wait(waiting) => memory.wait_for(Some(waiting.reason())),
        Decision::Leave(_)
        | Decision::Finish
        | Decision::Deny
        | Decision::Refuse
        | Decision::Sign
        | Decision::Publish => memory.wait_for(None),
    }
    let next = match (decision, seen.ready) {
        (Decision::Leave(why), _) => {
            log_request!(debug, request, ?why, "nothing to do");
            trace::idle();
            match why {
                Why::Finished => Next::Ended,
                Why::NotApproved => say_undecided(request, memory, world),
                Why::NotOurs | Why::Settled | Why::NotOurShare => Next::OnChange,
            }
        }
        (Decision::Finish, _) => {
            finish(request, memory, SUPERSEDED, world).await?;
            match decide::is_finished(&seen.facts.stage) {
                true => Next::Ended,
                false => Next::OnChange,
            }
        }
        (Decision::Deny, _) => {
            finish(request, memory, SUPERSEDED, world).await?;
            say_last(request, known.denied(), memory, world).await?
        }
        (Decision::Wait(waiting), _) => {
            // Register before the write, so that a change of the issuer in between is not missed.
            world.await_issuer(name, request);
            if let Some(conclusion) = known.waiting(waiting) {
                say(request, conclusion, memory, world).await?;
            }
            // After its deadline, a request waits only for an issuer that has not been looked at yet.
            end.filter(|end| *end > time.steady)
                .map_or(Next::OnChange, Next::At)
        }
        (Decision::HoldOff(until), _) => Next::At(end.map_or(until, |end| end.min(until))),
        (Decision::Refuse, _) => {
            refuse(&known, &Refusal::pending_too_long(), memory, world).await?
        }
        (Decision::Sign, Some(issuer)) => {
            let selector = seen.selector.as_ref();
            let due = DueRequest {
                known: &known,
                issuer: &issuer,
                version: seen.version.as_ref(),
                selector,
                end,
            };
            match sign(&due, memory, world).await? {
                SigningStep::Then(next) => next,
                SigningStep::Signed => return publish(&known, memory, world).await,
            }
        }
        (Decision::Publish, _) => return publish(&known, memory, world).await,
        // Signing needs a snapshot of the issuer.
        (Decision::Sign, None) => Next::OnChange,
    };
    Ok(Acted::Then(next))
}

fn time_left(now: Timestamp, then: Timestamp) -> Duration {
    then.duration_since(now).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests;
