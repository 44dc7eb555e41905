//! One request from what is seen to what is written.

use std::time::Duration;

use kube::ResourceExt as _;
use tracing::{debug, warn};

use super::{
    Context,
    apply::{Applied, ApplyError, apply, full_name},
    conclude::{Conclusion, Delay, Known},
    decide::{Decision, Share, Why, decide},
    fence::{Fenced, admitted},
    finish::{SUPERSEDED, finish, read_again},
    issuers::Waiter,
    kind::{Answer, Request},
    ledger::Found,
    observe::{observe, share},
    sign::{Due, Outcome, sign, subject},
};
use crate::{
    api::tolerant::Tolerant,
    issuance::Refusal,
    metrics::RequestResult,
    pipeline::{Signed, now, sign::note},
    signers::limiter::{Limited, Turn},
    telemetry::Chain,
};

/// So long a signature may take without a limit; who waits no longer for a turn is not told of it.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// Why a request is looked at again although nothing about it changed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The status was not written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The object could not be read again after a conflict.
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

/// Looks at one request and does the one thing that is due. Says when to look again although nothing changes, if then.
///
/// # Errors
/// The API server could not be reached or refused for now; [`retry`] says when to look again.
pub async fn reconcile<R: Request>(
    request: &Tolerant<R>,
    context: &Context,
) -> Result<Option<Duration>, RequestError> {
    match &request.0 {
        Ok(request) => {
            let called = called(request, context);
            let stepped = step(request, context).await;
            if let Some(called) = called {
                // It was its turn, and it needed none: the next one's.
                context.limiter.leave(&called);
            }
            stepped
        }
        Err(invalid) => {
            warn!(kind = R::KIND.as_str(), name = %full_name(request), error = %Chain(invalid),
                  "left alone a request that cannot be read");
            Ok(None)
        }
    }
}

/// The request, if it is here because an issuer's limit lets it sign now.
fn called<R: Request>(request: &R, context: &Context) -> Option<Waiter> {
    if context.limiter.is_idle() {
        return None;
    }
    let request = Waiter::of(request);
    context.limiter.is_called(&request).then_some(request)
}

/// How long to wait after an error before looking again.
#[must_use]
pub fn retry<R: Request>(
    request: &Tolerant<R>,
    error: &RequestError,
    context: &Context,
) -> Duration {
    warn!(kind = R::KIND.as_str(), name = %full_name(request), error = %Chain(error), "will try again");
    let uid = request.uid().unwrap_or_default();
    context.retries.after_failed_write(&uid)
}

async fn step<R: Request>(
    request: &R,
    context: &Context,
) -> Result<Option<Duration>, RequestError> {
    let seen = observe(request, context);
    let uid = request.uid().unwrap_or_default();
    let decision = decide(&seen.facts);
    let Some(name) = &seen.issuer else {
        return Ok(None);
    };
    let known = Known {
        request,
        issuer: name,
        now: now(),
    };
    let left = seen
        .max_pending
        .and_then(|most| Some(most.saturating_sub(context.patience.waited(&uid)?)));
    let open = matches!(decision, Decision::Wait(_) | Decision::Issue);
    if open && left.is_some_and(|left| left.is_zero()) && !context.ledger.holds(&uid) {
        let refusal = Refusal::pending_too_long();
        return refuse(&known, &refusal, context).await;
    }
    let conclusion = match (decision, &seen.ready) {
        // What was signed here and not published stays known until the request is seen finished, or ours again.
        (Decision::Leave(Why::NotOurShare), _) => return Ok(None),
        (Decision::Leave(why @ (Why::NotOurs | Why::NotApproved | Why::Finished)), _) => {
            debug!(kind = R::KIND.as_str(), name = %full_name(request), ?why, "nothing to do");
            finish(request, name, &uid, SUPERSEDED, context).await?;
            return Ok(None);
        }
        (Decision::Deny, _) => Some(known.denied()),
        (Decision::Wait(waiting), _) => {
            context.issuers.wait(name, Waiter::of(request));
            known.waiting(waiting)
        }
        (Decision::Issue, Some(issuer)) => {
            return issue(
                &Due {
                    request,
                    uid: &uid,
                    name,
                    issuer,
                    selector: seen.selector.as_ref(),
                    max_pending: seen.max_pending,
                },
                context,
            )
            .await;
        }
        (Decision::Issue, None) => None,
    };
    if let Some(conclusion) = conclusion {
        say(request, conclusion, context).await?;
    }
    Ok(left)
}

/// Signs if that is still to be done, and publishes.
async fn issue<R: Request>(
    due: &Due<'_, R>,
    context: &Context,
) -> Result<Option<Duration>, RequestError> {
    if let Some(wait) = context.retries.remaining(due.uid) {
        return Ok(Some(wait));
    }
    let signed = match context.ledger.find(due.uid) {
        Found::Published => return Ok(None),
        Found::Unpublished(signed) => signed,
        Found::Nothing => {
            match admitted(due, context).await {
                Ok(()) => {}
                Err(Fenced::Refused(refusal)) => {
                    return refuse(&due.known(), &refusal, context).await;
                }
                Err(Fenced::Delayed(delay)) => return delayed(due, &delay, context).await,
            }
            let permit = match turn(due, context) {
                Turn::Now(permit) => permit,
                Turn::Later { waited } => return in_turn(due, waited, context).await,
            };
            if due.max_pending.is_some() {
                context.patience.tried(due.uid);
            }
            let outcome = sign(due, context).await;
            drop(permit);
            match outcome {
                Outcome::Signed(signed) => {
                    context.ledger.signed(due.uid, signed.clone());
                    signed
                }
                Outcome::Refused(refusal) => return refuse(&due.known(), &refusal, context).await,
                Outcome::Delayed(delay) => return delayed(due, &delay, context).await,
            }
        }
    };
    publish(due, &signed, context).await
}

