//! One CertificateRequest from what is seen to what is written.

use std::sync::Arc;

use kube::{
    Api, Resource as _, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tracing::{debug, warn};

use super::{
    Context,
    apply::{Applied, ApplyError, apply},
    conclude::{Conclusion, Delay, Known},
    decide::{Decision, decide},
    ledger::Found,
    observe::observe,
    sign::{Due, Outcome, sign},
};
use crate::{
    api::certificate_request::CertificateRequest,
    audit::RequestKind,
    issuance::Refusal,
    metrics::RequestResult,
    pipeline::{IssuerName, Signed, now, sign::note},
    telemetry::Chain,
};

/// Why a request is looked at again although nothing about it changed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The status was not written.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The object could not be read again after a conflict.
    #[error("failed to read CertificateRequest {namespace}/{name} again")]
    Read {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// Why not.
        source: Box<kube::Error>,
    },
}

/// Looks at one request and does the one thing that is due.
///
/// # Errors
/// The API server could not be reached or refused for now; the request is looked at again by [`retry`].
pub async fn reconcile(
    request: Arc<DeserializeGuard<CertificateRequest>>,
    context: Arc<Context>,
) -> Result<Action, RequestError> {
    match &request.0 {
        Ok(request) => step(request, &context).await,
        Err(invalid) => {
            warn!(name = %request.name_any(), namespace = request.namespace(), error = %invalid.error,
                  "left alone a request that cannot be read");
            Ok(Action::await_change())
        }
    }
}

/// When to look again after an error.
#[must_use]
pub fn retry(
    request: Arc<DeserializeGuard<CertificateRequest>>,
    error: &RequestError,
    context: Arc<Context>,
) -> Action {
    warn!(name = %request.name_any(), namespace = request.namespace(), error = %Chain(error), "will try again");
    Action::requeue(
        context
            .retries
            .after_failure(&request.uid().unwrap_or_default()),
    )
}

async fn step(request: &CertificateRequest, context: &Context) -> Result<Action, RequestError> {
    let seen = observe(request, context);
    let uid = request.uid().unwrap_or_default();
    let decision = decide(&seen.facts);
    let Some(name) = &seen.issuer else {
        return Ok(Action::await_change());
    };
    let known = Known {
        status: request.status.as_ref(),
        issuer: name,
        now: now(),
    };
    let write = match (decision, &seen.ready) {
        (Decision::Leave(why), _) => {
            debug!(name = %request.name_any(), namespace = request.namespace(), ?why, "nothing to do");
            finish(request, name, &uid, context);
            return Ok(Action::await_change());
        }
        (Decision::Deny, _) => Some(known.denied()),
        (Decision::Wait(waiting), _) => {
            context.issuers.wait(name, ObjectRef::from_obj(request));
            known.waiting(waiting)
        }
        (Decision::Issue, Some(issuer)) => {
            return issue(
                &Due {
                    request,
                    uid: &uid,
                    name,
                    issuer,
                },
                context,
            )
            .await;
        }
        (Decision::Issue, None) => None,
    };
    match write {
        Some(conclusion) => write_once(request, &conclusion, context).await,
        None => Ok(Action::await_change()),
    }
}

/// Signs if that is still to be done, and publishes.
async fn issue(due: &Due<'_>, context: &Context) -> Result<Action, RequestError> {
    if let Some(wait) = context.retries.remaining(due.uid) {
        return Ok(Action::requeue(wait));
    }
    let signed = match context.ledger.find(due.uid) {
        Found::Published => return Ok(Action::await_change()),
        Found::Unpublished(signed) => signed,
        Found::Nothing => match sign(due, context).await {
            Outcome::Signed(signed) => {
                context.ledger.signed(due.uid, signed.clone());
                signed
            }
            Outcome::Refused(refusal) => return refuse(due, &refusal, context).await,
            Outcome::Delayed(delay) => return delayed(due, &delay, context).await,
        },
    };
    publish(due, &signed, context).await
}

