//! Each state of a request, its issuer and the replicas names its step.

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{
        certificate::Certificate,
        certificate_request::CertificateRequest,
        issuer::{PKCS11ClusterIssuer, Reason},
    },
    cli::kubectl::{read::Gap, snapshot::SeenCertificate},
    ownership::ListedReplica,
};

const CREATED: &str = "2026-01-01T00:00:00Z";

fn start() -> Timestamp {
    CREATED.parse().unwrap()
}

/// An approved request whose condition `Ready` has this reason and message.
fn request(ready: Option<(&str, &str)>) -> SeenRequest {
    let mut conditions = vec![json!({"type": "Approved", "status": "True"})];
    conditions.extend(ready.map(|(reason, message)| {
        json!({
            "type": "Ready", "status": "False", "reason": reason, "message": message,
            "lastTransitionTime": CREATED,
        })
    }));
    let request: CertificateRequest = serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "CertificateRequest",
        "metadata": {"name": "web-1", "namespace": "shop", "creationTimestamp": CREATED},
        "spec": {
            "request": "",
            "issuerRef": {"name": "issuing", "kind": "PKCS11ClusterIssuer", "group": "pkcs11-issuer.dev"},
        },
        "status": {"conditions": conditions},
    }))
    .unwrap();
    SeenRequest::of_certificate_request(&request)
}

/// An issuer that has been looked at, with this reason of `Ready`.
fn issuer(reason: Reason, more: &Value) -> SeenIssuer {
    let mut spec = json!({"token": "hsm", "certificate": {"pem": "x"}});
    let fields = spec.as_object_mut().unwrap();
    fields.extend(more.as_object().unwrap().clone());
    let status = if reason == Reason::Verified {
        "True"
    } else {
        "False"
    };
    let issuer: PKCS11ClusterIssuer = serde_json::from_value(json!({
        "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": "PKCS11ClusterIssuer",
        "metadata": {"name": "issuing", "generation": 1},
        "spec": spec,
        "status": {"observedGeneration": 1, "installation": "pki", "conditions": [{
            "type": "Ready", "status": status, "reason": reason.as_str(), "message": "why",
            "lastTransitionTime": CREATED,
        }]},
    }))
    .unwrap();
    SeenIssuer::of(&issuer)
}

fn certificate(status: &Value) -> SeenCertificate {
    let certificate: Certificate = serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"issuerRef": {
            "name": "issuing", "kind": "PKCS11ClusterIssuer", "group": "pkcs11-issuer.dev",
        }},
        "status": status,
    }))
    .unwrap();
    SeenCertificate::of(&certificate)
}

/// Everything about this request, with one live replica that can sign.
fn snapshot(request: SeenRequest, issuer: SeenIssuer) -> Snapshot {
    Snapshot {
        certificate: None,
        request: Read::Found(request),
        issuer: Some(Read::Found(issuer)),
        events: Read::Found(Vec::new()),
        replicas: Some(Read::Found(vec![replica(&["hsm"])])),
    }
}

fn replica(tokens: &[&str]) -> ListedReplica {
    ListedReplica {
        identity: "a".to_owned(),
        tokens: tokens.iter().map(|&token| token.to_owned()).collect(),
        renewed: start(),
        until: start() + SignedDuration::from_secs(15),
    }
}

fn explained(snapshot: &Snapshot, after: i64) -> (Option<StepName>, String) {
    let explained = explain(snapshot, start() + SignedDuration::from_secs(after));
    let steps: Vec<_> = explained.steps.iter().map(|step| step.step).collect();
    assert!(steps.is_sorted() && steps.len() == 8, "{steps:?}");
    (explained.held_by, explained.why().to_owned())
}

