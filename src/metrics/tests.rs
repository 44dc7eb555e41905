//! Tests of the exposition, and of the page that lists the metrics.

use super::*;

#[test]
fn the_runbook_lists_every_metric_and_no_other() {
    const PAGE: &str = include_str!("../../docs/runbook.md");
    let sources = [include_str!("../metrics.rs"), include_str!("log.rs")];
    let calls = sources
        .iter()
        .flat_map(|source| source.split(".register(").skip(1));
    let name = |call: &str| call.split('"').nth(1).map(str::to_owned);
    let mut registered: Vec<_> = calls.filter_map(name).collect();
    let (_, listed) = PAGE.split_once("## All metrics").unwrap();
    let rows = listed.lines().filter_map(|row| row.strip_prefix("| `"));
    let names = rows.filter_map(|row| row.split(['{', '`']).next());
    let mut listed: Vec<_> = names.map(without_suffix).collect();
    registered.sort();
    listed.sort();
    assert_eq!(listed, registered);
    // Alerts name only metrics that exist.
    let words = PAGE.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for word in words.filter(|word| word.starts_with("pkcs11_issuer_")) {
        assert!(registered.contains(&without_suffix(word)), "{word}");
    }
}

/// Returns the name with which a metric is registered.
fn without_suffix(name: &str) -> String {
    let name = name.trim_start_matches("pkcs11_issuer_");
    name.trim_end_matches("_total")
        .trim_end_matches("_info")
        .to_owned()
}

#[test]
fn each_call_updates_the_metric_with_its_labels() {
    let metrics = Metrics::new("0.1.0", "unknown");
    metrics.request(RequestKind::CertificateRequest, RequestResult::Issued);
    metrics.request(RequestKind::CertificateRequest, RequestResult::Issued);
    metrics.refused("key-too-small");
    metrics.signed("issuing", SignOutcome::Signed, Duration::from_millis(4));
    metrics.event_dropped();
    metrics.bug("signature-does-not-verify");
    metrics.replicas(3);
    metrics.token_replicas("issuing", 2);
    metrics.lease_held(true);
    metrics.lease_renewed(LeaseRenewal::Failed);
    metrics.watch_failed("CertificateRequest");
    metrics.clashed();
    let text = metrics.encode().unwrap();
    for line in [
        r#"pkcs11_issuer_build_info{version="0.1.0",commit="unknown"} 1"#,
        r#"pkcs11_issuer_requests_total{kind="CertificateRequest",result="issued"} 2"#,
        r#"pkcs11_issuer_refusals_total{reason="key-too-small"} 1"#,
        r#"pkcs11_issuer_sign_seconds_bucket{le="0.0025",token="issuing",outcome="signed"} 0"#,
        r#"pkcs11_issuer_sign_seconds_bucket{le="0.005",token="issuing",outcome="signed"} 1"#,
        r#"pkcs11_issuer_events_dropped_total 1"#,
        r#"pkcs11_issuer_replicas 3"#,
        r#"pkcs11_issuer_token_replicas{token="issuing"} 2"#,
        r#"pkcs11_issuer_lease_held 1"#,
        r#"pkcs11_issuer_lease_renewals_total{result="failed"} 1"#,
        r#"pkcs11_issuer_watch_failures_total{kind="CertificateRequest"} 1"#,
        r#"pkcs11_issuer_clashes_total 1"#,
        r#"pkcs11_issuer_bugs_total{bug="signature-does-not-verify"} 1"#,
    ] {
        assert!(
            text.lines().any(|present| present == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn a_token_is_in_one_state_at_a_time_and_every_entry_is_counted() {
    let metrics = Metrics::new("0.1.0", "unknown");
    let counts = |state| TokenCounts {
        state,
        entered: BTreeMap::from([("starting", 1), ("ready", 2)]),
        ended: BTreeMap::from([("hung", 1)]),
    };
    metrics.token("issuing", &counts("starting"));
    metrics.token("issuing", &counts("ready"));
    let text = metrics.encode().unwrap();
    for line in [
        r#"pkcs11_issuer_token_state{token="issuing",state="starting"} 0"#,
        r#"pkcs11_issuer_token_state{token="issuing",state="ready"} 1"#,
        r#"pkcs11_issuer_token_entered_total{token="issuing",state="ready"} 2"#,
        r#"pkcs11_issuer_worker_ended_total{token="issuing",reason="hung"} 1"#,
    ] {
        assert!(
            text.lines().any(|present| present == line),
            "{line} is not in\n{text}"
        );
    }
}
