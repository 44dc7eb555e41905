//! Tests which request is looked at, when, and how often.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use proptest::prelude::*;

use super::*;

type Requests = Queue<ConfigMap, Memory>;

/// Memory of a request: whether a certificate is unpublished, and how often the request has failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Memory {
    has_unpublished: bool,
    failures: u8,
}

const NOTHING: Memory = Memory {
    has_unpublished: false,
    failures: 0,
};
const UNPUBLISHED: Memory = Memory {
    has_unpublished: true,
    failures: 0,
};

impl Remembered for Memory {
    fn has_unpublished(&self) -> bool {
        self.has_unpublished
    }

    fn forgive(&mut self) {
        self.failures = 0;
    }
}

fn object(uid: &str) -> ConfigMap {
    version(uid, "1")
}

fn version(uid: &str, version: &str) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.uid = Some(uid.to_owned());
    object.metadata.resource_version = Some(version.to_owned());
    object
}

fn uid(object: &ConfigMap) -> &str {
    object.metadata.uid.as_deref().unwrap()
}

/// Starts as many looks as the limit allows and returns the UIDs.
fn all_due(queue: &mut Requests) -> Vec<String> {
    let mut due = Vec::new();
    while let Some(next) = queue.next() {
        due.push(uid(&next.object).to_owned());
    }
    due
}

fn queue(uids: &[&str]) -> Requests {
    let mut queue = Requests::new(10, |_| Seat::default(), Instant::now);
    for uid in uids {
        queue.put(object(uid));
    }
    queue
}

#[test]
fn the_first_request_is_looked_at_first_and_looks_at_a_time_are_limited() {
    let mut queue = Requests::new(2, |_| Seat::default(), Instant::now);
    for uid in ["c", "a", "b"] {
        queue.put(object(uid));
    }
    assert_eq!(all_due(&mut queue), ["c", "a"]);
    queue.looked(&object("a"), NOTHING, Next::OnChange, Instant::now());
    assert_eq!(all_due(&mut queue), ["b"]);
}

#[test]
fn a_request_that_changes_during_a_look_is_looked_at_again_in_its_new_version() {
    let mut queue = queue(&["a"]);
    assert_eq!(all_due(&mut queue), ["a"]);
    queue.put(version("a", "2"));
    assert!(queue.next().is_none(), "a look is already in progress");
    queue.looked(&object("a"), NOTHING, Next::Ended, Instant::now());
    let next = queue.next().unwrap();
    assert_eq!(next.object.metadata.resource_version.as_deref(), Some("2"));
    queue.looked(&next.object, NOTHING, Next::OnChange, Instant::now());
    assert!(queue.next().is_none());
}

#[test]
fn a_request_that_has_ended_leaves_the_queue() {
    let mut queue = queue(&["a"]);
    all_due(&mut queue);
    queue.looked(&object("a"), NOTHING, Next::Ended, Instant::now());
    assert!(queue.kept.is_empty());
    queue.wake(&"a".into());
    assert!(queue.next().is_none());
}

#[test]
fn a_look_happens_once_at_its_time_or_at_an_earlier_change() {
    let mut queue = queue(&["a", "b"]);
    let now = Instant::now();
    let at = now + Duration::from_secs(1);
    all_due(&mut queue);
    queue.looked(&object("a"), NOTHING, Next::At(at), Instant::now());
    queue.looked(&object("b"), NOTHING, Next::At(at), Instant::now());
    queue.wake_due(now);
    assert!(queue.next().is_none());
    queue.wake(&"b".into());
    assert_eq!(all_due(&mut queue), ["b"]);
    queue.looked(&object("b"), NOTHING, Next::OnChange, Instant::now());
    assert_eq!(queue.next_wake(), Some(at));
    queue.wake_due(at);
    assert_eq!(all_due(&mut queue), ["a"]);
    assert_eq!(queue.next_wake(), None);
}

#[test]
fn wake_all_is_followed_by_a_look_at_every_request() {
    let mut queue = queue(&["a", "b"]);
    all_due(&mut queue);
    queue.looked(&object("a"), NOTHING, Next::OnChange, Instant::now());
    queue.wake_all();
    assert_eq!(all_due(&mut queue), ["a"], "a look at b is in progress");
    queue.looked(&object("b"), NOTHING, Next::OnChange, Instant::now());
    assert_eq!(all_due(&mut queue), ["b"]);
}

#[test]
fn a_request_that_is_missing_from_a_list_is_looked_at_as_deleted() {
    let mut queue = queue(&["a", "b"]);
    all_due(&mut queue);
    for uid in ["a", "b"] {
        queue.looked(&object(uid), NOTHING, Next::OnChange, Instant::now());
    }
    queue.begin_list();
    queue.put(object("a"));
    queue.put(object("c"));
    let gone = queue.end_list();
    let gone: Vec<_> = gone.iter().map(|gone| uid(gone)).collect();
    assert_eq!(gone, ["b"]);
    let due = std::iter::from_fn(|| queue.next());
    let due: Vec<_> = due
        .map(|due| (uid(&due.object).to_owned(), due.deleted))
        .collect();
    let expected = [("a", false), ("c", false), ("b", true)];
    assert_eq!(due, expected.map(|(uid, gone)| (uid.to_owned(), gone)));
}