#[test]
fn each_message_of_a_waiting_request_names_its_step() {
    let in_flight = json!({"maxConcurrentSignatures": 2});
    for (cause, step, says) in [
        (
            PendingCause::ToBeFixed("the root ends"),
            StepName::Issuer,
            "the root ends",
        ),
        (
            PendingCause::TriedAgain("the token is busy"),
            StepName::Token,
            "the token is busy",
        ),
        (
            PendingCause::Turn,
            StepName::Limit,
            "at most 2 signatures at the same time",
        ),
        (
            PendingCause::Bug,
            StepName::Result,
            "an internal check of the controller failed",
        ),
    ] {
        let message = cause.message("PKCS11ClusterIssuer issuing");
        let request = request(Some(("Pending", &message)));
        let issuer = issuer(Reason::Verified, &in_flight);
        let (held, why) = explained(&snapshot(request, issuer), 5);
        assert_eq!(held, Some(step), "{why}");
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn each_reason_of_an_issuer_that_is_not_ready_names_one_step_and_says_who_acts() {
    let mut seen = 0;
    for reason in Reason::ALL {
        let Some(step) = issuer::step_of(*reason) else {
            continue;
        };
        let snapshot = snapshot(request(None), issuer(*reason, &json!({})));
        let explained = explain(&snapshot, start());
        assert_eq!(explained.held_by, Some(step), "{reason}");
        assert!(explained.why().contains(reason.as_str()), "{reason}");
        assert!(
            explained.advice.contains(": "),
            "{reason}: {}",
            explained.advice
        );
        assert_eq!(explained.next, ["kubectl pkcs11-issuer status issuing"]);
        seen += 1;
    }
    assert!(seen > 30, "{seen}");
}

#[test]
fn a_request_under_a_rollover_that_was_undone_is_held_by_the_issuer() {
    let snapshot = snapshot(request(None), issuer(Reason::RolloverUndone, &json!({})));
    let (held, why) = explained(&snapshot, 5);
    assert_eq!(held, Some(StepName::Issuer));
    assert!(why.contains("RolloverUndone"), "{why}");
}

#[test]
fn an_issuer_that_was_ready_signs_only_while_a_live_replica_has_its_token() {
    let ready = || issuer(Reason::Verified, &json!({}));
    let mut one = snapshot(request(None), ready());
    one.replicas = Some(Read::Found(vec![replica(&["other"])]));
    let (held, why) = explained(&one, 5);
    assert_eq!(held, Some(StepName::Token));
    assert_eq!(
        why,
        "none of the 1 live replicas can sign with token hsm now"
    );
    let (held, _) = explained(&one, 16);
    assert_eq!(held, Some(StepName::Issuer), "the Lease has ended");
    one.replicas = Some(Read::Found(Vec::new()));
    assert_eq!(explained(&one, 5).0, Some(StepName::Issuer));
}

#[test]
fn a_request_that_nothing_holds_is_answered_in_a_moment_or_the_log_must_say_why() {
    let mut one = snapshot(request(None), issuer(Reason::Verified, &json!({})));
    one.replicas = None;
    assert_eq!(
        explained(&one, 5),
        (
            Some(StepName::Result),
            "the controller answers it now".to_owned()
        )
    );
    let (held, why) = explained(&one, 600);
    assert_eq!(held, Some(StepName::Result));
    assert!(
        why.starts_with("the controller has not answered for 600s"),
        "{why}"
    );
}

#[test]
fn what_could_not_be_read_is_unknown_and_the_request_itself_still_tells() {
    let gap = |part: &str| Gap {
        part: part.to_owned(),
        verb: "get",
        resource: "pkcs11clusterissuers.pkcs11-issuer.dev".to_owned(),
        namespace: None,
        error: None,
    };
    let dark = |request| Snapshot {
        issuer: Some(Read::Unknown(gap("the state of the issuer"))),
        replicas: None,
        ..snapshot(request, issuer(Reason::Verified, &json!({})))
    };
    let explained = explain(&dark(request(None)), start());
    assert_eq!((explained.held_by, explained.is_done()), (None, false));
    assert_eq!(explained.unknown, [gap("the state of the issuer")]);
    let message = PendingCause::NotReady("KeyNotFound").message("PKCS11ClusterIssuer issuing");
    let told = explain(&dark(request(Some(("Pending", &message)))), start());
    assert_eq!(told.held_by, Some(StepName::Token));
    let message = PendingCause::<&str>::IssuerMissing.message("PKCS11ClusterIssuer issuing");
    let told = explain(&dark(request(Some(("Pending", &message)))), start());
    assert_eq!(told.held_by, Some(StepName::Issuer));
}

#[test]
fn a_refusal_belongs_to_the_policy_and_a_wait_that_was_too_long_to_the_limit() {
    for reason in RefusalReason::ALL {
        let message = format!("{}: because", reason.as_str());
        let snapshot = snapshot(
            request(Some(("Failed", &message))),
            issuer(Reason::Verified, &json!({})),
        );
        let step = match *reason == RefusalReason::PendingTooLong {
            true => StepName::Limit,
            false => StepName::Policy,
        };
        let (held, why) = explained(&snapshot, 5);
        assert_eq!((held, why), (Some(step), format!("refused: {message}")));
    }
    let snapshot = snapshot(
        request(Some(("Failed", "somebody else: said so"))),
        issuer(Reason::Verified, &json!({})),
    );
    assert_eq!(explained(&snapshot, 5).0, Some(StepName::Result));
}

#[test]
fn a_certificate_without_a_request_is_held_or_has_its_certificate() {
    let issuing = json!({"conditions": [{"type": "Issuing", "status": "True"}]});
    let failed = json!({"lastFailureTime": CREATED});
    let idle =
        json!({"conditions": [{"type": "Ready", "status": "False", "message": "no secret"}]});
    let valid = json!({"notAfter": "2026-02-01T00:00:00Z", "renewalTime": "2026-01-20T00:00:00Z"});
    let ended = json!({"notAfter": "2025-12-01T00:00:00Z"});
    for (status, held, says) in [
        (
            issuing,
            Some(StepName::Certificate),
            "has not made a CertificateRequest",
        ),
        (failed, Some(StepName::Certificate), "cert-manager pauses"),
        (
            idle,
            Some(StepName::Certificate),
            "has not begun to issue Certificate shop/web: no secret",
        ),
        (
            valid,
            None,
            "issued, valid until 2026-02-01T00:00:00Z, renewal at 2026-01-20T00:00:00Z",
        ),
        (
            ended,
            Some(StepName::Result),
            "its certificate ended 31d ago",
        ),
    ] {
        let snapshot = Snapshot {
            certificate: Some(Read::Found(certificate(&status))),
            request: Read::Missing,
            ..snapshot(request(None), issuer(Reason::Verified, &json!({})))
        };
        let (found, why) = explained(&snapshot, 0);
        assert_eq!(found, held, "{status}: {why}");
        assert!(why.contains(says), "{why}");
    }
}

#[test]
fn names_that_others_chose_are_quoted_in_commands() {
    let mut evil = request(None);
    evil.name = "$(reboot)".to_owned();
    evil.stage.approval = Approval::Awaited;
    let explained = explain(
        &snapshot(evil, issuer(Reason::Verified, &json!({}))),
        start(),
    );
    assert_eq!(explained.next, ["cmctl approve -n shop '$(reboot)'"]);
}
