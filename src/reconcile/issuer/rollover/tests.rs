//! Tests every step of a rollover, what signs, and how long a former CA stays.

use serde_json::json;

use super::{RolloverStep as Step, *};
use crate::api::issuer::RetiringStatus;

const NOW: &str = "2026-06-01T00:00:00Z";
const BEFORE: &str = "2026-05-31T23:59:59Z";
const LATER: &str = "2026-06-01T00:00:01Z";

/// The CAs of the tests: the present one, the next one, and another one.
const OLD: &str = "0";
const NEW: &str = "1";
const OTHER: &str = "2";

fn time(text: &str) -> Time {
    Time(text.parse().unwrap())
}

fn stored(state: RolloverState, complete_at: &str) -> RolloverStatus {
    let switched = matches!(state, RolloverState::Switched | RolloverState::Complete);
    RolloverStatus {
        state,
        ca: NEW.to_owned(),
        from: if switched {
            OLD.to_owned()
        } else {
            String::new()
        },
        complete_at: switched.then(|| time(complete_at)),
        ..RolloverStatus::default()
    }
}

fn switch(value: serde_json::Value) -> SwitchSpec {
    serde_json::from_value(value).unwrap()
}

/// Returns the step of an issuer whose status and specification are these.
fn step(
    stored: Option<&RolloverStatus>,
    present: Option<&str>,
    next: NextFact<'_>,
    unpublished: Option<&str>,
    switch: Option<&SwitchSpec>,
) -> Step {
    let facts = RolloverFacts {
        stored,
        present,
        next,
        unpublished,
        switch,
        now: NOW.parse().unwrap(),
    };
    facts.step()
}

fn prove(why: &str) -> Step {
    Step::Prove(why.to_owned())
}

