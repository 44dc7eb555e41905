//! Tests of the exposition.

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::audit::RequestKind;

fn issuer(name: &str) -> IssuerId<'_> {
    IssuerId {
        kind: "PKCS11Issuer",
        namespace: Some("shop"),
        name,
    }
}

fn has(metrics: &Metrics, lines: &[&str]) {
    let text = metrics.encode().unwrap();
    for line in lines {
        assert!(
            text.lines().any(|present| present == *line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn each_call_updates_the_metric_with_its_labels() {
    let metrics = Metrics::new("0.1.0", "unknown");
    let kind = RequestKind::CertificateRequest;
    metrics.request(kind, issuer("ca"), RequestResult::Issued);
    metrics.request(kind, issuer("ca"), RequestResult::Issued);
    metrics.refused(kind, issuer("ca"), "key-too-small");
    metrics.waiting(kind, WaitReason::Queue, 2, Some(100));
    metrics.published_after(kind, Duration::from_secs(3));
    metrics.stage(TimedStage::Turn, Duration::from_millis(4));
    metrics.signed("issuing", SignOutcome::Signed, Duration::from_millis(4));
    metrics.last_signature("issuing", 200);
    metrics.token_called("issuing", TokenFunction::FindKey, Duration::ZERO);
    metrics.token_failed("issuing", "CKR_DEVICE_ERROR", 2);
    metrics.event_dropped();
    metrics.bug("signature-does-not-verify");
    metrics.replicas(3);
    metrics.token_replicas("issuing", 2);
    metrics.lease_held(true);
    metrics.lease_renewed(LeaseRenewal::Failed);
    metrics.watch_failed("CertificateRequest");
    metrics.clashed();
    metrics.api_called(ApiVerb::Get, Some(404), Duration::ZERO);
    metrics.api_called(ApiVerb::Watch, None, Duration::ZERO);
    metrics.clock_offset(-1.5);
    has(
        &metrics,
        &[
            r#"pkcs11_issuer_build_info{version="0.1.0",commit="unknown"} 1"#,
            r#"pkcs11_issuer_requests_total{kind="CertificateRequest",issuer_kind="PKCS11Issuer",result="issued"} 2"#,
            r#"pkcs11_issuer_refusals_total{kind="CertificateRequest",issuer_kind="PKCS11Issuer",reason="key-too-small"} 1"#,
            r#"pkcs11_issuer_waiting_requests{kind="CertificateRequest",reason="queue"} 2"#,
            r#"pkcs11_issuer_waiting_requests_oldest_timestamp_seconds{kind="CertificateRequest",reason="queue"} 100"#,
            r#"pkcs11_issuer_request_seconds_bucket{le="2.0",kind="CertificateRequest"} 0"#,
            r#"pkcs11_issuer_request_seconds_bucket{le="5.0",kind="CertificateRequest"} 1"#,
            r#"pkcs11_issuer_stage_seconds_count{stage="turn"} 1"#,
            r#"pkcs11_issuer_sign_seconds_bucket{le="0.0025",token="issuing",outcome="signed"} 0"#,
            r#"pkcs11_issuer_sign_seconds_bucket{le="0.005",token="issuing",outcome="signed"} 1"#,
            r#"pkcs11_issuer_token_last_signature_timestamp_seconds{token="issuing"} 200"#,
            r#"pkcs11_issuer_token_call_seconds_count{token="issuing",function="find-key"} 1"#,
            r#"pkcs11_issuer_token_errors_total{token="issuing",code="CKR_DEVICE_ERROR"} 2"#,
            r#"pkcs11_issuer_events_dropped_total 1"#,
            r#"pkcs11_issuer_replicas 3"#,
            r#"pkcs11_issuer_token_replicas{token="issuing"} 2"#,
            r#"pkcs11_issuer_lease_held 1"#,
            r#"pkcs11_issuer_lease_renewals_total{result="failed"} 1"#,
            r#"pkcs11_issuer_watch_failures_total{kind="CertificateRequest"} 1"#,
            r#"pkcs11_issuer_clashes_total 1"#,
            r#"pkcs11_issuer_bugs_total{bug="signature-does-not-verify"} 1"#,
            r#"pkcs11_issuer_api_requests_total{verb="get",code="404"} 1"#,
            r#"pkcs11_issuer_api_requests_total{verb="watch",code="error"} 1"#,
            r#"pkcs11_issuer_clock_offset_seconds -1.5"#,
        ],
    );
}

#[test]
fn the_first_events_that_an_alert_counts_are_growth() {
    let metrics = Metrics::new("0.1.0", "unknown");
    metrics.expect_requests(&["PKCS11Issuer", "PKCS11ClusterIssuer"]);
    metrics.expect_failures(&["issuance"], &["rfc5280_version_3"]);
    metrics.watches("CertificateRequest");
    has(
        &metrics,
        &[
            r#"pkcs11_issuer_requests_total{kind="CertificateRequest",issuer_kind="PKCS11Issuer",result="failed"} 0"#,
            r#"pkcs11_issuer_requests_total{kind="PodCertificateRequest",issuer_kind="PKCS11ClusterIssuer",result="issued"} 0"#,
            r#"pkcs11_issuer_bugs_total{bug="issuance"} 0"#,
            r#"pkcs11_issuer_lint_failures_total{lint="rfc5280_version_3"} 0"#,
            r#"pkcs11_issuer_watch_failures_total{kind="CertificateRequest"} 0"#,
            r#"pkcs11_issuer_crl_failures_total{step="sign"} 0"#,
        ],
    );
    let text = metrics.encode().unwrap();
    let requests = text.matches("pkcs11_issuer_requests_total{").count();
    assert_eq!(requests, 3 * 2 * RequestResult::ALL.len());
}

#[test]
fn a_token_is_in_one_state_at_a_time_and_every_entry_is_counted() {
    let metrics = Metrics::new("0.1.0", "unknown");
    let counts = |state| TokenCounts {
        state,
        entered: BTreeMap::from([("starting", 1), ("ready", 2)]),
        ended: BTreeMap::from([("hung", 1)]),
        starts: 3,
        logins: BTreeMap::from([("accepted", 2)]),
        pin: vec![("count-low", true), ("locked", false)],
    };
    metrics.token("issuing", &counts("starting"));
    metrics.token("issuing", &counts("ready"));
    has(
        &metrics,
        &[
            r#"pkcs11_issuer_token_state{token="issuing",state="starting"} 0"#,
            r#"pkcs11_issuer_token_state{token="issuing",state="ready"} 1"#,
            r#"pkcs11_issuer_token_entered_total{token="issuing",state="ready"} 2"#,
            r#"pkcs11_issuer_worker_ended_total{token="issuing",reason="hung"} 1"#,
            r#"pkcs11_issuer_worker_starts_total{token="issuing"} 3"#,
            r#"pkcs11_issuer_token_logins_total{token="issuing",outcome="accepted"} 2"#,
            r#"pkcs11_issuer_token_pin_flag{token="issuing",flag="count-low"} 1"#,
            r#"pkcs11_issuer_token_pin_flag{token="issuing",flag="locked"} 0"#,
            // The first unverified signature is growth, because the counter was at zero before.
            r#"pkcs11_issuer_sign_seconds_count{token="issuing",outcome="unverified"} 0"#,
        ],
    );
}

#[test]
fn sessions_are_busy_or_idle_and_vanish_with_the_worker() {
    let metrics = Metrics::new("0.1.0", "unknown");
    let used = TokenUse {
        queued: 7,
        in_flight: 3,
        sessions: Some(SessionCounts {
            open: 2,
            discarded: 1,
        }),
    };
    metrics.token_use("issuing", used);
    let queued = r#"pkcs11_issuer_token_queue{token="issuing"} 7"#;
    has(
        &metrics,
        &[
            queued,
            r#"pkcs11_issuer_token_in_flight{token="issuing"} 3"#,
            r#"pkcs11_issuer_token_sessions{token="issuing",state="busy"} 2"#,
            r#"pkcs11_issuer_token_sessions{token="issuing",state="idle"} 0"#,
            r#"pkcs11_issuer_token_sessions_discarded{token="issuing"} 1"#,
        ],
    );
    metrics.token_use(
        "issuing",
        TokenUse {
            sessions: None,
            ..used
        },
    );
    has(&metrics, &[queued]);
    assert!(!metrics.encode().unwrap().contains("sessions{"));
    metrics.token_use("issuing", used);
    metrics.token_unused("issuing");
    has(&metrics, &[queued]);
    assert!(!metrics.encode().unwrap().contains("sessions"));
    let counts = TokenCounts::default();
    metrics.forget_token("issuing", &counts);
    assert!(!metrics.encode().unwrap().contains("token=\"issuing\""));
}

#[test]
fn only_as_many_issuers_as_the_operator_allows_have_metrics_of_their_own() {
    let count = |metrics: &Metrics| metrics.encode().unwrap().matches("issuer=\"").count();
    let kind = RequestKind::CertificateRequest;
    let health = |ready| {
        Some(IssuerHealth {
            ready,
            not_after: Some(300),
        })
    };
    let none = Metrics::new("0.1.0", "unknown");
    none.request(kind, issuer("a"), RequestResult::Issued);
    none.issuer(issuer("a"), health(true));
    none.issuer_signed(issuer("a"), 400);
    assert_eq!(count(&none), 0);

    let two = Metrics::with_issuers("0.1.0", "unknown", 2);
    let names: Vec<_> = (0..1000).map(|number| format!("ca-{number}")).collect();
    for name in &names {
        for result in RequestResult::ALL {
            two.request(kind, issuer(name), *result);
        }
        two.issuer(issuer(name), health(true));
        two.issuer_signed(issuer(name), 400);
    }
    // Two issuers with all results, health, end and last signature, and the others with all results.
    assert_eq!(
        count(&two),
        2 * (RequestResult::ALL.len() + 3) + RequestResult::ALL.len()
    );
    has(
        &two,
        &[
            r#"pkcs11_issuer_issuer_ready{issuer_kind="PKCS11Issuer",issuer_namespace="shop",issuer="ca-1"} 1"#,
            r#"pkcs11_issuer_issuer_not_after_timestamp_seconds{issuer_kind="PKCS11Issuer",issuer_namespace="shop",issuer="ca-1"} 300"#,
            r#"pkcs11_issuer_issuer_last_signature_timestamp_seconds{issuer_kind="PKCS11Issuer",issuer_namespace="shop",issuer="ca-1"} 400"#,
            r#"pkcs11_issuer_issuer_requests_total{issuer_kind="PKCS11Issuer",issuer_namespace="",issuer="(others)",result="issued"} 998"#,
        ],
    );
    // The place of a deleted issuer is free again.
    two.issuer(issuer("ca-0"), None);
    two.issuer(issuer("ca-9"), health(false));
    has(
        &two,
        &[
            r#"pkcs11_issuer_issuer_ready{issuer_kind="PKCS11Issuer",issuer_namespace="shop",issuer="ca-9"} 0"#,
        ],
    );
    assert!(!two.encode().unwrap().contains("issuer=\"ca-0\""));
}

#[test]
fn only_so_many_cas_have_metrics_and_those_without_a_crl_have_none() {
    let metrics = Metrics::new("0.1.0", "unknown");
    let times = CrlTimes {
        this_update: 1,
        next_update: 2,
        entries: 3,
    };
    for number in 0..200 {
        metrics.crl(&format!("{number:032x}"), Some(times));
        metrics.crl_due(&format!("{number:032x}"), Some(9));
    }
    let text = metrics.encode().unwrap();
    let shown = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
    for name in ["next_update", "this_update", "due_since"] {
        let name = format!("pkcs11_issuer_crl_{name}_timestamp_seconds{{");
        assert_eq!(shown(&name), 100);
    }
    assert_eq!(shown("pkcs11_issuer_crl_entries{"), 100);
    let first = format!("ca=\"{:032x}\"", 0);
    metrics.crl(&format!("{:032x}", 0), None);
    metrics.crl_due(&format!("{:032x}", 0), None);
    assert!(!metrics.encode().unwrap().contains(&first));
    metrics.revocations_waiting(2, Some(7));
    metrics.crl_bundles_incomplete(1);
    metrics.crl_published();
    has(
        &metrics,
        &[
            "pkcs11_issuer_revocations_waiting 2",
            "pkcs11_issuer_revocation_waiting_since_timestamp_seconds 7",
            "pkcs11_issuer_crl_bundle_incomplete 1",
            "pkcs11_issuer_crls_published_total 1",
        ],
    );
}
