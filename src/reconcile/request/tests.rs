//! Tests the whole life of a request, from the reports of the watch to the status writes, with a cluster in memory.

mod answers;
mod life;
mod world;

use self::{life::Life, world::Write};
use super::*;
use crate::api::certificate_request::CertificateRequest;
use crate::reconcile::events::EventReason;
use crate::reconcile::request::decide::IssuerFact;

/// Returns everything that was written during a life.
fn writes(life: &Life) -> Vec<Write> {
    life.world.writes()
}

const ISSUED: Write = Write::Ready("True", "Issued");
const PENDING: Write = Write::Ready("False", "Pending");
const FAILED: Write = Write::Ready("False", "Failed");
const DENIED: Write = Write::Ready("False", "Denied");
const SIGNED: Write = Write::Signed;

#[test]
fn an_approved_request_is_signed_and_published_once_and_then_forgotten() {
    let mut life = Life::of_approved();
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED, ISSUED, Write::Published]);
    assert!(life.keeps_nothing());
    life.world.touch();
    life.goes_on();
    assert_eq!(writes(&life).len(), 3, "{:?}", writes(&life));
}

#[test]
fn nothing_is_written_before_approval_and_a_denial_is_acknowledged_once() {
    let mut life = Life::of_new();
    life.goes_on();
    life.world.touch();
    life.goes_on();
    assert_eq!(writes(&life), []);
    life.world.decide_by_approver("Denied");
    life.goes_on();
    life.world.touch();
    life.goes_on();
    assert_eq!(writes(&life), [DENIED]);
}

#[test]
fn an_undecided_request_gets_one_event_after_the_time_that_the_operator_sets() {
    const HOUR: Duration = Duration::from_secs(3600);
    let mut unwanted = Life::of_new();
    unwanted.goes_on();
    assert_eq!(unwanted.next_wake(), None);
    let mut life = Life::of_new();
    life.world.undecided_after(2 * HOUR);
    life.goes_on();
    life.passes(HOUR);
    assert_eq!(*life.world.events.borrow(), []);
    life.passes(HOUR);
    life.passes(HOUR);
    life.world.touch();
    life.goes_on();
    assert_eq!(*life.world.events.borrow(), [EventReason::Undecided]);
    assert_eq!(life.next_wake(), None);
    assert_eq!(writes(&life), []);
    let mut others = Life::of_new();
    others.world.undecided_after(HOUR);
    others.world.give_away();
    others.passes(HOUR);
    assert_eq!(*others.world.events.borrow(), []);
    let mut decided = Life::of_approved();
    decided.world.undecided_after(HOUR);
    decided.goes_on();
    decided.passes(HOUR);
    assert_eq!(*decided.world.events.borrow(), [EventReason::Issued]);
}

#[test]
fn a_late_report_of_the_watch_from_before_our_write_changes_nothing() {
    let mut life = Life::of_approved();
    life.hears();
    // The object changes before our write, and the watch reports that after it.
    life.world.touch();
    let late = life.world.keep_back();
    life.looks();
    life.world.tell_first(late);
    life.hears();
    life.looks();
    assert_eq!(life.world.count(SIGNED), 1);
    assert_eq!(life.world.count(ISSUED), 1);
    life.goes_on();
    assert!(life.keeps_nothing());
    assert_eq!(life.world.count(SIGNED), 1);
}

#[test]
fn after_a_change_before_the_write_the_object_is_read_again_and_the_same_certificate_published() {
    let mut life = Life::of_approved();
    life.world.before_store(|world| world.touch());
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED, ISSUED, Write::Published]);
}

#[test]
fn a_denial_before_the_write_is_acknowledged_and_the_certificate_recorded_as_discarded() {
    let mut life = Life::of_approved();
    life.world
        .before_store(|world| world.decide_by_approver("Denied"));
    life.goes_on();
    assert_eq!(
        writes(&life),
        [SIGNED, Write::Discarded("superseded"), DENIED]
    );
    assert!(life.keeps_nothing());
}

#[test]
fn a_request_that_is_deleted_before_the_write_has_its_certificate_recorded_as_discarded() {
    let mut life = Life::of_approved();
    life.world.before_store(|world| world.delete());
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED, Write::Discarded("superseded")]);
    assert!(life.keeps_nothing());
}