#[test]
fn every_row_of_the_rollover() {
    use NextFact::{Absent, Proved, SameCa, Unproved, Unusable};
    const AWAY: NextFact<'_> = Unproved {
        ca: NEW,
        why: "away",
    };
    const GONE: NextFact<'_> = Unusable("gone");
    let proving = stored(RolloverState::Proving, LATER);
    let trusted = stored(RolloverState::Trusted, LATER);
    let switched = stored(RolloverState::Switched, LATER);
    let over = stored(RolloverState::Switched, NOW);
    let complete = stored(RolloverState::Complete, BEFORE);
    let [now, due, ahead] = [
        json!({"now": true}),
        json!({"at": NOW}),
        json!({"at": LATER}),
    ]
    .map(switch);
    let none = None::<&RolloverStatus>;
    let wait = |why: &str| Step::Wait(Some(why.to_owned()));
    for (row, (stored, present, next, unpublished, switch, expected)) in [
        // No rollover.
        (none, Some(OLD), Absent, None, None, Step::None),
        (none, None, Absent, None, None, Step::None),
        (none, Some(OLD), SameCa, None, Some(&now), Step::Pointless),
        // Proving, whether or not a look has stored that.
        (none, Some(OLD), GONE, None, Some(&now), prove("gone")),
        (none, Some(OLD), AWAY, None, Some(&now), prove("away")),
        (
            none,
            Some(OLD),
            Proved(NEW),
            Some("full"),
            Some(&now),
            prove("full"),
        ),
        (none, Some(OLD), Proved(NEW), None, Some(&now), Step::Trust),
        (Some(&proving), Some(OLD), AWAY, None, None, prove("away")),
        (
            Some(&proving),
            Some(OLD),
            Proved(NEW),
            None,
            None,
            Step::Trust,
        ),
        (
            Some(&proving),
            Some(OLD),
            Absent,
            None,
            None,
            Step::Withdrawn,
        ),
        // Trusted: the switch needs a time, a proof and the published roots.
        (
            Some(&trusted),
            Some(OLD),
            Proved(NEW),
            None,
            None,
            Step::Wait(None),
        ),
        (
            Some(&trusted),
            Some(OLD),
            Proved(NEW),
            None,
            Some(&ahead),
            Step::Wait(None),
        ),
        (
            Some(&trusted),
            Some(OLD),
            Proved(NEW),
            None,
            Some(&due),
            Step::Switch,
        ),
        (
            Some(&trusted),
            Some(OLD),
            Proved(NEW),
            None,
            Some(&now),
            Step::Switch,
        ),
        (
            Some(&trusted),
            Some(OLD),
            Proved(NEW),
            Some("full"),
            Some(&due),
            wait("full"),
        ),
        (
            Some(&trusted),
            Some(OLD),
            AWAY,
            None,
            Some(&due),
            wait("away"),
        ),
        (
            Some(&trusted),
            Some(OLD),
            AWAY,
            None,
            Some(&ahead),
            Step::Wait(None),
        ),
        (
            Some(&trusted),
            None,
            Proved(NEW),
            Some("lost"),
            Some(&now),
            wait("lost"),
        ),
        // Back, or to another CA, or its certificate is gone: as at the beginning.
        (
            Some(&trusted),
            Some(OLD),
            Absent,
            None,
            None,
            Step::Withdrawn,
        ),
        (
            Some(&trusted),
            Some(OLD),
            GONE,
            None,
            Some(&now),
            prove("gone"),
        ),
        (
            Some(&trusted),
            Some(OLD),
            Proved(OTHER),
            None,
            Some(&now),
            Step::Trust,
        ),
        (Some(&trusted), Some(NEW), Absent, None, None, Step::Moved),
        (
            Some(&trusted),
            Some(NEW),
            SameCa,
            None,
            Some(&now),
            Step::Pointless,
        ),
        // Switched: the token, the Secret and the former certificate may be away.
        (
            Some(&switched),
            Some(OLD),
            Proved(NEW),
            None,
            None,
            Step::Settle,
        ),
        (Some(&switched), Some(OLD), AWAY, None, None, Step::Settle),
        (Some(&switched), Some(OLD), GONE, None, None, Step::Settle),
        (
            Some(&switched),
            None,
            Proved(NEW),
            Some("lost"),
            None,
            Step::Settle,
        ),
        (
            Some(&over),
            Some(OLD),
            Proved(NEW),
            None,
            None,
            Step::Complete,
        ),
        (Some(&over), None, GONE, None, None, Step::Complete),
        (
            Some(&complete),
            Some(OLD),
            Proved(NEW),
            None,
            None,
            Step::Complete,
        ),
        // Moved, before or after the end.
        (Some(&switched), Some(NEW), Absent, None, None, Step::Moved),
        (Some(&complete), Some(NEW), Absent, None, None, Step::Moved),
        (
            Some(&switched),
            Some(NEW),
            SameCa,
            None,
            None,
            Step::Pointless,
        ),
        // Moved, and the next rollover begins, also back to the former key.
        (
            Some(&switched),
            Some(NEW),
            Proved(OTHER),
            None,
            None,
            Step::Trust,
        ),
        (
            Some(&switched),
            Some(NEW),
            Proved(OLD),
            None,
            Some(&now),
            Step::Trust,
        ),
        (Some(&switched), Some(NEW), GONE, None, None, prove("gone")),
        // Neither place has the CA that signs.
        (Some(&switched), Some(OLD), Absent, None, None, Step::Undone),
        (Some(&complete), Some(OLD), Absent, None, None, Step::Undone),
        (
            Some(&switched),
            Some(OLD),
            Proved(OTHER),
            None,
            None,
            Step::Undone,
        ),
        (Some(&switched), None, Absent, None, None, Step::Undone),
        // A third CA replaces both.
        (Some(&switched), Some(OTHER), Absent, None, None, Step::None),
    ]
    .into_iter()
    .enumerate()
    {
        let found = step(stored, present, next, unpublished, switch);
        assert_eq!(found, expected, "row {row}");
    }
}

#[test]
fn what_signs_depends_only_on_what_is_stored_and_named() {
    use SigningSide::{Next, Present, Undone};
    let named = |present, next| NamedCas { present, next };
    let [trusted, switched, complete] = [
        RolloverState::Trusted,
        RolloverState::Switched,
        RolloverState::Complete,
    ]
    .map(|state| stored(state, LATER));
    for (row, (stored, named, expected)) in [
        (None, named(Some(OLD), None), Present),
        (None, named(Some(OLD), Some(Some(NEW))), Present),
        (Some(&trusted), named(Some(OLD), Some(Some(NEW))), Present),
        (Some(&switched), named(Some(OLD), Some(Some(NEW))), Next),
        (Some(&complete), named(Some(OLD), Some(Some(NEW))), Next),
        // Only a Secret is missing: the former key never signs again.
        (Some(&switched), named(None, Some(Some(NEW))), Next),
        (Some(&switched), named(Some(OLD), Some(None)), Next),
        (Some(&switched), named(None, Some(None)), Next),
        (Some(&switched), named(Some(NEW), None), Present),
        (Some(&switched), named(Some(NEW), Some(None)), Present),
        (
            Some(&switched),
            named(Some(NEW), Some(Some(OTHER))),
            Present,
        ),
        (Some(&switched), named(Some(OTHER), None), Present),
        (Some(&switched), named(Some(OLD), None), Undone),
        (Some(&switched), named(Some(OLD), Some(Some(OTHER))), Undone),
        (Some(&switched), named(None, None), Undone),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(signing(stored, named), expected, "row {row}");
    }
}

