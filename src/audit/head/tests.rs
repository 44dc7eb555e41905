//! Tests of which heads of others a log records.

use super::*;
use crate::audit::note::{signed_note, tests::NoteSigner};

const ROOT: &str = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
const OWN: &str = "0000000000000000";

fn head(signer: &NoteSigner, run: u64, size: u64, events: Option<u64>) -> SignedHead {
    let text = format!("prod/a/{run:016x}\n{size}\n{ROOT}\n");
    let note = signed_note(&text, &signer.key("prod"), &signer.sign(&text));
    SignedHead::parse(&note, events).unwrap()
}

#[test]
fn only_heads_that_have_grown_by_events_are_news() {
    let signer = NoteSigner::ed25519(1);
    let key = signer.key("prod");
    let mut known = KnownHeads::default();
    let first = [head(&signer, 1, 5, Some(3))];
    assert_eq!(known.news(&first, OWN, &key), first);
    known.learn(&first, &first, &key);
    for (size, events, expected) in [
        (5, Some(3), false),
        // Grown by the heads of others alone.
        (6, Some(3), false),
        // Events of a log that has not grown: somebody has edited the annotation.
        (5, Some(9), false),
        (4, Some(2), false),
        (6, Some(4), true),
        // The run has ended.
        (6, None, true),
        (5, None, false),
    ] {
        let seen = [head(&signer, 1, size, events)];
        let is_news = !known.news(&seen, OWN, &key).is_empty();
        assert_eq!(is_news, expected, "{size} {events:?}");
    }
}

#[test]
fn of_several_heads_of_a_run_the_largest_is_recorded() {
    let signer = NoteSigner::p256();
    let key = signer.key("prod");
    let seen = [
        head(&signer, 1, 5, Some(5)),
        head(&signer, 1, 7, None),
        head(&signer, 1, 6, Some(6)),
    ];
    let news = KnownHeads::default().news(&seen, OWN, &key);
    assert_eq!(news, seen[1..2]);
}

#[test]
fn a_log_never_records_its_own_heads_or_wrong_signatures() {
    let signer = NoteSigner::ed25519(1);
    let key = signer.key("prod");
    let own = head(&signer, 0, 5, Some(5));
    let wrong = head(&signer, 1, 5, Some(5))
        .note()
        .replace("\n5\n", "\n6\n");
    let wrong = SignedHead::parse(&wrong, None).unwrap();
    assert_eq!(KnownHeads::default().news(&[own, wrong], OWN, &key), []);
}

#[test]
fn a_head_of_another_key_is_recorded_once_if_its_run_has_ended_and_hides_no_verified_one() {
    let (signer, old) = (NoteSigner::ed25519(1), NoteSigner::ed25519(2));
    let key = signer.key("prod");
    let mut known = KnownHeads::default();
    let live = [head(&old, 1, 900, Some(900))];
    assert_eq!(known.news(&live, OWN, &key), []);
    let ended = [head(&old, 1, 900, None)];
    assert_eq!(known.news(&ended, OWN, &key), ended);
    known.learn(&ended, &ended, &key);
    assert_eq!(known.news(&ended, OWN, &key), []);
    let verified = head(&signer, 1, 5, Some(5));
    let seen = [ended[0].clone(), verified.clone()];
    assert_eq!(known.news(&seen, OWN, &key), [verified]);
}

#[test]
fn what_is_seen_no_more_is_forgotten() {
    let signer = NoteSigner::ed25519(1);
    let key = signer.key("prod");
    let mut known = KnownHeads::default();
    for run in 1..1000 {
        let seen = [head(&signer, run, 5, Some(5))];
        let news = known.news(&seen, OWN, &key);
        known.learn(&news, &seen, &key);
    }
    assert_eq!(known.recorded.len(), 1);
}

#[test]
fn a_note_of_another_form_is_no_head() {
    let signer = NoteSigner::ed25519(1);
    let note = head(&signer, 1, 5, None).note().to_owned();
    let long = note.replace("prod/a/", &format!("prod/{}/", "a".repeat(MAX_NOTE)));
    for other in [
        note.replace("prod/a/", "prod/a"),
        note.replace("\n5\n", "\n05\n"),
        note.trim_end().to_owned(),
        long,
        String::new(),
    ] {
        assert_eq!(SignedHead::parse(&other, None), None, "{other}");
    }
}
