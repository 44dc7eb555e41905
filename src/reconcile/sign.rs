//! From a request that is due to a verified certificate: the pure pipeline, the issuance record, one signature.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::ResourceExt as _;
use tracing::{error, info};

use super::{
    Context,
    conclude::Delay,
    issuers::{IssuerName, ReadyIssuer},
    ledger::{Announced, Signed},
    now,
};
use crate::{
    api::{certificate_request::CertificateRequest, profile::SerialSource},
    audit::{Certificate, Issuer, RecordError, Request, RequestKind, Requester, Subject},
    duration::GoDuration,
    issuance::{
        Fault, IssueError, PrepareError, PreparedCertificate, Refusal, RefusalReason, Serial,
        VerifiedCsr, Wanted, pattern::Variables,
    },
    signers::fault,
    telemetry::Chain,
};

/// A request that is due, with the issuer that it names.
pub(super) struct Due<'a> {
    pub(super) request: &'a CertificateRequest,
    pub(super) uid: &'a str,
    pub(super) name: &'a IssuerName,
    pub(super) issuer: &'a Arc<ReadyIssuer>,
}

/// What came of signing.
pub(super) enum Outcome {
    Signed(Signed),
    Refused(Refusal),
    Delayed(Delay),
}

/// Runs the pure pipeline and asks the token once.
pub(super) async fn sign(due: &Due<'_>, context: &Context) -> Outcome {
    let prepared = match prepare(due, context).await {
        Ok(prepared) => prepared,
        Err(outcome) => return outcome,
    };
    let subject = due.subject();
    let announced = Announced {
        serial: prepared.serial_hex(),
        tbs_sha256: prepared.tbs_sha256(),
        not_after: prepared.not_after(),
    };
    let line = line(due.issuer, &announced);
    if let Err(error) = context.record.signing(now(), &subject, &line) {
        error!(error = %Chain(&error), "no signature without a record");
        return Outcome::Delayed(Delay::Passing(
            "the issuance record cannot be written".to_owned(),
        ));
    }
    let namespace = due.request.namespace().unwrap_or_default();
    match prepared
        .issue(&due.issuer.key.for_requests_of(&namespace))
        .await
    {
        Ok(certificate) => {
            note(context.record.signed(now(), &subject, &line));
            info!(name = %due.request.name_any(), namespace = due.request.namespace(), issuer = %due.name,
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

async fn serial(ready: &ReadyIssuer) -> Result<Serial, Delay> {
    let octets = match ready.serial {
        SerialSource::Os => {
            let mut octets = [0; 16];
            aws_lc_rs::rand::fill(&mut octets)
                .map_err(|_| Delay::Passing("no random octets for a serial number".to_owned()))?;
            octets
        }
        SerialSource::Hsm => ready.key.random().await.map_err(|error| {
            let text = format!("no serial number from the token: {}", Chain(&error));
            if fault(&error) == Fault::Issuer {
                Delay::Issuer(text)
            } else {
                Delay::Passing(text)
            }
        })?,
    };
    Ok(Serial::from_random(octets))
}

async fn prepare(due: &Due<'_>, context: &Context) -> Result<PreparedCertificate, Outcome> {
    let CertificateRequest { metadata, spec, .. } = due.request;
    let issuer = &due.issuer.issuer;
    let csr = VerifiedCsr::parse(&spec.request.0).map_err(Outcome::Refused)?;
    let wanted = Wanted {
        variables: Variables {
            namespace: metadata.namespace.as_deref().unwrap_or_default(),
            name: metadata.name.as_deref().unwrap_or_default(),
        },
        usages: &spec.usages,
        is_ca: spec.is_ca,
        duration: duration(spec.duration.as_deref()).map_err(Outcome::Refused)?,
    };
    let params = issuer
        .profile()
        .admit(&csr, &wanted)
        .map_err(Outcome::Refused)?;
    // Not before the profile has admitted the request: one that it refuses costs the token nothing.
    let serial = serial(due.issuer).await.map_err(Outcome::Delayed)?;
    PreparedCertificate::prepare(&params, issuer, now(), serial).map_err(|error| {
        if let PrepareError::Refused(refusal) = error {
            Outcome::Refused(refusal)
        } else {
            not_signed(error.fault(), &error, due, context)
        }
    })
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
            error!(name = %due.request.name_any(), namespace = due.request.namespace(), issuer = %due.name,
                   error = text, "an invariant broke; nothing was published");
            Outcome::Delayed(Delay::Bug)
        }
    }
}

/// What the issuance record says of a certificate.
pub(super) fn line<'a>(issuer: &'a ReadyIssuer, announced: &'a Announced) -> Certificate<'a> {
    Certificate {
        token: issuer.key.token_name(),
        key_id: issuer.key.id(),
        serial: &announced.serial,
        tbs_sha256: &announced.tbs_sha256,
        not_after: announced.not_after,
    }
}

/// The certificate exists or not whatever the record says: a line that is missing is told to whoever watches us.
pub(super) fn note(written: Result<(), RecordError>) {
    if let Err(error) = written {
        error!(error = %Chain(&error), "the issuance record lacks a line");
    }
}

impl Due<'_> {
    /// What the issuance record says of the request.
    pub(super) fn subject(&self) -> Subject<'_> {
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