async fn refuse(
    due: &Due<'_>,
    refusal: &Refusal,
    context: &Context,
) -> Result<Action, RequestError> {
    let reason = refusal.reason().as_str();
    let known = Known {
        status: due.request.status.as_ref(),
        issuer: due.name,
        now: now(),
    };
    let action = write_once(due.request, &known.refused(refusal), context).await?;
    context.metrics.refused(reason);
    note(context.record.refused(now(), &due.subject(), reason));
    Ok(action)
}

async fn delayed(due: &Due<'_>, delay: &Delay, context: &Context) -> Result<Action, RequestError> {
    let known = Known {
        status: due.request.status.as_ref(),
        issuer: due.name,
        now: now(),
    };
    // First put on the list, then write: a change of the issuer in between is not missed.
    context
        .issuers
        .wait(due.name, ObjectRef::from_obj(due.request));
    let again = Action::requeue(context.retries.after_failure(due.uid));
    if let Some(conclusion) = known.delayed(delay) {
        write_once(due.request, &conclusion, context).await?;
    }
    Ok(again)
}

/// Writes the certificate; after a conflict reads again, decides again, and writes the same one if it is still due.
async fn publish(
    due: &Due<'_>,
    signed: &Signed,
    context: &Context,
) -> Result<Action, RequestError> {
    let mut fresh: Option<CertificateRequest> = None;
    loop {
        let request = fresh.as_ref().unwrap_or(due.request);
        let known = Known {
            status: request.status.as_ref(),
            issuer: due.name,
            now: now(),
        };
        let conclusion = known.issued(&signed.certificate, signed.issuer.ca);
        match apply(&context.client, request, &conclusion.patch).await? {
            Applied::Written => {
                context.ledger.published(due.uid);
                told(request, conclusion, context);
                note(
                    context
                        .record
                        .published(now(), &due.subject(), &signed.line()),
                );
                return Ok(Action::await_change());
            }
            Applied::Gone => {
                finish(due.request, due.name, due.uid, context);
                return Ok(Action::await_change());
            }
            Applied::Conflict => {
                let read = read_again(due.request, context).await?;
                let still_due = read.as_ref().is_some_and(|read| {
                    read.uid().as_deref() == Some(due.uid)
                        && decide(&observe(read, context).facts) == Decision::Issue
                });
                if !still_due {
                    finish(due.request, due.name, due.uid, context);
                    return Ok(Action::await_change());
                }
                fresh = read;
            }
        }
    }
}

/// One status write. A conflict means that a newer version is on its way to us: it decides anew.
async fn write_once(
    request: &CertificateRequest,
    conclusion: &Conclusion,
    context: &Context,
) -> Result<Action, RequestError> {
    if apply(&context.client, request, &conclusion.patch).await? == Applied::Written {
        told(request, conclusion.clone(), context);
    }
    Ok(Action::await_change())
}

fn told(request: &CertificateRequest, conclusion: Conclusion, context: &Context) {
    let Conclusion { notice, result, .. } = conclusion;
    context
        .metrics
        .request(RequestKind::CertificateRequest, result);
    context
        .events
        .publish(notice, request.object_ref(&()), now());
    if result != RequestResult::Pending {
        context.retries.forget(&request.uid().unwrap_or_default());
    }
}

/// Nothing more will be done for this UID here. A certificate that was signed for it and not published is named.
fn finish(request: &CertificateRequest, name: &IssuerName, uid: &str, context: &Context) {
    context.retries.forget(uid);
    let Some(signed) = context.ledger.forget(uid) else {
        return;
    };
    context
        .metrics
        .request(RequestKind::CertificateRequest, RequestResult::Discarded);
    let due = Due {
        request,
        uid,
        name,
        issuer: &signed.issuer,
    };
    note(
        context
            .record
            .discarded(now(), &due.subject(), &signed.line(), "superseded"),
    );
}

async fn read_again(
    request: &CertificateRequest,
    context: &Context,
) -> Result<Option<CertificateRequest>, RequestError> {
    let namespace = request.namespace().unwrap_or_default();
    let name = request.name_any();
    Api::<CertificateRequest>::namespaced(context.client.clone(), &namespace)
        .get_opt(&name)
        .await
        .map_err(|source| RequestError::Read {
            namespace,
            name,
            source: Box::new(source),
        })
}