#[test]
fn a_deleted_request_is_looked_at_once_more_after_the_look_in_progress() {
    let mut queue = queue(&["a"]);
    all_due(&mut queue);
    queue.delete(&object("a"));
    assert!(queue.next().is_none());
    queue.looked(&object("a"), NOTHING, Next::OnChange, Instant::now());
    assert!(queue.next().unwrap().deleted);
    queue.looked(&object("a"), NOTHING, Next::Ended, Instant::now());
    assert!(queue.kept.is_empty());
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Delete(u8),
    Wake(u8),
    Look,
    Looked(usize, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..4u8).prop_map(Step::Put),
        (0..4u8).prop_map(Step::Delete),
        (0..4u8).prop_map(Step::Wake),
        Just(Step::Look),
        (any::<usize>(), any::<bool>()).prop_map(|(which, ended)| Step::Looked(which, ended)),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    #[test]
    fn a_request_has_one_look_at_a_time_and_every_change_is_followed_by_a_look(steps in steps()) {
        let mut queue = Requests::new(3, |_| Seat::default(), Instant::now);
        let mut looks: Vec<Arc<ConfigMap>> = Vec::new();
        let mut unseen = HashSet::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Put(which) => {
                    queue.put(version(&which.to_string(), &number.to_string()));
                    unseen.insert(which.to_string());
                }
                Step::Delete(which) => queue.delete(&object(&which.to_string())),
                Step::Wake(which) => queue.wake(&which.to_string().as_str().into()),
                Step::Look => {
                    if let Some(due) = queue.next() {
                        unseen.remove(uid(&due.object));
                        prop_assert!(looks.iter().all(|look| uid(look) != uid(&due.object)));
                        looks.push(due.object);
                    }
                }
                Step::Looked(..) if looks.is_empty() => {}
                Step::Looked(which, ended) => {
                    let look = looks.swap_remove(which % looks.len());
                    queue.looked(&look, NOTHING, if ended { Next::Ended } else { Next::OnChange }, Instant::now());
                }
            }
            prop_assert!(looks.len() <= 3);
        }
        queue.wake_all();
        loop {
            while let Some(due) = queue.next() {
                unseen.remove(uid(&due.object));
                looks.push(due.object);
            }
            let Some(look) = looks.pop() else { break };
            queue.looked(&look, NOTHING, Next::Ended, Instant::now());
        }
        prop_assert!(unseen.is_empty(), "{unseen:?}");
        prop_assert!(queue.kept.is_empty());
    }
}

#[test]
fn the_memory_is_lent_out_for_a_look_and_comes_back() {
    let failed = Memory {
        has_unpublished: false,
        failures: 3,
    };
    let mut queue = queue(&["a"]);
    let due = queue.next().unwrap();
    assert_eq!(due.memory, NOTHING);
    queue.looked(&due.object, failed, Next::OnChange, Instant::now());
    queue.put(version("a", "2"));
    let due = queue.next().unwrap();
    assert_eq!(due.memory, failed, "a new version keeps the memory");
    queue.looked(&due.object, due.memory, Next::OnChange, Instant::now());
    queue.wake_anew(&"a".into());
    let due = queue.next().unwrap();
    assert_eq!(due.memory, NOTHING);
    queue.wake_anew(&"a".into());
    queue.looked(&due.object, failed, Next::OnChange, Instant::now());
    let due = queue.next().unwrap();
    assert_eq!(due.memory, NOTHING, "forgiven during the look");
}

#[test]
fn a_request_that_our_write_ended_stays_as_a_tombstone_until_the_watch_reports_it() {
    let settled = || {
        let mut queue = queue(&["a"]);
        all_due(&mut queue);
        queue.looked(&object("a"), UNPUBLISHED, Next::Settled, Instant::now());
        assert_eq!(queue.kept.len(), 1);
        queue.wake_all();
        queue.wake(&"a".into());
        assert!(queue.next().is_none(), "a tombstone is never looked at");
        queue
    };
    let mut overtaken = settled();
    overtaken.put(version("a", "2"));
    assert_eq!(overtaken.next().map(|due| due.memory), Some(UNPUBLISHED));
    let mut ended = queue(&["a"]);
    all_due(&mut ended);
    ended.looked(&object("a"), NOTHING, Next::Settled, Instant::now());
    ended.end(version("a", "2"), Instant::now());
    assert!(ended.kept.is_empty() && ended.next().is_none());
    let mut deleted = settled();
    deleted.delete(&object("a"));
    assert!(deleted.kept.is_empty() && deleted.next().is_none());
    let mut listed = settled();
    listed.begin_list();
    assert!(listed.end_list().is_empty());
    assert!(listed.kept.is_empty());
}

