//! One CertificateRequest from what is seen to what is written.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::{
    Api, Resource as _, ResourceExt as _,
    core::DeserializeGuard,
    runtime::{controller::Action, reflector::ObjectRef},
};
use tracing::{debug, error, info, warn};

use super::{
    Context,
    apply::{Applied, ApplyError, apply},
    conclude::{Conclusion, Delay, Known},
    decide::{Decision, decide},
    issuers::{IssuerName, ReadyIssuer},
    ledger::{Announced, Found, Signed},
    now,
    observe::observe,
};
use crate::{
    api::certificate_request::CertificateRequest,
    audit::{Certificate, Issuer, RecordError, Request, RequestKind, Requester, Subject},
    duration::GoDuration,
    issuance::{
        Fault, IssueError, PrepareError, PreparedCertificate, Refusal, RefusalReason, Serial,
        VerifiedCsr, Wanted, pattern::Variables,
    },
    metrics::RequestResult,
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

/// A request that is due, with the issuer that it names.
struct Due<'a> {
    request: &'a CertificateRequest,
    uid: &'a str,
    name: &'a IssuerName,
    issuer: &'a Arc<ReadyIssuer>,
}

/// What came of signing.
enum Outcome {
    Signed(Signed),
    Refused(Refusal),
    Delayed(Delay),
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
            warn!(name = %request.name_any(), namespace = ?request.namespace(), error = %invalid.error,
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
    warn!(name = %request.name_any(), namespace = ?request.namespace(), error = %Chain(error), "will try again");
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
            debug!(name = %request.name_any(), namespace = ?request.namespace(), ?why, "nothing to do");
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
                note(context.record.published(
                    now(),
                    &due.subject(),
                    &certificate(&signed.issuer, &signed.announced),
                ));
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

/// Runs the pure pipeline and asks the token once.
async fn sign(due: &Due<'_>, context: &Context) -> Outcome {
    let prepared = match prepare(due.request, due.issuer) {
        Ok(prepared) => prepared,
        Err(Stopped::Refused(refusal)) => return Outcome::Refused(refusal),
        Err(Stopped::Prepare(PrepareError::Refused(refusal))) => return Outcome::Refused(refusal),
        Err(Stopped::Prepare(error)) => return not_signed(error.fault(), &error, due, context),
        Err(Stopped::Random) => {
            return Outcome::Delayed(Delay::Passing(
                "no random octets for a serial number".to_owned(),
            ));
        }
    };
    let subject = due.subject();
    let announced = Announced {
        serial: prepared.serial_hex(),
        tbs_sha256: prepared.tbs_sha256(),
        not_after: prepared.not_after(),
    };
    let line = certificate(due.issuer, &announced);
    if let Err(error) = context.record.signing(now(), &subject, &line) {
        error!(error = %Chain(&error), "no signature without a record");
        return Outcome::Delayed(Delay::Passing(
            "the issuance record cannot be written".to_owned(),
        ));
    }
    match prepared.issue(&due.issuer.key).await {
        Ok(certificate) => {
            note(context.record.signed(now(), &subject, &line));
            info!(name = %due.request.name_any(), namespace = ?due.request.namespace(), issuer = %due.name,
                  serial = announced.serial, "signed");
            Outcome::Signed(Signed {
                certificate: Arc::new(certificate),
                issuer: Arc::clone(due.issuer),
                announced: Arc::new(announced),
            })
        }
        Err(error) => {
            note(
                context
                    .record
                    .discarded(now(), &subject, &line, slug(&error)),
            );
            not_signed(error.fault(), &error, due, context)
        }
    }
}

fn slug(error: &IssueError) -> &'static str {
    match error {
        IssueError::Sign(_) => "not-signed",
        IssueError::Unverified(_) => "signature-wrong",
        IssueError::Ambiguous(_) => "ambiguous",
        IssueError::Encode(_) => "not-encoded",
    }
}

enum Stopped {
    Refused(Refusal),
    Prepare(PrepareError),
    Random,
}

fn prepare(
    request: &CertificateRequest,
    ready: &ReadyIssuer,
) -> Result<PreparedCertificate, Stopped> {
    let CertificateRequest { metadata, spec, .. } = request;
    let csr = VerifiedCsr::parse(&spec.request.0).map_err(Stopped::Refused)?;
    let wanted = Wanted {
        variables: Variables {
            namespace: metadata.namespace.as_deref().unwrap_or_default(),
            name: metadata.name.as_deref().unwrap_or_default(),
        },
        usages: &spec.usages,
        is_ca: spec.is_ca,
        duration: duration(spec.duration.as_deref()).map_err(Stopped::Refused)?,
    };
    let params = ready
        .issuer
        .profile()
        .admit(&csr, &wanted)
        .map_err(Stopped::Refused)?;
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Stopped::Random)?;
    let serial = Serial::from_random(octets);
    PreparedCertificate::prepare(&params, &ready.issuer, now(), serial).map_err(Stopped::Prepare)
}

/// The API server stores any string here (cert-manager.md 1.5).
fn duration(text: Option<&str>) -> Result<Option<SignedDuration>, Refusal> {
    text.map(|text| text.parse::<GoDuration>().map(GoDuration::signed))
        .transpose()
        .map_err(|error| {
            Refusal::new(
                RefusalReason::DurationInvalid,
                format!("spec.duration: {error}"),
            )
        })
}

fn not_signed(
    fault: Fault,
    error: &(dyn std::error::Error + 'static),
    due: &Due<'_>,
    context: &Context,
) -> Outcome {
    let text = Chain(error).to_string();
    match fault {
        Fault::Issuer => Outcome::Delayed(Delay::Issuer(text)),
        Fault::Passing => Outcome::Delayed(Delay::Passing(text)),
        // A refusal has been handled before; one that arrives here is a bug too.
        Fault::Request | Fault::Bug => {
            context.metrics.bug("issuance");
            error!(name = %due.request.name_any(), namespace = ?due.request.namespace(), issuer = %due.name,
                   error = text, "an invariant broke; nothing was published");
            Outcome::Delayed(Delay::Bug)
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
    note(context.record.discarded(
        now(),
        &due.subject(),
        &certificate(&signed.issuer, &signed.announced),
        "superseded",
    ));
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

fn certificate<'a>(issuer: &'a ReadyIssuer, announced: &'a Announced) -> Certificate<'a> {
    Certificate {
        token: issuer.key.token_name(),
        key_id: issuer.key.id(),
        serial: &announced.serial,
        tbs_sha256: &announced.tbs_sha256,
        not_after: announced.not_after,
    }
}

/// The certificate exists or not whatever the record says: a line that is missing is told to whoever watches us.
fn note(written: Result<(), RecordError>) {
    if let Err(error) = written {
        error!(error = %Chain(&error), "the issuance record lacks a line");
    }
}

impl Due<'_> {
    fn subject(&self) -> Subject<'_> {
        let spec = &self.request.spec;
        Subject {
            request: Request {
                kind: RequestKind::CertificateRequest,
                namespace: self.request.metadata.namespace.as_deref(),
                name: self.request.metadata.name.as_deref().unwrap_or_default(),
                uid: self.uid,
            },
            requester: Requester {
                username: spec.username.as_deref().unwrap_or_default(),
                groups: spec.groups.as_deref().unwrap_or_default(),
            },
            issuer: Issuer {
                kind: self.name.kind(),
                namespace: self.name.namespace.as_deref(),
                name: &self.name.name,
            },
        }
    }
}
