//! Tests when issuers are looked at, in which order, and which reads they share.

use super::*;

const MOST: Places = Places {
    of_all: 4,
    of_a_token: 2,
};

fn told(uid: &str, token: &str, generation: i64) -> WatchedIssuer {
    WatchedIssuer {
        uid: uid.to_owned(),
        name: IssuerName {
            namespace: None,
            name: uid.to_owned(),
        },
        generation,
        token: token.to_owned(),
        asked: None,
        is_elsewhere: false,
        rollover: None,
    }
}

/// Returns an issuer whose annotation has this value.
fn asking(uid: &str, value: &str) -> WatchedIssuer {
    WatchedIssuer {
        asked: Some(value.to_owned()),
        ..told(uid, "t", 1)
    }
}

/// Returns a schedule of issuers by UID and token, all of them due.
fn rounds(issuers: &[(&str, &str)], now: Instant) -> Rounds {
    let mut rounds = Rounds::new(MOST, now);
    for (uid, token) in issuers {
        rounds.put(told(uid, token, 1), false, now);
    }
    rounds
}

/// Returns the issuers that are looked at next, as many as the limits allow.
fn next(rounds: &mut Rounds) -> Vec<String> {
    std::iter::from_fn(|| rounds.next().map(|look| look.uid)).collect()
}

/// Looks at all issuers that are due, one after the other. Returns each with its `since`.
fn all_due(rounds: &mut Rounds) -> Vec<(String, Instant)> {
    let one = || {
        let Look { uid, since, .. } = rounds.next()?;
        rounds.looked(&uid, AfterLook::Round);
        Some((uid, since))
    };
    std::iter::from_fn(one).collect()
}

#[test]
fn tokens_take_turns_and_none_has_more_than_its_places() {
    let issuers = [
        ("a1", "a"),
        ("a2", "a"),
        ("a3", "a"),
        ("a4", "a"),
        ("b1", "b"),
        ("c1", "c"),
    ];
    let mut rounds = rounds(&issuers, Instant::now());
    assert_eq!(next(&mut rounds), ["a1", "b1", "c1", "a2"]);
    rounds.looked("b1", AfterLook::Round);
    assert_eq!(
        next(&mut rounds),
        [""; 0],
        "both places of token a are taken"
    );
    rounds.looked("a1", AfterLook::Round);
    assert_eq!(next(&mut rounds), ["a3"]);
}

#[test]
fn an_issuer_that_a_request_waits_for_is_looked_at_first() {
    let now = Instant::now();
    let mut rounds = rounds(&[("a1", "a"), ("a2", "a"), ("a3", "a"), ("b1", "b")], now);
    rounds.hurry("a3");
    rounds.put(told("a4", "a", 1), true, now);
    let order = |rounds: &mut Rounds| -> Vec<String> {
        all_due(rounds).into_iter().map(|(uid, _)| uid).collect()
    };
    assert_eq!(order(&mut rounds), ["a3", "a4", "b1", "a1", "a2"]);
    let awaited = HashSet::from([told("a2", "a", 1).name]);
    rounds.wake_those(|_| true, &awaited, now);
    assert_eq!(order(&mut rounds).first().map(String::as_str), Some("a2"));
}

#[test]
fn an_issuer_with_an_unchanged_specification_is_not_due() {
    let now = Instant::now();
    let mut rounds = rounds(&[("a", "t")], now);
    assert_eq!(all_due(&mut rounds).len(), 1);
    rounds.put(told("a", "t", 1), false, now);
    assert!(rounds.next().is_none());
    rounds.put(told("a", "t", 2), false, now);
    assert_eq!(next(&mut rounds), ["a"]);
}

#[test]
fn an_issuer_that_changes_while_it_is_looked_at_is_looked_at_again_and_never_twice_at_once() {
    let now = Instant::now();
    let later = now + TOGETHER;
    let mut rounds = rounds(&[("a", "t")], now);
    assert_eq!(next(&mut rounds), ["a"]);
    rounds.put(told("a", "u", 2), false, later);
    assert!(rounds.next().is_none());
    rounds.looked("a", AfterLook::Ended);
    assert_eq!(all_due(&mut rounds), [("a".to_owned(), later)]);
    assert!(rounds.lines.is_empty());
}

#[test]
fn an_issuer_that_names_another_token_moves_to_the_line_of_that_token() {
    let now = Instant::now();
    let mut rounds = rounds(&[("a1", "a"), ("a2", "a"), ("a3", "a")], now);
    assert_eq!(next(&mut rounds), ["a1", "a2"]);
    rounds.put(told("a3", "b", 2), false, now);
    assert_eq!(next(&mut rounds), ["a3"]);
}

#[test]
fn issuers_due_together_share_what_they_read_and_a_changed_one_shares_nothing_older() {
    let start = Instant::now();
    let round = start + Duration::from_secs(60);
    let mut rounds = rounds(&[("a", "t"), ("b", "t"), ("c", "t")], start);
    assert!(
        all_due(&mut rounds)
            .iter()
            .all(|(_, since)| *since == start)
    );
    rounds.wake_those(|_| true, &HashSet::new(), round);
    let changed = round + TOGETHER;
    rounds.put(told("b", "t", 2), false, changed);
    let since: HashMap<_, _> = all_due(&mut rounds).into_iter().collect();
    assert_eq!(
        (since["a"], since["b"], since["c"]),
        (round, changed, round)
    );
}