#[test]
fn the_certificate_of_a_request_that_becomes_unparsable_and_is_deleted_is_recorded_as_discarded() {
    let mut life = Life::of_approved();
    life.world.fail_stores(1);
    life.goes_on();
    life.world.garble_and_delete();
    life.goes_on();
    life.passes(Duration::from_secs(60));
    assert_eq!(writes(&life), [SIGNED, Write::Discarded("superseded")]);
    assert!(life.keeps_nothing());
}

#[test]
fn a_certificate_is_published_only_after_the_log_has_it() {
    let mut life = Life::of_approved();
    life.world.note_lines(false);
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED, PENDING]);
    life.world.note_lines(true);
    life.passes(Duration::from_secs(60));
    assert_eq!(writes(&life), [SIGNED, PENDING, ISSUED, Write::Published]);
}

#[test]
fn a_refusal_waits_until_the_log_takes_its_line() {
    let mut life = Life::of_approved();
    life.world.refuse();
    life.world.note_lines(false);
    life.goes_on();
    assert_eq!(writes(&life), []);
    life.world.note_lines(true);
    life.passes(Duration::from_secs(60));
    assert_eq!(writes(&life), [FAILED, Write::Refused]);
}

#[test]
fn a_failed_write_is_retried_with_the_same_certificate_and_not_before_the_retry_time() {
    let mut life = Life::of_approved();
    life.world.fail_stores(2);
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED]);
    life.world.touch();
    life.goes_on();
    assert_eq!(
        life.world.stores_failed(),
        1,
        "a change is no reason to try again"
    );
    life.passes(Duration::from_secs(5));
    assert_eq!(life.world.stores_failed(), 2);
    life.passes(Duration::from_secs(5));
    assert_eq!(writes(&life), [SIGNED, ISSUED, Write::Published]);
}

#[test]
fn a_write_that_was_stored_although_its_answer_was_lost_is_recorded_as_published() {
    let mut life = Life::of_approved();
    life.world.lose_answer();
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED, ISSUED, Write::FoundPublished]);
    life.passes(Duration::from_secs(60));
    assert_eq!(writes(&life).len(), 3);
    assert!(life.keeps_nothing());
}

#[test]
fn a_request_waits_for_an_issuer_that_is_not_ready_and_reports_that_once() {
    let mut life = Life::of_approved();
    life.world.issuer(IssuerFact::NotReady("KeyNotFound"));
    life.goes_on();
    life.world.touch();
    life.goes_on();
    assert_eq!(writes(&life), [PENDING]);
    life.world.issuer(IssuerFact::Ready);
    life.is_woken_anew();
    assert_eq!(writes(&life)[1..], [SIGNED, ISSUED, Write::Published]);
}

#[test]
fn a_passing_failure_is_retried_at_the_retry_time_and_not_because_of_our_own_write() {
    let mut life = Life::of_approved();
    life.world.delay(1);
    life.goes_on();
    assert_eq!(writes(&life), [PENDING]);
    assert_eq!(life.world.attempts(), 1);
    life.passes(Duration::from_secs(1));
    assert_eq!(life.world.attempts(), 2);
    assert_eq!(writes(&life)[1..], [SIGNED, ISSUED, Write::Published]);
}

#[test]
fn a_request_is_retried_at_once_when_its_issuer_changes() {
    let mut life = Life::of_approved();
    life.world.delay(1);
    life.goes_on();
    life.is_woken_anew();
    assert_eq!(life.world.attempts(), 2);
    assert_eq!(life.world.count(ISSUED), 1);
}

#[test]
fn a_restart_does_not_extend_the_time_that_a_request_may_wait() {
    let mut life = Life::of_approved();
    life.world.max_pending(Duration::from_secs(100));
    life.world.issuer(IssuerFact::NotReady("TokenUnavailable"));
    life.goes_on();
    life.passes(Duration::from_secs(60));
    life.restarts();
    life.passes(Duration::from_secs(39));
    assert_eq!(writes(&life), [PENDING]);
    life.passes(Duration::from_secs(1));
    assert_eq!(writes(&life)[1..], [FAILED, Write::Refused]);
    life.goes_on();
    assert!(life.keeps_nothing());
}