/// Asks the issuer's limit. The request takes turns with those of other tenants.
fn turn<R: Request>(due: &Due<'_, R>, context: &Context) -> Turn<Waiter> {
    let key = &due.issuer.key;
    let at = Limited {
        issuer: key.issuer(),
        token: key.token_name(),
        limit: due.issuer.limit,
    };
    context
        .limiter
        .enter(at, &due.request.tenant().into(), Waiter::of(due.request))
}

/// The request is called when its turn comes. Only one that has to wait for long is told so, and once.
async fn in_turn<R: Request>(
    due: &Due<'_, R>,
    waited: Duration,
    context: &Context,
) -> Result<Option<Duration>, RequestError> {
    if let Some(rest) = TELL_AFTER
        .checked_sub(waited)
        .filter(|rest| !rest.is_zero())
    {
        return Ok(Some(rest));
    }
    if let Some(conclusion) = due.known().delayed(&Delay::Turn) {
        say(due.request, conclusion, context).await?;
    }
    Ok(None)
}

async fn refuse<R: Request>(
    known: &Known<'_, R>,
    refusal: &Refusal,
    context: &Context,
) -> Result<Option<Duration>, RequestError> {
    let reason = refusal.reason().as_str();
    say(known.request, known.refused(refusal), context).await?;
    context.metrics.refused(reason);
    let subject = subject(known.request, known.issuer);
    note(context.record.refused(now(), &subject, reason));
    Ok(None)
}

async fn delayed<R: Request>(
    due: &Due<'_, R>,
    delay: &Delay,
    context: &Context,
) -> Result<Option<Duration>, RequestError> {
    // First put on the list, then write: a change of the issuer in between is not missed.
    context.issuers.wait(due.name, Waiter::of(due.request));
    let again = context.retries.after_failure(due.uid);
    let again = match (due.max_pending, context.patience.waited(due.uid)) {
        (Some(most), Some(waited)) => again.min(most.saturating_sub(waited)),
        (Some(_) | None, _) => again,
    };
    if let Some(conclusion) = due.known().delayed(delay) {
        say(due.request, conclusion, context).await?;
    }
    Ok(Some(again))
}

/// Writes the certificate; after a conflict reads again, decides again, and writes the same one if it is still due.
async fn publish<R: Request>(
    due: &Due<'_, R>,
    signed: &Signed,
    context: &Context,
) -> Result<Option<Duration>, RequestError> {
    let mut fresh: Option<R> = None;
    loop {
        let request = fresh.as_ref().unwrap_or(due.request);
        let known = Known {
            request,
            ..due.known()
        };
        let conclusion = known.issued(&signed.certificate, signed.issuer.publish);
        let Some(applied) = say(request, conclusion, context).await? else {
            return Ok(None);
        };
        match applied {
            Applied::Written => {
                context.ledger.published(due.uid);
                note(
                    context
                        .record
                        .published(now(), &due.subject(), &signed.line()),
                );
                return Ok(None);
            }
            Applied::Gone => {
                finish(due.request, due.name, due.uid, SUPERSEDED, context).await?;
                return Ok(None);
            }
            Applied::Conflict => {
                let read = read_again(due.request, context).await?;
                let same = read.filter(|read| read.uid().as_deref() == Some(due.uid));
                match same
                    .as_ref()
                    .map(|read| decide(&observe(read, context).facts))
                {
                    // To write, or to see once more that it is not ours.
                    Some(Decision::Issue | Decision::Leave(Why::NotOurShare)) => fresh = same,
                    Some(
                        Decision::Deny
                        | Decision::Wait(_)
                        | Decision::Leave(Why::NotOurs | Why::NotApproved | Why::Finished),
                    )
                    | None => {
                        finish(due.request, due.name, due.uid, SUPERSEDED, context).await?;
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// One status write, where the kind has a place for it, then one Event. A conflict means that a newer version is on its
/// way to us: it decides anew. `None` where the request has become another replica's: nothing is said.
async fn say<R: Request>(
    request: &R,
    conclusion: Conclusion,
    context: &Context,
) -> Result<Option<Applied>, ApplyError> {
    let Conclusion {
        answer,
        notice,
        result,
    } = conclusion;
    let uid = request.uid().unwrap_or_default();
    if share(request, &uid, context) == Share::Others {
        return Ok(None);
    }
    match answer {
        Answer::Write(status) => {
            let applied = apply(&context.client, request, &status).await?;
            if applied != Applied::Written {
                return Ok(Some(applied));
            }
            context.metrics.request(R::KIND, result);
            context
                .events
                .publish(notice, request.object_ref(&()), now());
        }
        Answer::Tell => context
            .events
            .publish_once(&uid, notice, request.object_ref(&()), now()),
        Answer::SaidBefore => {}
    }
    if result != RequestResult::Pending {
        context.retries.forget(&uid);
        context.patience.forget(&uid);
    }
    Ok(Some(Applied::Written))
}