#[test]
fn looks_at_about_the_same_time_come_together() {
    let start = Instant::now();
    let mut rounds = rounds(&[("a", "t"), ("b", "t"), ("c", "t")], start);
    for (uid, millis) in [("a", 4100), ("b", 4900), ("c", 5001)] {
        assert!(rounds.next().is_some());
        rounds.looked(uid, AfterLook::At(start + Duration::from_millis(millis)));
    }
    let at = start + Duration::from_secs(5);
    assert_eq!(rounds.next_wake(), Some(at));
    rounds.wake_due(at + Duration::from_millis(300));
    let due = all_due(&mut rounds);
    assert_eq!(due, [("a".to_owned(), at), ("b".to_owned(), at)]);
    assert_eq!(rounds.next_wake(), Some(start + Duration::from_secs(6)));
}

#[test]
fn an_issuer_is_looked_at_once_when_a_round_comes_before_its_time() {
    let start = Instant::now();
    let mut rounds = rounds(&[("a", "t")], start);
    assert!(rounds.next().is_some());
    rounds.looked("a", AfterLook::At(start + Duration::from_secs(5)));
    rounds.wake_those(|_| true, &HashSet::new(), start);
    assert_eq!(rounds.next_wake(), None);
    assert_eq!(all_due(&mut rounds).len(), 1);
}

#[test]
fn a_deleted_issuer_is_looked_at_once_more_even_if_only_a_list_shows_it() {
    let now = Instant::now();
    let mut rounds = rounds(&[("a", "t"), ("b", "t")], now);
    assert_eq!(all_due(&mut rounds).len(), 2);
    rounds.delete("a", now);
    let look = rounds.next().unwrap();
    assert!(look.deleted);
    rounds.looked("a", AfterLook::Ended);
    rounds.list(vec![told("c", "t", 1)], &HashSet::new(), now);
    let looks: Vec<_> = std::iter::from_fn(|| rounds.next()).collect();
    let looks: Vec<_> = looks
        .iter()
        .map(|look| (&*look.uid, look.deleted))
        .collect();
    assert_eq!(looks, [("c", false), ("b", true)]);
    rounds.looked("b", AfterLook::Ended);
    rounds.looked("c", AfterLook::Round);
    assert_eq!(rounds.kept.len(), 1);
}

#[test]
fn a_new_value_of_the_annotation_asks_for_a_look_at_most_once_in_five_seconds() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let mut rounds = rounds(&[("a", "t")], start);
    assert_eq!(all_due(&mut rounds).len(), 1);
    rounds.put(asking("a", "1"), false, at(1));
    assert_eq!(all_due(&mut rounds), [("a".to_owned(), at(1))]);
    // Neither the same value, as after a status write, nor the removal of the annotation asks for a look.
    rounds.put(asking("a", "1"), false, at(2));
    rounds.put(told("a", "t", 1), false, at(2));
    assert!(rounds.next().is_none());
    for (second, value) in [(2, "2"), (3, "3"), (4, "4")] {
        rounds.put(asking("a", value), false, at(second));
        assert!(rounds.next().is_none(), "{value}");
    }
    assert_eq!(rounds.next_wake(), Some(at(6)));
    rounds.wake_due(at(6));
    assert_eq!(all_due(&mut rounds), [("a".to_owned(), at(6))]);
    assert_eq!(rounds.next_wake(), None);
    rounds.put(asking("a", "5"), false, at(11));
    assert_eq!(all_due(&mut rounds), [("a".to_owned(), at(11))]);
}

#[test]
fn the_annotation_of_a_deleted_issuer_asks_for_nothing() {
    let start = Instant::now();
    let mut rounds = rounds(&[("a", "t")], start);
    assert_eq!(all_due(&mut rounds).len(), 1);
    for value in ["1", "2"] {
        rounds.put(asking("a", value), false, start);
    }
    rounds.delete("a", start);
    assert!(rounds.next().unwrap().deleted);
    rounds.looked("a", AfterLook::Ended);
    rounds.wake_due(start + ASKED_EVERY);
    assert!(rounds.next().is_none());
}

#[test]
fn an_issuer_that_another_installation_takes_over_is_due() {
    let now = Instant::now();
    let mut rounds = rounds(&[("a", "t")], now);
    assert_eq!(all_due(&mut rounds).len(), 1);
    let taken = WatchedIssuer {
        is_elsewhere: true,
        ..told("a", "t", 1)
    };
    rounds.put(taken.clone(), false, now);
    assert_eq!(all_due(&mut rounds).len(), 1);
    rounds.put(taken, false, now);
    rounds.put(told("a", "t", 1), false, now);
    assert!(rounds.next().is_none());
}

#[test]
fn a_step_of_a_rollover_makes_an_issuer_due() {
    let now = Instant::now();
    let mut rounds = rounds(&[("a", "t")], now);
    all_due(&mut rounds);
    for (state, due) in [
        (RolloverState::Trusted, 1),
        (RolloverState::Trusted, 0),
        (RolloverState::Switched, 1),
    ] {
        let stepped = WatchedIssuer {
            rollover: Some((state, "ca".to_owned())),
            ..told("a", "t", 1)
        };
        rounds.put(stepped, false, now);
        assert_eq!(all_due(&mut rounds).len(), due, "{state:?}");
    }
}