/// Whatever the facts are, no step leads from a switched rollover to the former key.
#[test]
fn the_former_key_signs_again_only_by_another_rollover() {
    for state in [RolloverState::Switched, RolloverState::Complete] {
        let stored = stored(state, LATER);
        for present in [None, Some(OLD), Some(NEW), Some(OTHER)] {
            for next in [
                None,
                Some(None),
                Some(Some(OLD)),
                Some(Some(NEW)),
                Some(Some(OTHER)),
            ] {
                let named = NamedCas { present, next };
                let by_former = match signing(Some(&stored), named) {
                    SigningSide::Present => present == Some(OLD),
                    SigningSide::Next => next == Some(Some(OLD)),
                    SigningSide::Undone => false,
                };
                assert!(!by_former, "{named:?}");
            }
        }
    }
}

#[test]
fn a_look_comes_at_the_time_of_the_switch_and_at_the_end() {
    let at = |state, at: Option<serde_json::Value>| {
        let stored = stored(state, LATER);
        let switch = at.map(switch);
        next_step_at(Some(&stored), switch.as_ref(), NOW.parse().unwrap())
    };
    let later = Some(time(LATER).0);
    assert_eq!(
        at(RolloverState::Trusted, Some(json!({"at": LATER}))),
        later
    );
    assert_eq!(
        at(RolloverState::Trusted, Some(json!({"at": BEFORE}))),
        None
    );
    assert_eq!(at(RolloverState::Trusted, Some(json!({"now": true}))), None);
    assert_eq!(at(RolloverState::Trusted, None), None);
    assert_eq!(at(RolloverState::Switched, None), later);
    assert_eq!(at(RolloverState::Complete, None), None);
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

#[test]
fn what_was_granted_before_the_profile_became_shorter_counts_until_it_has_ended() {
    let now: Timestamp = NOW.parse().unwrap();
    let year = lifetimes(None, OLD, HOUR * 24 * 365, now);
    assert_eq!(last_end(&year, now), now + HOUR * 24 * 365);
    let shorter = lifetimes(Some(&year), OLD, HOUR * 24, now + HOUR);
    let until = now + HOUR * (24 * 365 + 1);
    assert_eq!(shorter.earlier_until, Some(Time(until)));
    assert_eq!(last_end(&shorter, now + HOUR * 2), until);
    // Looking again, and a profile that is shorter still, move no end.
    let again = lifetimes(Some(&shorter), OLD, HOUR * 24, now + HOUR * 2);
    assert_eq!(again, shorter);
    let shortest = lifetimes(Some(&again), OLD, HOUR, now + HOUR * 3);
    assert_eq!(last_end(&shortest, now + HOUR * 3), until);
    // A longer one goes beyond it.
    let longer = lifetimes(Some(&again), OLD, HOUR * 24 * 730, now + HOUR * 3);
    assert_eq!(longer.earlier_until, None);
    // Nothing is left of it after its end, and nothing of another CA.
    let ended = lifetimes(Some(&shorter), OLD, HOUR * 24, until);
    assert_eq!(ended.earlier_until, None);
    let other = lifetimes(Some(&shorter), NEW, HOUR * 24, now);
    assert_eq!(last_end(&other, now), now + HOUR * 24);
}

#[test]
fn a_former_ca_retires_once_until_its_end_and_not_while_it_signs() {
    let now: Timestamp = NOW.parse().unwrap();
    let retiring = |ca: &str, until: Timestamp| RetiringStatus {
        ca: ca.to_owned(),
        subject: String::new(),
        until: Time(until),
        pem: String::new(),
    };
    let first = retire(&[], retiring(OLD, now + HOUR));
    let both = retire(&first, retiring(NEW, now + HOUR * 2));
    assert_eq!(both.len(), 2);
    let later = retire(&both, retiring(OLD, now + HOUR * 3));
    assert_eq!(
        later,
        [retiring(NEW, now + HOUR * 2), retiring(OLD, now + HOUR * 3)]
    );
    let still = |ca, hours: i32| {
        let still = still_retiring(&later, ca, now + HOUR * hours);
        still.into_iter().map(|one| one.ca).collect::<Vec<_>>()
    };
    assert_eq!(still(None, 1), [NEW, OLD]);
    assert_eq!(still(None, 2), [OLD]);
    assert_eq!(still(None, 3), [""; 0]);
    assert_eq!(still(Some(OLD), 1), [NEW]);
}
