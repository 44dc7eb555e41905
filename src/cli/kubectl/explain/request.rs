//! The steps of a request that are cert-manager's, Kubernetes' and people's: Certificate, request, approval and result.

use jiff::Timestamp;

use super::Case;
use crate::{
    api::pending::PendingCause,
    audit::RequestKind,
    cli::kubectl::{
        pages::page,
        read::Read,
        snapshot::{SeenCertificate, SeenRequest, Snapshot, word},
        step::{Held, Passed, between},
    },
    reconcile::{Approval, Progress},
};

/// How long the controller needs at most to answer a request if nothing holds it.
const SOON: i64 = 60;

/// Judges the Certificate.
pub(super) fn certificate(snapshot: &Snapshot, now: Timestamp) -> Result<Passed, Held> {
    let found = match &snapshot.certificate {
        None => return Ok(Passed::Done("none: the request was made directly".into())),
        Some(Read::Missing) => return Ok(Passed::Done("it was deleted".into())),
        Some(Read::Unknown(gap)) => return Ok(Passed::Unknown(gap.part.clone())),
        Some(Read::Found(found)) => found,
    };
    let name = format!("Certificate {}/{}", found.namespace, found.name);
    let held = |says: String, advice: &str, next: String| Err(Held::new(says, advice, next));
    match &snapshot.request {
        Read::Missing if found.issuer.is_none() => held(
            format!("{name} names {}", found.names),
            "its author: name a PKCS11Issuer or PKCS11ClusterIssuer of the group pkcs11-issuer.dev in issuerRef, \
             or ask the owner of the issuer that it names",
            describe(found),
        ),
        Read::Missing if found.is_issuing => held(
            format!("cert-manager has not made a CertificateRequest for {name}"),
            "the operator of cert-manager: see whether its controller runs and what it logs",
            "kubectl logs -n cert-manager deployment/cert-manager".into(),
        ),
        Read::Missing if found.has_failed => held(
            format!("the last issuance of {name} failed; cert-manager pauses for an hour or more"),
            "its author: see why, correct it, and have it issued again",
            renew(found),
        ),
        Read::Missing if found.ends.is_none() => held(
            format!(
                "cert-manager has not begun to issue {name}: {}",
                found
                    .not_ready
                    .as_deref()
                    .unwrap_or("its status says nothing")
            ),
            "the operator of cert-manager: see whether its controller runs and what it logs",
            "kubectl logs -n cert-manager deployment/cert-manager".into(),
        ),
        Read::Missing | Read::Unknown(_) => Ok(Passed::Done(format!("{name} asks for it"))),
        Read::Found(_) if found.ends.is_some_and(|ends| ends <= now) => Ok(Passed::Done(format!(
            "{name} asks for it; its present certificate has ended"
        ))),
        Read::Found(_) => Ok(Passed::Done(format!("{name} asks for it"))),
    }
}

/// Judges the request itself.
pub(super) fn request(case: &Case<'_>) -> Result<Passed, Held> {
    let request = case.request;
    if request.issuer.is_none() {
        return Err(Held::new(
            format!(
                "it names {}, which is no issuer of this controller",
                request.names
            ),
            "its author: name a PKCS11Issuer or PKCS11ClusterIssuer, with the group pkcs11-issuer.dev, in a new request; or \
             see the controller of the issuer that it names",
            get(request),
        ));
    }
    if request.stage.invalid {
        let why = request.message.as_deref().unwrap_or("it does not say why");
        return Err(Held::new(
            format!("a controller has declared it invalid: {why}"),
            "its author: make a new request without the fault",
            get(request),
        ));
    }
    let age = request.created.map(|created| between(created, case.now));
    let age = age.map_or_else(String::new, |age| format!("made {age} ago, "));
    Ok(Passed::Done(format!("{age}names {}", named(request))))
}

/// Judges the approval.
pub(super) fn approval(case: &Case<'_>) -> Result<Passed, Held> {
    let request = case.request;
    let (name, place) = (word(&request.name), request.in_namespace());
    match request.stage.approval {
        Approval::Approved if request.kind == RequestKind::PodCertificateRequest => Ok(
            Passed::Done("not needed: the API server vouches for the pod".into()),
        ),
        Approval::Approved => Ok(Passed::Done("approved".into())),
        // The controller may run without approval.
        Approval::Awaited if request.stage.progress == Progress::Issued => {
            Ok(Passed::Done("not needed".into()))
        }
        Approval::Denied => {
            let why = request.judged.as_deref();
            let why = why.map_or_else(String::new, |why| format!(": {why}"));
            Err(Held::new(
                format!("an approver denied it{why}"),
                "its author: ask the approver for the reason; a denial is final, so make a new request",
                get(request),
            ))
        }
        Approval::Awaited => {
            let since = request.created.map(|created| between(created, case.now));
            let since = since.map_or_else(String::new, |since| format!(" for {since}"));
            let approve = match request.is_certificate_request() {
                true => format!("cmctl approve{place} {name}"),
                false => format!("kubectl certificate approve {name}"),
            };
            Err(Held::new(
                format!("nobody has approved or denied it{since}"),
                format!(
                    "an approver: approve or deny it. If a program should have done it, see whether it runs and may approve \
                     requests for this issuer ({})",
                    page("cert-manager.md#requests-that-nobody-approves")
                ),
                approve,
            ))
        }
    }
}

