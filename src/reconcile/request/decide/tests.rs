//! Tests the decision for every state of a request and every fact.

use super::*;

const DUE: Facts = Facts {
    ours: true,
    stage: OPEN,
    issuer: IssuerFact::Ready,
    max_pending: None,
    share: Share::Own,
};
const OPEN: Stage = Stage {
    approval: Approval::Approved,
    invalid: false,
    progress: Progress::Open,
    has_certificate: false,
    waits_since: None,
};
const NOTHING: Recalled = Recalled {
    unpublished: false,
    settled: false,
    not_before: None,
};
const UNPUBLISHED: Recalled = Recalled {
    unpublished: true,
    ..NOTHING
};

fn stage(stage: Stage) -> Facts {
    Facts { stage, ..DUE }
}

fn approval(approval: Approval) -> Stage {
    Stage { approval, ..OPEN }
}

fn denied(progress: Progress) -> Facts {
    stage(Stage {
        progress,
        ..approval(Approval::Denied)
    })
}

fn issuer(issuer: IssuerFact) -> Facts {
    Facts { issuer, ..DUE }
}

fn at(steady: Instant) -> Time {
    Time {
        day: Timestamp::UNIX_EPOCH,
        steady,
    }
}

#[test]
fn every_row_of_the_state_machine() {
    let awaited = stage(approval(Approval::Awaited));
    let progress = |progress| stage(Stage { progress, ..OPEN });
    let missing = IssuerFact::Missing;
    let rows = [
        ("approved, issuer ready", DUE, NOTHING, Decision::Sign),
        (
            "signed and not published",
            DUE,
            UNPUBLISHED,
            Decision::Publish,
        ),
        (
            "foreign, even when denied",
            Facts {
                ours: false,
                ..denied(Progress::Open)
            },
            NOTHING,
            Decision::Leave(Why::NotOurs),
        ),
        (
            "not approved",
            awaited,
            NOTHING,
            Decision::Leave(Why::NotApproved),
        ),
        (
            "not approved, and its issuer is missing",
            Facts {
                issuer: missing,
                ..awaited
            },
            NOTHING,
            Decision::Leave(Why::NotApproved),
        ),
        (
            "signed, and no longer approved",
            awaited,
            UNPUBLISHED,
            Decision::Finish,
        ),
        (
            "answered by another installation, even when denied",
            Facts {
                issuer: IssuerFact::Elsewhere,
                ..denied(Progress::Open)
            },
            NOTHING,
            Decision::Wait(Waiting::Elsewhere),
        ),
        (
            "overdue at another installation",
            Facts {
                issuer: IssuerFact::Elsewhere,
                max_pending: Some(Duration::from_secs(1)),
                stage: Stage {
                    waits_since: Some(Timestamp::MIN),
                    ..OPEN
                },
                ..DUE
            },
            NOTHING,
            Decision::Wait(Waiting::Elsewhere),
        ),
        (
            "signed here, and now answered by another installation",
            issuer(IssuerFact::Elsewhere),
            UNPUBLISHED,
            Decision::Publish,
        ),
        ("denied", denied(Progress::Open), NOTHING, Decision::Deny),
        (
            "denied, and its issuer is missing",
            Facts {
                issuer: missing,
                ..denied(Progress::Open)
            },
            NOTHING,
            Decision::Deny,
        ),
        (
            "denied after it was issued",
            denied(Progress::Issued),
            NOTHING,
            Decision::Deny,
        ),
        (
            "denied after it failed",
            denied(Progress::Failed),
            NOTHING,
            Decision::Deny,
        ),
        (
            "denied, and the denial is acknowledged",
            denied(Progress::Denied),
            NOTHING,
            Decision::Leave(Why::Finished),
        ),
        (
            "issued",
            progress(Progress::Issued),
            NOTHING,
            Decision::Leave(Why::Finished),
        ),
        (
            "issued, and this replica signed a certificate too",
            progress(Progress::Issued),
            UNPUBLISHED,
            Decision::Finish,
        ),
        (
            "failed",
            progress(Progress::Failed),
            NOTHING,
            Decision::Leave(Why::Finished),
        ),
        (
            "declared invalid",
            stage(Stage {
                invalid: true,
                ..OPEN
            }),
            NOTHING,
            Decision::Leave(Why::Finished),
        ),
        (
            "with a certificate, whatever Ready says",
            stage(Stage {
                has_certificate: true,
                ..OPEN
            }),
            NOTHING,
            Decision::Leave(Why::Finished),
        ),
        (
            "the issuer does not exist",
            issuer(missing),
            NOTHING,
            Decision::Wait(Waiting::Missing),
        ),
        (
            "the issuer was edited and not looked at since",
            issuer(IssuerFact::Unknown),
            NOTHING,
            Decision::Wait(Waiting::Unknown),
        ),
        (
            "the issuer is not ready",
            issuer(IssuerFact::NotReady("KeyNotFound")),
            NOTHING,
            Decision::Wait(Waiting::NotReady("KeyNotFound")),
        ),
        (
            "signed, and its issuer is missing",
            issuer(missing),
            UNPUBLISHED,
            Decision::Publish,
        ),
    ];
    for (request, facts, recalled, expected) in rows {
        let decision = decide(&facts, &recalled, at(Instant::now()));
        assert_eq!(decision, expected, "{request}");
    }
}