#[test]
fn an_overdue_request_is_still_tried_once_when_its_issuer_is_ready() {
    let mut life = Life::of_approved();
    life.world.max_pending(Duration::from_secs(100));
    life.world.issuer(IssuerFact::NotReady("TokenUnavailable"));
    life.goes_on();
    life.world.issuer(IssuerFact::Ready);
    life.world.delay(1);
    life.is_away(Duration::from_secs(200));
    life.restarts();
    assert_eq!(life.world.attempts(), 1);
    life.passes(Duration::ZERO);
    assert_eq!(life.world.count(FAILED), 1);
}

#[test]
fn an_overdue_request_waits_silently_for_an_issuer_that_has_not_been_looked_at() {
    let mut life = Life::of_approved();
    life.world.max_pending(Duration::from_secs(100));
    life.world.issuer(IssuerFact::NotReady("TokenUnavailable"));
    life.goes_on();
    life.world.issuer(IssuerFact::Unknown);
    life.is_away(Duration::from_secs(200));
    life.restarts();
    assert_eq!(life.next_wake(), None);
    assert_eq!(writes(&life), [PENDING]);
}

#[test]
fn a_replica_writes_nothing_about_the_share_of_another() {
    let mut life = Life::of_approved();
    life.world.give_away();
    life.goes_on();
    life.world.touch();
    life.goes_on();
    assert_eq!(writes(&life), []);
}

#[test]
fn a_replica_that_loses_its_share_before_the_write_keeps_the_certificate_until_the_request_ends() {
    let mut life = Life::of_approved();
    life.world.after_signing(|world| world.give_away());
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED]);
    life.world.issued_by_another();
    life.goes_on();
    assert_eq!(writes(&life), [SIGNED, Write::Discarded("superseded")]);
    assert!(life.keeps_nothing());
}

#[test]
fn a_refusal_is_written_once() {
    let mut life = Life::of_approved();
    life.world.refuse();
    life.goes_on();
    life.world.touch();
    life.goes_on();
    assert_eq!(writes(&life), [FAILED, Write::Refused]);
    assert!(life.keeps_nothing());
}

#[test]
fn a_request_that_is_kept_without_its_csr_is_read_before_it_is_signed_and_not_while_it_waits() {
    let mut life = Life::of_long();
    life.world.issuer(IssuerFact::NotReady("TokenUnavailable"));
    life.goes_on();
    life.world.touch();
    life.goes_on();
    assert_eq!(life.world.reads(), 0);
    life.world.issuer(IssuerFact::Ready);
    life.is_woken_anew();
    assert_eq!(life.world.reads(), 1);
    assert_eq!(writes(&life), [PENDING, SIGNED, ISSUED, Write::Published]);
    assert!(life.keeps_nothing());
}

#[test]
fn a_request_that_is_kept_without_its_csr_is_read_before_it_is_refused() {
    let mut life = Life::of_long();
    life.world.max_pending(Duration::from_secs(100));
    life.world.issuer(IssuerFact::NotReady("TokenUnavailable"));
    life.goes_on();
    life.passes(Duration::from_secs(100));
    assert_eq!(writes(&life)[1..], [FAILED, Write::Refused]);
    assert_eq!(life.world.reads(), 1);
}

#[test]
fn a_request_without_a_csr_is_read_once_and_then_acted_on() {
    let mut life = Life::of_long();
    life.world.drop_csr();
    life.world.refuse();
    life.goes_on();
    assert_eq!(life.world.reads(), 1);
    assert_eq!(writes(&life), [FAILED, Write::Refused]);
}

/// Returns a minimal request that names an issuer, with the given approval condition.
fn request(approval: Option<&str>, now: Timestamp) -> CertificateRequest {
    let conditions: Vec<_> = approval
        .map(|type_| serde_json::json!({"type": type_, "status": "True", "reason": "test", "message": "", "lastTransitionTime": now.to_string()}))
        .into_iter()
        .collect();
    serde_json::from_value(serde_json::json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "CertificateRequest",
        "metadata": {"name": "web", "namespace": "shop", "uid": "1", "resourceVersion": "1", "creationTimestamp": now.to_string()},
        "spec": {"request": "Y3Ny", "issuerRef": {"group": "pkcs11-issuer.dev", "kind": "PKCS11ClusterIssuer", "name": "issuing"}},
        "status": {"conditions": conditions},
    }))
    .unwrap()
}