/// Judges what became of it.
pub(super) fn result(case: &Case<'_>) -> Result<Passed, Held> {
    let request = case.request;
    let certificate = case.snapshot.certificate.as_ref().and_then(Read::found);
    let again = certificate.map_or_else(|| get(request), renew);
    let stage = request.stage;
    if stage.has_certificate || stage.progress == Progress::Issued {
        if let Some(ends) = request.ends.filter(|ends| *ends <= case.now) {
            return Err(Held::new(
                format!(
                    "its certificate ended {} ago, at {ends}",
                    between(ends, case.now)
                ),
                "its author: have a new one issued",
                again,
            ));
        }
        let waits = certificate.filter(|one| one.is_issuing || one.not_ready.is_some());
        if let Some(waits) = waits {
            let why = waits.not_ready.as_deref().unwrap_or("it is issuing");
            return Err(Held::new(
                format!("it is issued, and cert-manager has not finished the Certificate: {why}"),
                "nobody, if it has just been issued; else the operator of cert-manager",
                describe(waits),
            ));
        }
        let ends = request.ends.map(|ends| format!(", valid until {ends}"));
        return Ok(Passed::Done(format!("issued{}", ends.unwrap_or_default())));
    }
    if stage.progress != Progress::Open {
        let why = request.message.as_deref().unwrap_or("it does not say why");
        return Err(Held::new(
            format!("it failed: {why}"),
            "its author: make a new request; if the message is not one of docs/refusals.md, another program wrote it",
            again,
        ));
    }
    if case.cause() == Some(PendingCause::Bug) {
        return Err(Held::new(
            "an internal check of the controller failed",
            "us: report it with the log of the controller",
            logs(case),
        ));
    }
    if case.issuer.is_none() {
        return Ok(Passed::Unknown(
            "it waits, and what holds it could not be read".into(),
        ));
    }
    let since = stage.waits_since.or(request.created);
    let waits = since.map(|since| case.now.duration_since(since).as_secs());
    match waits {
        Some(waits) if waits > SOON => Err(Held::new(
            format!(
                "the controller has not answered for {waits}s, and nothing that was read says why"
            ),
            "the operator: see the controller's log",
            logs(case),
        )),
        Some(_) | None => Err(Held::new(
            "the controller answers it now",
            "nobody: look again in a moment",
            format!(
                "kubectl pkcs11-issuer explain{} {}",
                request.in_namespace(),
                request.target()
            ),
        )),
    }
}

/// Judges a Certificate that has no request.
pub(super) fn without_request(found: &SeenCertificate, now: Timestamp) -> Result<Passed, Held> {
    let Some(ends) = found.ends else {
        return Ok(Passed::Unknown("it has no certificate".into()));
    };
    if ends <= now {
        return Err(Held::new(
            format!(
                "its certificate ended {} ago, at {ends}",
                between(ends, now)
            ),
            "the operator of cert-manager: see why it was not renewed",
            describe(found),
        ));
    }
    let renews = found.renews.map(|renews| format!(", renewal at {renews}"));
    let renews = renews.unwrap_or_default();
    Ok(Passed::Done(format!("issued, valid until {ends}{renews}")))
}

/// Returns the command that shows the log of the controller.
fn logs(case: &Case<'_>) -> String {
    let namespace = case
        .issuer
        .and_then(|issuer| issuer.status.installation.as_deref());
    format!(
        "kubectl logs -n {} -l app.kubernetes.io/name=pkcs11-issuer --tail=100",
        word(namespace.unwrap_or("pkcs11-issuer-system"))
    )
}

/// Returns the issuer that a request names.
fn named(request: &SeenRequest) -> String {
    let issuer = request.issuer.as_ref();
    issuer.map_or_else(|| request.names.clone(), ToString::to_string)
}

fn get(request: &SeenRequest) -> String {
    format!(
        "kubectl describe {}{} {}",
        request.kind.as_str().to_lowercase(),
        request.in_namespace(),
        word(&request.name)
    )
}

fn describe(certificate: &SeenCertificate) -> String {
    let SeenCertificate {
        namespace, name, ..
    } = certificate;
    format!(
        "kubectl describe certificate -n {} {}",
        word(namespace),
        word(name)
    )
}

fn renew(certificate: &SeenCertificate) -> String {
    let SeenCertificate {
        namespace, name, ..
    } = certificate;
    format!("cmctl renew -n {} {}", word(namespace), word(name))
}
