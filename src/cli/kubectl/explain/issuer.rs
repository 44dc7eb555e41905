//! The steps of a request that are the issuer's: issuer, token, policy and limit.

use super::Case;
use crate::{
    api::{IssuerName, issuer::Reason, pending::PendingCause},
    cli::kubectl::{
        pages::{of_reason, of_refusal},
        read::Read,
        snapshot::{SeenIssuer, word},
        step::{Held, Passed, StepName},
    },
    issuance::RefusalReason,
    message::shown,
    ownership::ListedReplica,
};

/// Returns the step that a reason of the condition `Ready` belongs to; `None` for reasons of other conditions.
pub(in crate::cli::kubectl) const fn step_of(reason: Reason) -> Option<StepName> {
    match reason {
        Reason::SpecInvalid
        | Reason::CertificateMissing
        | Reason::CertificateUnreadable
        | Reason::CertificateInvalid
        | Reason::CertificateExpired
        | Reason::CertificateNotYetValid
        | Reason::RootMissing
        | Reason::CrlInvalid
        | Reason::CrlSignMissing
        | Reason::CrlDisabled
        | Reason::CrlConflict
        | Reason::PodCertificatesInvalid
        | Reason::RolloverUndone
        | Reason::Internal => Some(StepName::Issuer),
        Reason::TokenUnknown
        | Reason::TokenUnavailable
        | Reason::TokenMisconfigured
        | Reason::TokenRefused
        | Reason::LoginRefused
        | Reason::PinRequired
        | Reason::PinNotTaken
        | Reason::PinConflict
        | Reason::KeyInvalid
        | Reason::KeyNotFound
        | Reason::KeyMismatch
        | Reason::KeyAmbiguous
        | Reason::KeyUnusable
        | Reason::AlgorithmUnsupported
        | Reason::ProbeFailed => Some(StepName::Token),
        Reason::NotGranted
        | Reason::CertificateNotGranted
        | Reason::KeyUnprotected
        | Reason::KeyForCheckpoints
        | Reason::ProfileInvalid
        | Reason::NamespaceSelectorInvalid
        | Reason::NamespaceUnreadable => Some(StepName::Policy),
        Reason::Verified
        | Reason::ExpiresSoon
        | Reason::ShorterThanProfile
        | Reason::NotExpiringSoon
        | Reason::CrlPublished
        | Reason::CrlMissing
        | Reason::StateOlderThanPublished
        | Reason::CrlNotRenewed
        | Reason::CrlBundleComplete
        | Reason::CrlBundleIncomplete
        | Reason::NextNotProved
        | Reason::NextTrusted
        | Reason::SwitchDelayed
        | Reason::SwitchedToNext
        | Reason::RolloverComplete => None,
    }
}

/// Judges the issuer and the controller that answers it.
pub(super) fn issuer(case: &Case<'_>) -> Result<Passed, Held> {
    let Some(name) = &case.request.issuer else {
        return Ok(Passed::Unknown("it names no issuer of ours".into()));
    };
    if !case.is_open() {
        return Ok(Passed::Done(format!("{name} answered it")));
    }
    let issuer = match &case.snapshot.issuer {
        Some(Read::Found(issuer)) => issuer,
        Some(Read::Missing) => return Err(missing(name)),
        Some(Read::Unknown(gap)) => {
            holds_at(StepName::Issuer, case)?;
            return match case.cause() == Some(PendingCause::IssuerMissing) {
                true => Err(missing(name)),
                false => Ok(Passed::Unknown(gap.part.clone())),
            };
        }
        None => return Ok(Passed::Unknown(format!("the state of {name}"))),
    };
    let replicas = case.snapshot.replicas.as_ref().and_then(Read::found);
    let mut live = replicas
        .into_iter()
        .flatten()
        .filter(|one| one.is_live(case.now));
    if replicas.is_some() && live.next().is_none() {
        return Err(no_replica(issuer));
    }
    if !issuer.is_looked_at() {
        return Err(not_looked_at(issuer));
    }
    holds_at(StepName::Issuer, case)?;
    match case.cause() {
        Some(PendingCause::ToBeFixed(why)) => Err(Held::new(
            format!("{name} must be fixed: {}", shown(why)),
            "the issuer's author: correct what the message names",
            status(name),
        )),
        Some(
            PendingCause::IssuerMissing
            | PendingCause::NotReady(_)
            | PendingCause::TriedAgain(_)
            | PendingCause::Turn
            | PendingCause::Bug,
        )
        | None => Ok(Passed::Done(match issuer.is_ready() {
            true => format!("{name} is ready"),
            false => format!("{name} exists"),
        })),
    }
}

