//! Signs a request that is due, and reports in its status if that fails or has to wait.

use std::{sync::Arc, time::Duration};

use tracing::debug;

use super::{
    Memory, Next,
    apply::ApplyError,
    conclude::Delay,
    decide::Share,
    due::{DueRequest, subject},
    fence::{Fenced, admitted},
    kind::Request,
    log::log_request,
    observe::share,
    say::{refuse, say},
    waiter,
    world::{SigningOutcome, World},
};
use crate::{
    issuance::{Fault, PrepareError},
    metrics::Metrics,
    pipeline::{self, NotSigned, ReadyIssuer},
    reconcile::{Context, issuer::Waiter},
    signers::limiter::{Admission, Limited},
    telemetry::ErrorChain,
};

/// A request that waits for its turn reports that only after this long. A signature may take as long even without a limit.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// Name of the one bug that is counted: an invariant of issuance that broke.
pub const BUG: &str = "issuance";

/// Outcome of signing.
pub(super) enum SigningStep {
    /// The certificate is in the memory.
    Signed,
    Then(Next),
}

/// Signs, if the requester may use the issuer and the issuer's limit allows it; else reports why not.
///
/// # Errors
/// The API server did not accept the status write.
pub(super) async fn sign<R: Request, W: World<R>>(
    due: &DueRequest<'_, R, W::Snapshot>,
    memory: &mut Memory,
    world: &W,
) -> Result<SigningStep, ApplyError> {
    let next = match world.attempt(due).await {
        SigningOutcome::Signed(signed) => {
            memory.keep_unpublished(signed);
            return Ok(SigningStep::Signed);
        }
        SigningOutcome::Refused(refusal) => refuse(due.known, &refusal, memory, world).await?,
        SigningOutcome::Delayed(delay) => delayed(due, &delay, memory, world).await?,
        SigningOutcome::InTurn { waited } => in_turn(due, waited, memory, world).await?,
    };
    Ok(SigningStep::Then(next))
}

