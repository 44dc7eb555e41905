//! Signs a request that is due, and says what became of it in the words of its status.

use std::{sync::Arc, time::Duration};

use tracing::{error, info};

use super::{
    Memory, Next,
    apply::{ApplyError, full_name},
    conclude::Delay,
    decide::Share,
    due::{Due, subject},
    fence::{Fenced, admitted},
    kind::Request,
    observe::share,
    say::{refuse, say},
    waiter,
    world::{Attempt, World},
};
use crate::{
    issuance::{Fault, PrepareError},
    metrics::Metrics,
    pipeline::{self, NotSigned, ReadyIssuer},
    reconcile::{Context, issuer::Waiter},
    signers::limiter::{Limited, Turn},
    telemetry::Chain,
};

/// So long a signature may take without a limit; who waits no longer for a turn is not told of it.
const TELL_AFTER: Duration = Duration::from_secs(10);

/// What came of signing.
pub(super) enum Signing {
    /// It is signed; the memory has it.
    Signed,
    Then(Next),
}

/// Signs, if the issuer is the requester's to use and its limit lets it; else says why not.
///
/// # Errors
/// The API server did not take what was to be said.
pub(super) async fn sign<R: Request, W: World<R>>(
    due: &Due<'_, R, W::Snapshot>,
    memory: &mut Memory,
    world: &W,
) -> Result<Signing, ApplyError> {
    let next = match world.attempt(due).await {
        Attempt::Signed(signed) => {
            memory.owe(signed);
            return Ok(Signing::Signed);
        }
        Attempt::Refused(refusal) => refuse(due.known, &refusal, memory, world).await?,
        Attempt::Delayed(delay) => delayed(due, &delay, memory, world).await?,
        Attempt::InTurn { waited } => in_turn(due, waited, memory, world).await?,
    };
    Ok(Signing::Then(next))
}

/// The request is called when its turn comes. Only one that has to wait for long is told so, and once.
async fn in_turn<R: Request, W: World<R>>(
    due: &Due<'_, R, W::Snapshot>,
    waited: Duration,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, ApplyError> {
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
    due: &Due<'_, R, W::Snapshot>,
    delay: &Delay,
    memory: &mut Memory,
    world: &W,
) -> Result<Next, ApplyError> {
    // First put on the list, then write: a change of the issuer in between is not missed.
    world.await_issuer(due.known.issuer, due.known.request);
    let again = memory.failed(world.time().steady);
    if let Some(conclusion) = due.known.delayed(delay) {
        say(due.known.request, conclusion, memory, world).await?;
    }
    Ok(Next::At(due.end.map_or(again, |end| end.min(again))))
}

/// An attempt with the real issuer.
pub(super) async fn attempt<R: Request>(
    due: &Due<'_, R, Arc<ReadyIssuer>>,
    context: &Context,
) -> Attempt {
    match admitted(due, context).await {
        Err(Fenced::Refused(refusal)) => Attempt::Refused(refusal),
        Err(Fenced::Delayed(delay)) => Attempt::Delayed(delay),
        Ok(()) => match turn(due, context) {
            Turn::Now(_permit) => with_permit(due, context).await,
            Turn::Later { waited } => Attempt::InTurn { waited },
        },
    }
}

/// Asks the issuer's limit. The request takes turns with those of other tenants.
fn turn<R: Request>(due: &Due<'_, R, Arc<ReadyIssuer>>, context: &Context) -> Turn<Waiter> {
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

/// Signs, logs and counts.
async fn with_permit<R: Request>(due: &Due<'_, R, Arc<ReadyIssuer>>, context: &Context) -> Attempt {
    let (request, name) = (due.known.request, due.known.issuer);
    let asked = match request.asked(due.issuer.pods.as_ref()) {
        Ok(asked) => asked,
        Err(refusal) => return Attempt::Refused(refusal),
    };
    let subject = subject(request, name);
    let still_due = || share(request, false, context) == Share::Own;
    let tenant = request.tenant().into();
    let record = &context.record;
    match pipeline::sign(&asked, &tenant, &subject, due.issuer, record, &still_due).await {
        Ok(signed) => {
            info!(kind = R::KIND.as_str(), name = %full_name(request), issuer = %name,
                  serial = signed.announced.serial, "signed");
            let dropped = &signed.announced.dropped_extensions;
            if !dropped.is_empty() {
                info!(kind = R::KIND.as_str(), name = %full_name(request), issuer = %name,
                      serial = signed.announced.serial, extensions = dropped.join(","),
                      "extensions of the CSR were dropped");
            }
            Attempt::Signed(signed)
        }
        Err(NotSigned::Refused(refusal)) => Attempt::Refused(refusal),
        Err(other) => {
            let delay = delay(&other, &context.metrics);
            if delay == Delay::Bug {
                error!(kind = R::KIND.as_str(), name = %full_name(request), issuer = %name,
                       error = %Chain(&other), "an invariant broke; nothing was published");
            }
            Attempt::Delayed(delay)
        }
    }
}

/// Who has to act, and the count of what nobody but us can mend.
fn delay(why: &NotSigned, metrics: &Metrics) -> Delay {
    if let NotSigned::Record(error) = why {
        // Where the record goes is the operator's business, and not for the author of a request to read.
        error!(error = %Chain(error), "no signature without a record");
        return Delay::Passing(why.to_string());
    }
    let text = Chain(why).to_string();
    match why.fault() {
        Fault::Issuer => Delay::Issuer(text),
        Fault::Passing => Delay::Passing(text),
        // A refusal has been handled before; one that arrives here is a bug too.
        Fault::Request | Fault::Bug => {
            if let NotSigned::Prepare(PrepareError::Lint(failed)) = why {
                metrics.lint_failed(failed.lint);
            }
            metrics.bug("issuance");
            Delay::Bug
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::lint::LintError;

    #[test]
    fn a_failed_lint_is_a_bug_of_ours_and_is_counted_under_its_name() {
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
    fn no_random_octets_pass_by_themselves_and_count_as_no_bug() {
        let metrics = Metrics::new("0.1.0", "unknown");
        let delay = delay(&NotSigned::Random, &metrics);
        assert_eq!(
            delay,
            Delay::Passing("no random octets for a serial number".to_owned())
        );
        assert!(!metrics.encode().unwrap().contains("_bugs_total{"));
    }
}