#[test]
fn an_ended_request_is_looked_at_once_more_only_if_a_certificate_is_owed_or_a_look_is_in_progress()
{
    let mut queue = queue(&["unpublished", "looking", "due", "later"]);
    for (uid, memory, next) in [
        ("unpublished", UNPUBLISHED, Next::OnChange),
        ("later", NOTHING, Next::At(Instant::now())),
    ] {
        queue.wake(&uid.into());
        while let Some(due) = queue.next() {
            if self::uid(&due.object) == uid {
                queue.looked(&due.object, memory, next, Instant::now());
                break;
            }
            queue.looked(&due.object, NOTHING, Next::OnChange, Instant::now());
        }
    }
    queue.wake(&"due".into());
    queue.wake(&"looking".into());
    while queue
        .next()
        .is_some_and(|due| uid(&due.object) != "looking")
    {}
    for uid in ["unpublished", "looking", "due", "later", "unknown"] {
        queue.end(version(uid, "2"), Instant::now());
    }
    assert_eq!(all_due(&mut queue), ["unpublished"]);
    queue.looked(&object("looking"), NOTHING, Next::OnChange, Instant::now());
    assert_eq!(all_due(&mut queue), ["looking"]);
    assert_eq!(queue.next_wake(), None);
}

#[test]
fn a_drain_keeps_the_looks_in_progress_and_the_requests_with_an_unpublished_certificate() {
    let mut queue = queue(&[
        "looking",
        "later",
        "unpublished later",
        "due",
        "unpublished",
    ]);
    let now = Instant::now();
    let due: Vec<_> = std::iter::from_fn(|| queue.next()).collect();
    assert_eq!(due.len(), 5);
    queue.looked(&object("later"), NOTHING, Next::At(now), Instant::now());
    queue.looked(
        &object("unpublished later"),
        UNPUBLISHED,
        Next::At(now),
        Instant::now(),
    );
    queue.looked(&object("due"), NOTHING, Next::OnChange, Instant::now());
    queue.looked(
        &object("unpublished"),
        UNPUBLISHED,
        Next::OnChange,
        Instant::now(),
    );
    queue.wake_all();
    queue.retain_unpublished();
    queue.wake_due(now);
    let mut left = all_due(&mut queue);
    left.sort_unstable();
    assert_eq!(left, ["unpublished", "unpublished later"]);
    queue.put(version("looking", "2"));
    queue.looked(&object("looking"), NOTHING, Next::OnChange, Instant::now());
    queue.retain_unpublished();
    assert_eq!(
        all_due(&mut queue),
        [""; 0],
        "it has no unpublished certificate"
    );
    assert_eq!(queue.next_wake(), None);
    for uid in ["unpublished", "unpublished later"] {
        queue.looked(&object(uid), UNPUBLISHED, Next::OnChange, Instant::now());
    }
    let left = queue.into_kept().map(|(object, memory)| {
        assert_eq!(memory, UNPUBLISHED);
        uid(&object).to_owned()
    });
    assert_eq!(left.count(), 2);
}

#[test]
fn a_request_whose_issuer_changes_its_token_waits_for_the_new_token() {
    use std::sync::{Arc, Mutex};

    let token: Arc<Mutex<Option<Arc<str>>>> = Arc::default();
    let now = Arc::clone(&token);
    let mut queue: Requests = Queue::new(
        1,
        move |_| Seat {
            token: now.lock().unwrap().clone(),
            ..Seat::default()
        },
        Instant::now,
    );
    queue.put(object("a"));
    queue.put(object("b"));
    *token.lock().unwrap() = Some("new".into());
    assert_eq!(all_due(&mut queue), ["a"]);
    queue.put(object("c"));
    assert!(
        all_due(&mut queue).is_empty(),
        "the token allows one look at a time"
    );
    queue.looked(&object("a"), NOTHING, Next::Ended, Instant::now());
    assert_eq!(all_due(&mut queue), ["b"]);
    queue.looked(&object("b"), NOTHING, Next::Ended, Instant::now());
    assert_eq!(all_due(&mut queue), ["c"]);
}

#[test]
fn the_state_counts_requests_by_their_turn_and_the_time_that_the_first_has_been_due() {
    let start = Instant::now();
    let mut queue = queue(&["a", "b", "c", "d"]);
    let due = [
        queue.next().unwrap(),
        queue.next().unwrap(),
        queue.next().unwrap(),
    ];
    let [first, second, third] = due;
    assert!(first.since >= start && third.since >= first.since);
    let at = Instant::now() + Duration::from_secs(30);
    queue.looked(&first.object, Memory::default(), Next::At(at), start);
    queue.looked(&second.object, Memory::default(), Next::Settled, start);
    queue.begin_list();
    let later = start + Duration::from_secs(20);
    let state = serde_json::to_value(queue.state(later)).unwrap();
    let expected = serde_json::json!({
        "requests": 3, "tombstones": 1, "unpublished": 0, "due": 1, "longestDueSeconds": 19, "looks": 1, "later": 1,
        "nextDueSeconds": 10, "window": 8, "isListing": true,
        "tokens": {"count": 1, "shown": [{"token": null, "due": 1, "looks": 1}]},
    });
    assert_eq!(state, expected);
}
