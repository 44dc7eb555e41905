//! Verdicts and transitions of the record.

use super::*;

fn attempt(version: &str) -> LoginAttempt<'_> {
    LoginAttempt {
        version,
        holder: "a",
        holder_is_gone: false,
        count_low_is_reliable: false,
        max_rejected: 2,
    }
}

/// A record that lists its version as rejected if its state is `Rejected`, and no other version.
fn record(version: &str, state: PinState, rejected_in_a_row: u32) -> PinRecord {
    let rejected = (state == PinState::Rejected).then(|| version.to_owned());
    PinRecord {
        version: version.to_owned(),
        state,
        rejected_in_a_row,
        rejected_versions: rejected.into_iter().collect(),
        holder: "a".to_owned(),
        continues: None,
    }
}

fn tried(verdict: Verdict) -> PinRecord {
    match verdict {
        Verdict::Try(record) => record,
        Verdict::WaitFor(_) | Verdict::Refuse(_) => panic!("expected a try, got {verdict:?}"),
    }
}

#[test]
fn a_token_without_a_record_is_tried() {
    let trying = tried(decide(None, PinFlags::default(), attempt("1")));
    assert_eq!(trying, record("1", PinState::Trying, 0));
}

#[test]
fn an_accepted_version_is_tried_again_after_a_restart() {
    let known = record("1", PinState::Accepted, 0);
    assert_eq!(
        tried(decide(Some(&known), PinFlags::default(), attempt("1"))).rejected_in_a_row,
        0
    );
}

#[test]
fn a_rejected_version_is_never_tried_again() {
    let known = record("1", PinState::Rejected, 1);
    let verdict = decide(Some(&known), PinFlags::default(), attempt("1"));
    assert_eq!(verdict, Verdict::Refuse(Refused::VersionRejected));
}

#[test]
fn a_new_version_is_tried_after_one_rejection_and_refused_after_two() {
    let once = record("1", PinState::Rejected, 1);
    assert_eq!(
        tried(decide(Some(&once), PinFlags::default(), attempt("2"))).rejected_in_a_row,
        1
    );
    let twice = record("2", PinState::Rejected, 2);
    let verdict = decide(Some(&twice), PinFlags::default(), attempt("3"));
    assert_eq!(verdict, Verdict::Refuse(Refused::TooManyRejected(2)));
}

#[test]
fn a_login_that_was_accepted_clears_the_count() {
    let trying = record("2", PinState::Trying, 1);
    assert_eq!(
        trying.clone().accepted(),
        record("2", PinState::Accepted, 0)
    );
    assert_eq!(trying.rejected(), record("2", PinState::Rejected, 2));
}

#[test]
fn changing_back_to_a_rejected_pin_does_not_try_it_again() {
    let once = tried(decide(None, PinFlags::default(), attempt("wrong"))).rejected();
    let right = tried(decide(Some(&once), PinFlags::default(), attempt("right")));
    let well = right.accepted();
    assert_eq!(well.rejected_versions, ["wrong"]);
    assert_eq!(
        decide(Some(&well), PinFlags::default(), attempt("wrong")),
        Verdict::Refuse(Refused::VersionRejected)
    );
    let again = tried(decide(Some(&well), PinFlags::default(), attempt("right")));
    let expected = PinRecord {
        rejected_versions: vec!["wrong".to_owned()],
        ..record("right", PinState::Trying, 0)
    };
    assert_eq!(again, expected);
    // Neither a crash nor a login that was not tried makes the record forget.
    for state in [again.clone(), again.untried()] {
        assert_eq!(
            decide(Some(&state), PinFlags::default(), attempt("wrong")),
            Verdict::Refuse(Refused::VersionRejected)
        );
    }
}

#[test]
fn a_record_keeps_the_latest_rejected_versions_each_once_up_to_a_limit() {
    let mut known = record("right", PinState::Accepted, 0);
    for number in 0..100 {
        for _ in 0..2 {
            let trying = PinRecord {
                version: number.to_string(),
                ..known.clone()
            };
            known = trying.rejected();
        }
    }
    let latest: Vec<_> = (100 - REJECTED_KEPT..100).map(|n| n.to_string()).collect();
    assert_eq!(known.rejected_versions, latest);
}

#[test]
fn a_crash_between_login_and_record_counts_as_rejected_where_the_token_cannot_tell() {
    let crashed = record("1", PinState::Trying, 0);
    assert_eq!(
        tried(decide(Some(&crashed), PinFlags::default(), attempt("1"))).rejected_in_a_row,
        1
    );
    let crashed_again = record("1", PinState::Trying, 1);
    let verdict = decide(Some(&crashed_again), PinFlags::default(), attempt("1"));
    assert_eq!(verdict, Verdict::Refuse(Refused::TooManyRejected(2)));
}

