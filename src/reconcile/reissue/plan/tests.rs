//! Tests which Certificates are renewed, in which order, how fast, and when not.

use serde_json::{Value, json};

use super::*;
use crate::issuance::outdated::Outdated;

const NOW: &str = "2026-06-01T00:00:00Z";
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn name(name: &str) -> CertificateName {
    CertificateName {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

fn judged(of: &str, days_old: i32, outdated: Option<Outdated>) -> Judged {
    let earlier = IssuedEarlier {
        not_before: NOW.parse::<Timestamp>().unwrap() - DAY * days_old,
        outdated,
    };
    Judged::from([((name(of), 3), earlier)])
}

fn certificate(spec: Value, status: Value) -> Certificate {
    let mut spec = spec;
    spec["issuerRef"] = json!({"name": "issuing"});
    serde_json::from_value(json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"namespace": "shop", "name": "web", "uid": "u"},
        "spec": spec, "status": status,
    }))
    .unwrap()
}

fn candidate(of: &str, days_old: i32) -> OutdatedCertificate {
    OutdatedCertificate {
        name: name(of),
        uid: "u".to_owned(),
        revision: 3,
        not_before: NOW.parse::<Timestamp>().unwrap() - DAY * days_old,
    }
}

#[test]
fn a_certificate_is_renewed_once_if_it_is_outdated_and_its_renewal_can_succeed() {
    let longest = DAY * 90;
    let old = judged("web", 5, Some(Outdated::OtherCa));
    let idle = json!({"revision": 3});
    let issuing = json!({"revision": 3, "conditions": [{"type": "Issuing", "status": "True"}]});
    let failed = json!({"revision": 3, "lastFailureTime": NOW});
    let due = RenewalNeed::Due(candidate("web", 5));
    for (spec, status, judged, expected) in [
        (json!({}), idle.clone(), &old, due.clone()),
        (json!({"duration": "2160h"}), idle.clone(), &old, due),
        // The certificate would be issued again as it is, nothing is known of it, or it is not there yet.
        (
            json!({}),
            idle.clone(),
            &judged("web", 5, None),
            RenewalNeed::Fresh,
        ),
        (
            json!({}),
            idle.clone(),
            &judged("other", 5, Some(Outdated::TooLong)),
            RenewalNeed::Fresh,
        ),
        (json!({}), json!({"revision": 4}), &old, RenewalNeed::Fresh),
        (json!({}), json!({}), &old, RenewalNeed::Fresh),
        (
            json!({}),
            issuing,
            &old,
            RenewalNeed::InProgress(candidate("web", 5)),
        ),
        // It asks for more than the profile allows now, or was just refused.
        (
            json!({"duration": "2161h"}),
            idle.clone(),
            &old,
            RenewalNeed::Stuck,
        ),
        (json!({"duration": "?"}), idle, &old, RenewalNeed::Stuck),
        (json!({}), failed, &old, RenewalNeed::Stuck),
    ] {
        let certificate = certificate(spec, status);
        assert_eq!(
            renewal_need(&certificate, judged, longest),
            expected,
            "{certificate:?}"
        );
    }
}

fn plan(count: i32, now: Instant) -> ReissuePlan {
    let due = (0..count).map(|age| RenewalNeed::Due(candidate(&age.to_string(), age)));
    ReissuePlan::new(due, now)
}

/// Returns the names of the Certificates that are begun in a time.
fn begun(plan: &mut ReissuePlan, per_second: u16, from: Instant, tenths: u32) -> Vec<String> {
    let mut names = Vec::new();
    for tenth in 0..tenths {
        let now = from + Duration::from_millis(100) * tenth;
        while let Some(candidate) = plan.next(per_second, now) {
            names.push(candidate.name.name.clone());
            plan.begun(candidate);
        }
    }
    names
}

#[test]
fn the_oldest_certificates_come_first_at_the_pace_of_the_issuer() {
    let now = Instant::now();
    let mut plan = plan(100, now);
    assert_eq!(begun(&mut plan, 2, now, 21), ["99", "98", "97", "96"]);
    let status = plan.status(2);
    assert_eq!(
        status,
        ReissueStatus {
            state: ReissueState::Running,
            total: 100,
            left: 100,
            in_progress: 4,
            stuck: 0,
            message: String::new(),
        }
    );
}

#[test]
fn renewals_stop_while_too_many_are_in_progress_and_a_pause_is_not_made_up_for() {
    let now = Instant::now();
    let mut plan = plan(100, now);
    let minute = now + Duration::from_secs(60);
    assert_eq!(begun(&mut plan, 2, now, 600).len(), 2 * IN_PROGRESS_SECONDS);
    assert_eq!(begun(&mut plan, 2, minute, 10).len(), 0);
    assert_eq!(plan.status(2).state, ReissueState::Slowed);
    while plan.oldest_in_progress().is_some() {}
    assert_eq!(
        begun(&mut plan, 2, minute, 1).len(),
        2,
        "of the last second"
    );
    assert_eq!(plan.status(2).state, ReissueState::Running);
}

#[test]
fn a_slow_or_failed_call_pauses_the_renewals() {
    let now = Instant::now();
    let later = |seconds| now + Duration::from_secs(seconds);
    let mut slow = plan(100, now);
    slow.took(SLOW, later(1));
    assert!(slow.next(1, later(2)).is_some());
    slow.took(SLOW * 2, later(2));
    assert!(slow.next(1, later(31)).is_none());
    assert_eq!(slow.status(1).message, "the API server is slow");
    assert!(slow.next(1, later(33)).is_some());

    let mut failed = plan(2, now);
    let first = failed.next(1, later(1)).unwrap();
    failed.failed(first.clone(), "429", later(1));
    assert_eq!(failed.status(1).left, 2);
    assert!(failed.next(1, later(30)).is_none());
    assert_eq!(failed.next(1, later(32)), Some(first));
}

#[test]
fn the_certificates_are_read_again_some_time_after_nothing_is_left() {
    let now = Instant::now();
    let mut last = plan(1, now);
    assert!(!last.is_over(now + EMPTY_FOR));
    let candidate = last.next(1, now + Duration::from_secs(1)).unwrap();
    last.begun(candidate);
    assert!(!last.is_over(now + EMPTY_FOR));
    last.oldest_in_progress();
    assert_eq!(last.status(1).state, ReissueState::Done);
    assert!(!last.is_over(now + EMPTY_FOR / 2));
    assert!(last.is_over(now + EMPTY_FOR));
}