#[test]
fn after_our_write_ended_a_request_nothing_is_done_until_the_write_is_observed() {
    let settled = Recalled {
        settled: true,
        ..NOTHING
    };
    let now = at(Instant::now());
    for facts in [
        DUE,
        issuer(IssuerFact::Missing),
        denied(Progress::Open),
        stage(approval(Approval::Awaited)),
    ] {
        assert_eq!(
            decide(&facts, &settled, now),
            Decision::Leave(Why::Settled),
            "the observed version is older than the write"
        );
    }
    assert_eq!(
        decide(&denied(Progress::Issued), &settled, now),
        Decision::Deny,
        "a denial after the write"
    );
}

#[test]
fn after_a_failure_nothing_is_signed_or_published_before_the_retry_time() {
    let now = Instant::now();
    let until = now + Duration::from_secs(1);
    let held_off = |unpublished| Recalled {
        unpublished,
        not_before: Some(until),
        ..NOTHING
    };
    for unpublished in [false, true] {
        let decide = |facts: &Facts, now| decide(facts, &held_off(unpublished), at(now));
        assert_eq!(decide(&DUE, now), Decision::HoldOff(until));
        assert_eq!(
            decide(&DUE, until),
            if unpublished {
                Decision::Publish
            } else {
                Decision::Sign
            }
        );
        assert_eq!(decide(&denied(Progress::Open), now), Decision::Deny);
    }
    let waiting = decide(&issuer(IssuerFact::Missing), &held_off(false), at(now));
    assert_eq!(waiting, Decision::Wait(Waiting::Missing));
}

#[test]
fn a_request_may_wait_from_the_stored_time_until_the_limit_that_its_issuer_sets() {
    let since = Timestamp::UNIX_EPOCH;
    let most = Duration::from_secs(60);
    let facts = |issuer| Facts {
        issuer,
        max_pending: Some(most),
        stage: Stage {
            waits_since: Some(since),
            ..OPEN
        },
        ..DUE
    };
    let steady = Instant::now();
    let failed = Recalled {
        not_before: Some(steady + Duration::from_secs(1)),
        ..NOTHING
    };
    let at = |seconds| Time {
        day: Timestamp::from_second(seconds).unwrap(),
        steady,
    };
    let not_ready = IssuerFact::NotReady("TokenUnavailable");
    for (issuer, recalled, before, after) in [
        (
            not_ready,
            NOTHING,
            Decision::Wait(Waiting::NotReady("TokenUnavailable")),
            Decision::Refuse,
        ),
        (
            IssuerFact::Ready,
            failed,
            Decision::HoldOff(steady + Duration::from_secs(1)),
            Decision::Refuse,
        ),
        // One try is made before the request is given up, even after a restart.
        (IssuerFact::Ready, NOTHING, Decision::Sign, Decision::Sign),
        (
            IssuerFact::Unknown,
            NOTHING,
            Decision::Wait(Waiting::Unknown),
            Decision::Wait(Waiting::Unknown),
        ),
        // A certificate that is already signed is published.
        (not_ready, UNPUBLISHED, Decision::Publish, Decision::Publish),
    ] {
        let facts = facts(issuer);
        assert_eq!(deadline(&facts), Some(at(60).day));
        assert_eq!(decide(&facts, &recalled, at(59)), before, "{issuer:?}");
        assert_eq!(decide(&facts, &recalled, at(60)), after, "{issuer:?}");
    }
    let without_end = Facts {
        max_pending: None,
        ..facts(not_ready)
    };
    assert_eq!(deadline(&without_end), None);
    let not_told = stage(OPEN);
    assert_eq!(
        deadline(&Facts {
            max_pending: Some(most),
            ..not_told
        }),
        None,
        "a new request has no stored time yet"
    );
}

#[test]
fn a_replica_leaves_the_share_of_others_alone_but_records_its_own_unpublished_certificates() {
    let others = |facts: Facts| Facts {
        share: Share::Others,
        ..facts
    };
    let decide = |facts: Facts, recalled| decide(&others(facts), recalled, at(Instant::now()));
    for facts in [DUE, denied(Progress::Open), issuer(IssuerFact::Missing)] {
        assert_eq!(decide(facts, &NOTHING), Decision::Leave(Why::NotOurShare));
    }
    assert_eq!(decide(DUE, &UNPUBLISHED), Decision::Leave(Why::NotOurShare));
    for (facts, why) in [
        (Facts { ours: false, ..DUE }, Why::NotOurs),
        (stage(approval(Approval::Awaited)), Why::NotApproved),
        (
            stage(Stage {
                progress: Progress::Issued,
                ..OPEN
            }),
            Why::Finished,
        ),
    ] {
        assert_eq!(decide(facts, &NOTHING), Decision::Leave(why));
    }
    // A certificate that this replica signed and did not publish is recorded.
    let issued = stage(Stage {
        progress: Progress::Issued,
        ..OPEN
    });
    assert_eq!(decide(issued, &UNPUBLISHED), Decision::Finish);
}