#[test]
fn a_crash_costs_nothing_if_a_reliable_token_shows_no_wrong_pin() {
    let counted = LoginAttempt {
        count_low_is_reliable: true,
        ..attempt("1")
    };
    let crashed = record("1", PinState::Trying, 1);
    assert_eq!(
        tried(decide(Some(&crashed), PinFlags::default(), counted)).rejected_in_a_row,
        1
    );
    let low = PinFlags {
        count_low: true,
        ..PinFlags::default()
    };
    assert_eq!(
        decide(Some(&crashed), low, counted),
        Verdict::Refuse(Refused::TooManyRejected(2))
    );
}

#[test]
fn another_replica_that_is_trying_is_waited_for_until_it_is_gone() {
    let other = PinRecord {
        holder: "b".to_owned(),
        ..record("1", PinState::Trying, 0)
    };
    let verdict = decide(Some(&other), PinFlags::default(), attempt("1"));
    assert_eq!(verdict, Verdict::WaitFor("b".to_owned()));
    let gone = LoginAttempt {
        holder_is_gone: true,
        ..attempt("1")
    };
    assert_eq!(
        tried(decide(Some(&other), PinFlags::default(), gone)).holder,
        "a"
    );
}

#[test]
fn a_locked_or_nearly_locked_token_is_never_tried() {
    let cases = [
        (
            PinFlags {
                locked: true,
                ..PinFlags::default()
            },
            Refused::Locked,
        ),
        (
            PinFlags {
                final_try: true,
                ..PinFlags::default()
            },
            Refused::FinalTry,
        ),
        (
            PinFlags {
                to_be_changed: true,
                ..PinFlags::default()
            },
            Refused::ToBeChanged,
        ),
    ];
    for (flags, why) in cases {
        assert_eq!(decide(None, flags, attempt("1")), Verdict::Refuse(why));
    }
}

fn kept(records: &[(&str, &PinRecord)]) -> BTreeMap<String, PinRecord> {
    let records = records.iter();
    records
        .map(|(key, record)| ((*key).to_owned(), (*record).clone()))
        .collect()
}

#[test]
fn a_record_of_an_earlier_version_is_continued_as_it_is() {
    assert_eq!(continued(None, &BTreeMap::new()), None);
    for state in [
        PinState::Trying,
        PinState::Accepted,
        PinState::Rejected,
        PinState::Untried,
    ] {
        let old = record("1", state, 1);
        let known = continued(None, &kept(&[("serial.1", &old)])).unwrap();
        assert!(known.continues.is_some());
        let without = PinRecord {
            continues: None,
            ..known
        };
        assert_eq!(without, old);
    }
}

#[test]
fn other_records_count_once_and_again_after_a_change() {
    let old = record("wrong", PinState::Rejected, 1);
    let others = kept(&[("serial.1", &old)]);
    let known = continued(None, &others);
    assert_eq!(
        decide(known.as_ref(), PinFlags::default(), attempt("wrong")),
        Verdict::Refuse(Refused::VersionRejected)
    );
    let right = tried(decide(
        known.as_ref(),
        PinFlags::default(),
        attempt("right"),
    ))
    .accepted();
    assert_eq!(continued(Some(right.clone()), &others), Some(right.clone()));
    assert_eq!(
        (right.rejected_in_a_row, right.rejected_versions.len()),
        (0, 1)
    );
    // A replica of the earlier version tries again.
    let later = kept(&[("serial.1", &record("other", PinState::Rejected, 2))]);
    let known = continued(Some(right), &later).unwrap();
    assert_eq!(known.rejected_in_a_row, 2);
    assert_eq!(known.rejected_versions, ["other", "wrong"]);
    assert_eq!(known.version, "right");
    assert_eq!(
        decide(Some(&known), PinFlags::default(), attempt("right")),
        Verdict::Refuse(Refused::TooManyRejected(2))
    );
    // The operator clears the other record.
    let cleared = continued(Some(known.clone()), &BTreeMap::new()).unwrap();
    let expected = PinRecord {
        continues: None,
        ..known
    };
    assert_eq!(cleared, expected);
}

#[test]
fn an_unsettled_login_of_another_record_is_waited_for_or_counts_as_rejected() {
    let other = PinRecord {
        holder: "b".to_owned(),
        ..record("1", PinState::Trying, 1)
    };
    let rejected = record("2", PinState::Rejected, 1);
    let others = kept(&[("serial.1", &rejected), ("token.1.x.old", &other)]);
    let known = continued(None, &others).unwrap();
    assert_eq!(
        decide(Some(&known), PinFlags::default(), attempt("3")),
        Verdict::WaitFor("b".to_owned())
    );
    let own = record("3", PinState::Accepted, 0);
    assert_eq!(continued(Some(own), &others).unwrap().rejected_in_a_row, 2);
}