/// Judges the token and its key.
pub(super) fn token(case: &Case<'_>) -> Result<Passed, Held> {
    if !case.is_open() {
        return Ok(Passed::Done("not needed any more".into()));
    }
    holds_at(StepName::Token, case)?;
    if let (Some(PendingCause::TriedAgain(why)), Some(name)) = (case.cause(), &case.request.issuer)
    {
        return Err(Held::new(
            format!("signing failed and is tried again: {}", shown(why)),
            "nobody, if it passes; else the operator: check the token that the message names",
            status(name),
        ));
    }
    let Some(issuer) = case.issuer else {
        return Ok(Passed::Unknown("which token signs".into()));
    };
    let token = &issuer.spec.token;
    let replicas = case.snapshot.replicas.as_ref().and_then(Read::found);
    let lists = |one: &ListedReplica| one.is_live(case.now) && one.tokens.contains(token);
    if let Some(replicas) = replicas.filter(|all| issuer.is_ready() && !all.iter().any(lists)) {
        let live = replicas.iter().filter(|one| one.is_live(case.now)).count();
        return Err(Held::new(
            format!("none of the {live} live replicas can sign with token {token} now"),
            "the operator: see the log of the controller about this token",
            logs(issuer),
        ));
    }
    let label = issuer
        .status
        .token
        .as_ref()
        .map(|token| token.label.as_str());
    let label = label.map_or_else(String::new, |label| format!(" ({})", shown(label)));
    Ok(match issuer.is_ready() {
        true => Passed::Done(format!("token {token}{label} signs")),
        false => Passed::Unknown(format!("whether token {token} signs")),
    })
}

/// Judges profile and grant.
pub(super) fn policy(case: &Case<'_>) -> Result<Passed, Held> {
    if let Some((reason, why)) = case.refusal() {
        if reason == RefusalReason::PendingTooLong {
            return Ok(Passed::Unknown("it was not asked".into()));
        }
        return Err(refused(case, reason, why));
    }
    if !case.is_open() {
        return Ok(Passed::Done("the issuer allows it".into()));
    }
    holds_at(StepName::Policy, case)?;
    Ok(Passed::Done("no refusal so far".into()))
}

/// Judges the limits of the issuer.
pub(super) fn limit(case: &Case<'_>) -> Result<Passed, Held> {
    if let Some((RefusalReason::PendingTooLong, why)) = case.refusal() {
        return Err(refused(case, RefusalReason::PendingTooLong, why));
    }
    if !case.is_open() {
        return Ok(Passed::Done("it had its turn".into()));
    }
    let limits = case
        .issuer
        .map(|issuer| limits(issuer).unwrap_or_else(|| "none".into()));
    if let (Some(PendingCause::Turn), Some(name)) = (case.cause(), &case.request.issuer) {
        return Err(Held::new(
            format!(
                "it waits for its turn: {name} has {}",
                limits.unwrap_or_else(|| "a limit".into())
            ),
            "nobody, if it passes; else the issuer's author: raise spec.rateLimit or spec.maxConcurrentSignatures",
            requests(name),
        ));
    }
    Ok(limits.map_or_else(
        || Passed::Unknown("the limits of the issuer".into()),
        Passed::Done,
    ))
}