/// Leaves a request that waits for its turn; the limiter calls it back. A long wait is reported, once.
async fn in_turn<R: Request, W: World<R>>(
    due: &DueRequest<'_, R, W::Snapshot>,
    waited: Duration,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, ApplyError> {
    memory.wait_for(Some(Delay::Turn.reason()));
    if let Some(rest) = TELL_AFTER
        .checked_sub(waited)
        .filter(|rest| !rest.is_zero())
    {
        return Ok(Next::At(world.time().steady + rest));
    }
    if let Some(conclusion) = due.known.delayed(&Delay::Turn) {
        say(due.known.request, conclusion, memory, world).await?;
    }
    Ok(Next::OnChange)
}

async fn delayed<R: Request, W: World<R>>(
    due: &DueRequest<'_, R, W::Snapshot>,
    delay: &Delay,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, ApplyError> {
    // Register before the write, so that a change of the issuer in between is not missed.
    world.await_issuer(due.known.issuer, due.known.request);
    memory.wait_for(Some(delay.reason()));
    let again = memory.failed(world.time().steady);
    if let Some(conclusion) = due.known.delayed(delay) {
        say(due.known.request, conclusion, memory, world).await?;
    }
    Ok(Next::At(due.end.map_or(again, |end| end.min(again))))
}

/// Tries to sign with the real issuer.
pub(super) async fn attempt<R: Request>(
    due: &DueRequest<'_, R, Arc<ReadyIssuer>>,
    context: &Context,
) -> SigningOutcome {
    if let Err(error) = context.log.check() {
        return SigningOutcome::Delayed(delay(&NotSigned::Log(error), &context.metrics));
    }
    match admitted(due, context).await {
        Err(Fenced::Refused(refusal)) => SigningOutcome::Refused(refusal),
        Err(Fenced::Delayed(delay)) => SigningOutcome::Delayed(delay),
        Ok(()) => match turn(due, context) {
            Admission::Now(_permit) => with_permit(due, context).await,
            Admission::Later { waited } => SigningOutcome::InTurn { waited },
        },
    }
}

/// Asks the issuer's limit for a turn. Tenants take turns.
fn turn<R: Request>(
    due: &DueRequest<'_, R, Arc<ReadyIssuer>>,
    context: &Context,
) -> Admission<Waiter> {
    let (key, request) = (&due.issuer.key, due.known.request);
    let at = Limited {
        issuer: key.issuer(),
        token: key.token_name(),
        limit: due.issuer.limit,
    };
    context
        .limiter
        .enter(at, &request.tenant().into(), waiter(request))
}

/// Signs, logs and counts bugs.
async fn with_permit<R: Request>(
    due: &DueRequest<'_, R, Arc<ReadyIssuer>>,
    context: &Context,
) -> SigningOutcome {
    let (request, name) = (due.known.request, due.known.issuer);
    let asked = match request.asked(due.issuer.pods.as_ref()) {
        Ok(asked) => asked,
        Err(refusal) => return SigningOutcome::Refused(refusal),
    };
    let subject = subject(request, name, due.version);
    let still_due = || share(request, false, context) == Share::Own;
    let tenant = request.tenant().into();
    let log = &context.log;
    match pipeline::sign(&asked, &tenant, &subject, due.issuer, log, &still_due).await {
        Ok(signed) => {
            log_request!(debug, request, issuer = %name, serial = signed.announced.serial, "signed");
            SigningOutcome::Signed(signed)
        }
        Err(NotSigned::Refused(refusal)) => SigningOutcome::Refused(refusal),
        Err(other) => {
            let delay = delay(&other, &context.metrics);
            if delay == Delay::Bug {
                let error = ErrorChain(&other).to_string();
                log_request!(seldom error, &error, request, issuer = %name, error,
                             "an invariant broke; nothing was published");
            }
            SigningOutcome::Delayed(delay)
        }
    }
}

/// Classifies a failure by who has to act, and counts the bugs of the controller.
fn delay(why: &NotSigned, metrics: &Metrics) -> Delay {
    if let NotSigned::Log(error) = why {
        // The author of a request must not learn where the issuance log is stored. The operator's log says it once a minute.
        debug!(error = %ErrorChain(error), "nothing was signed, because the issuance log cannot be written");
        return Delay::Passing(why.to_string());
    }
    let text = ErrorChain(why).to_string();
    match why.fault() {
        Fault::Issuer => Delay::Issuer(text),
        Fault::Passing => Delay::Passing(text),
        // Refusals are handled by the caller, so one that arrives here is a bug too.
        Fault::Request | Fault::Bug => {
            if let NotSigned::Prepare(PrepareError::Lint(failed)) = why {
                metrics.lint_failed(failed.lint);
            }
            metrics.bug(BUG);
            Delay::Bug
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::lint::LintError;

    #[test]
    fn a_failed_lint_counts_as_a_bug_and_under_its_own_name() {
        let metrics = Metrics::new("0.1.0", "unknown");
        let failed = NotSigned::Prepare(PrepareError::Lint(LintError {
            lint: "rfc5280_version_3",
            citation: "RFC 5280, section 4.1.2.1",
            finding: "version 1".to_owned(),
        }));
        assert_eq!(delay(&failed, &metrics), Delay::Bug);
        let text = metrics.encode().unwrap();
        for line in [
            r#"pkcs11_issuer_lint_failures_total{lint="rfc5280_version_3"} 1"#,
            r#"pkcs11_issuer_bugs_total{bug="issuance"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }

    #[test]
    fn a_lack_of_random_octets_is_a_passing_failure_and_not_a_bug() {
        let metrics = Metrics::new("0.1.0", "unknown");
        let delay = delay(&NotSigned::Random, &metrics);
        assert_eq!(
            delay,
            Delay::Passing("no random octets for a serial number".to_owned())
        );
        assert!(!metrics.encode().unwrap().contains("_bugs_total{"));
    }
}
