//! One request, from what is seen to what is written: observe, decide, act.

mod apply;
mod cluster;
mod conclude;
mod decide;
mod due;
mod fence;
mod finish;
mod kind;
mod memory;
mod observe;
mod publish;
mod say;
mod sign;
mod world;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::ResourceExt as _;
use tracing::{debug, warn};

use self::{
    apply::ApplyError,
    conclude::Known,
    decide::{Decision, Why, deadline, decide},
    due::Due,
    finish::finish,
    publish::publish,
    say::{refuse, say, say_last},
    sign::{Signing, sign},
    world::World,
};
pub(super) use self::{
    apply::full_name,
    finish::{STOPPED, SUPERSEDED, part_with},
    kind::Request,
    memory::{Memory, Remembered},
    observe::{is_finished, seat},
};
use super::{Context, issuer::Waiter};
use crate::{api::tolerant::Tolerant, issuance::Refusal, telemetry::Chain};

/// What comes after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: the request was seen to have ended.
    Ended,
    /// Nothing: a write of ours has ended it, which the watch has yet to tell of.
    Settled,
    /// A look when something changes.
    OnChange,
    /// Another look at this time, if nothing changes before.
    At(Instant),
}

/// Why a request is looked at again although nothing about it changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    /// The status was not written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The object could not be read again.
    #[error("failed to read {kind} {name} again")]
    Read {
        /// Its kind.
        kind: String,
        /// Its name, with its namespace where the kind has one.
        name: String,
        /// Why not.
        source: Box<kube::Error>,
    },
}

/// What brings this request back when its issuer has changed or its turn has come.
pub(super) fn waiter<R: Request>(request: &R) -> Waiter {
    Waiter {
        kind: R::KIND,
        uid: request.uid().unwrap_or_default(),
    }
}

/// Looks at one request and does the one thing that is due. `waiting` is how many requests wait for another try.
///
/// Waits for the API server and for a turn at the token. Dropped at any moment, it leaves in `memory` what was signed and is
/// not published.
pub(super) async fn look<R: Request>(
    object: &Tolerant<R>,
    memory: &mut Memory,
    waiting: usize,
    context: &Context,
) -> Next {
    let request = match &object.0 {
        Ok(request) => request,
        Err(invalid) => {
            warn!(kind = R::KIND.as_str(), name = %full_name(object), error = %Chain(invalid),
                  "left alone a request that cannot be read");
            return Next::OnChange;
        }
    };
    let called = called(request, context);
    let acted = act_until_settled(request, memory, context).await;
    if let Some(called) = called {
        // Its turn at the issuer has come and was not used: the next one's.
        context.limiter.leave(&called);
    }
    acted.unwrap_or_else(|error| {
        warn!(kind = R::KIND.as_str(), name = %full_name(object), error = %Chain(&error), "will try again");
        memory.retry_call(waiting, Instant::now())
    })
}

/// The request, if it is here because an issuer's limit lets it sign now.
fn called<R: Request>(request: &R, context: &Context) -> Option<Waiter> {
    if context.limiter.is_idle() {
        return None;
    }
    let request = waiter(request);
    context.limiter.is_called(&request).then_some(request)
}

/// Acts. If the object has changed before a certificate was published, reads it and decides again: the certificate is
/// published if that is still due.
async fn act_until_settled<R: Request, W: World<R>>(
    request: &R,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, RequestError> {
    let mut fresh: Option<R> = None;
    loop {
        match act(fresh.as_ref().unwrap_or(request), memory, world).await? {
            Acted::Then(next) => return Ok(next),
            Acted::Changed => {
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

/// What a decision has come to.
enum Acted {
    Then(Next),
    /// The object has changed since it was read, and something was signed for it.
    Changed,
}

async fn act<R: Request, W: World<R>>(
    request: &R,
    memory: &mut Memory,
    world: &W,
) -> Result<Acted, RequestError> {
    let seen = world.observe(request, memory.owes());
    let Some(name) = &seen.issuer else {
        return Ok(Acted::Then(Next::OnChange));
    };
    let time = world.time();
    let end = deadline(&seen.facts).map(|end| time.steady + time_left(time.day, end));
    let known = Known {
        request,
        issuer: name,
        now: time.day,
    };
    let next = match (decide(&seen.facts, &memory.recalled(), time), seen.ready) {
        (Decision::Leave(why), _) => {
            debug!(kind = R::KIND.as_str(), name = %full_name(request), ?why, "nothing to do");
            match why {
                Why::Finished => Next::Ended,
                Why::NotOurs | Why::NotApproved | Why::Settled | Why::NotOurShare => Next::OnChange,
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
            // First put on the list, then write: a change of the issuer in between is not missed.
            world.await_issuer(name, request);
            if let Some(conclusion) = known.waiting(waiting) {
                say(request, conclusion, memory, world).await?;
            }
            // After its end it waits only for an issuer that is being looked at.
            end.filter(|end| *end > time.steady)
                .map_or(Next::OnChange, Next::At)
        }
        (Decision::HoldOff(until), _) => Next::At(end.map_or(until, |end| end.min(until))),
        (Decision::Refuse, _) => {
            refuse(&known, &Refusal::pending_too_long(), memory, world).await?
        }
        (Decision::Sign, Some(issuer)) => {
            let selector = seen.selector.as_ref();
            let due = Due {
                known: &known,
                issuer: &issuer,
                selector,
                end,
            };
            match sign(&due, memory, world).await? {
                Signing::Then(next) => next,
                Signing::Signed => return publish(&known, memory, world).await,
            }
        }
        (Decision::Publish, _) => return publish(&known, memory, world).await,
        // It is signed with a snapshot alone.
        (Decision::Sign, None) => Next::OnChange,
    };
    Ok(Acted::Then(next))
}

fn time_left(now: Timestamp, then: Timestamp) -> Duration {
    then.duration_since(now).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests;