/// Holds the request if the issuer is not ready for a reason of this step, by its status or else by that of the request.
fn holds_at(step: StepName, case: &Case<'_>) -> Result<(), Held> {
    let Some(name) = &case.request.issuer else {
        return Ok(());
    };
    let (reason, message) = match (case.issuer, case.cause()) {
        (Some(issuer), _) if issuer.is_ready() => return Ok(()),
        (Some(issuer), _) => match issuer.ready() {
            Some((reason, message)) => (reason, format!(": {}", shown(message))),
            None => return Ok(()),
        },
        (None, Some(PendingCause::NotReady(word))) => (Reason::named(word), String::new()),
        (None, _) => return Ok(()),
    };
    // A reason of a newer controller is the issuer's.
    if reason.and_then(step_of).unwrap_or(StepName::Issuer) != step {
        return Ok(());
    }
    let word = reason.map_or("a reason that this program does not know", Reason::as_str);
    let advice = reason.and_then(of_reason).map_or_else(
        || "see the message".to_owned(),
        |page| format!("{}: {}", page.who, page.what_to_do),
    );
    Err(Held::new(
        format!("{name} is not ready: {word}{message}"),
        advice,
        status(name),
    ))
}

fn refused(case: &Case<'_>, reason: RefusalReason, why: &str) -> Held {
    let slug = reason.as_str();
    let page = of_refusal(reason);
    let advice = page.map_or_else(
        || "make a new request".to_owned(),
        |page| format!("{} ({})", page.what_to_do, page.page),
    );
    let request = case.request;
    Held::new(
        format!("refused: {slug}: {}", shown(why)),
        advice,
        format!(
            "kubectl pkcs11-issuer why-refused{} {}",
            request.in_namespace(),
            request.target()
        ),
    )
}

fn missing(name: &IssuerName) -> Held {
    let where_ = match &name.namespace {
        Some(_) => "; a PKCS11Issuer serves only the requests of its own namespace",
        None => "",
    };
    Held::new(
        format!("{name} does not exist{where_}"),
        "the request's author: create the issuer, or name another one in a new request",
        "kubectl get pkcs11clusterissuers,pkcs11issuers -A",
    )
}

fn no_replica(issuer: &SeenIssuer) -> Held {
    let namespace = issuer
        .status
        .installation
        .as_deref()
        .unwrap_or("pkcs11-issuer-system");
    Held::new(
        format!("no replica of the controller in namespace {namespace} has a live Lease"),
        "the operator: start the controller, or see why it does not come up",
        format!("kubectl get pods,leases -n {}", word(namespace)),
    )
    .or(logs(issuer))
}

fn not_looked_at(issuer: &SeenIssuer) -> Held {
    let (name, class) = (&issuer.name, &issuer.spec.class);
    let whose = match class.is_empty() {
        true => "without a class".to_owned(),
        false => format!("of the class {class}"),
    };
    Held::new(
        format!("no controller has looked at the present specification of {name}"),
        format!("the operator: see whether a controller {whose} runs in this cluster"),
        "kubectl get leases -A -l pkcs11-issuer.dev/lease=membership",
    )
    .or(format!(
        "kubectl describe {}",
        SeenIssuer::for_kubectl(name)
    ))
}

/// Returns the limits of an issuer in words.
pub(in crate::cli::kubectl) fn limits(issuer: &SeenIssuer) -> Option<String> {
    let rate = issuer.spec.rate_limit.map(|rate| {
        let burst = rate.burst.unwrap_or(rate.per_second);
        format!("{} signatures a second, {burst} at once", rate.per_second)
    });
    let most = issuer.spec.max_concurrent_signatures;
    let most = most.map(|most| format!("at most {most} signatures at the same time"));
    let all: Vec<_> = rate.into_iter().chain(most).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

fn status(name: &IssuerName) -> String {
    of_issuer("kubectl pkcs11-issuer status", name)
}

fn requests(name: &IssuerName) -> String {
    of_issuer("kubectl pkcs11-issuer requests --issuer", name)
}

/// Returns a command of ours about an issuer.
fn of_issuer(command: &str, name: &IssuerName) -> String {
    match &name.namespace {
        Some(namespace) => format!(
            "{command} PKCS11Issuer/{} -n {}",
            word(&name.name),
            word(namespace)
        ),
        None => format!("{command} {}", word(&name.name)),
    }
}

fn logs(issuer: &SeenIssuer) -> String {
    let namespace = issuer
        .status
        .installation
        .as_deref()
        .unwrap_or("pkcs11-issuer-system");
    format!(
        "kubectl logs -n {} -l app.kubernetes.io/name=pkcs11-issuer --tail=100",
        word(namespace)
    )
}
