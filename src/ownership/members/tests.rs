//! When a replica counts as live, and when it no longer does.

use std::{collections::BTreeSet, time::Duration};

use super::*;

/// Twelve seconds: renewed every four, given up after ten, inattentive after six.
fn duration() -> LeaseDuration {
    "12s".parse().unwrap()
}

fn member(name: &str, resource_version: u32) -> Member {
    Member {
        name: name.to_owned(),
        version: Version {
            uid: format!("uid of {name}"),
            resource_version: resource_version.to_string(),
        },
        duration: duration(),
        tokens: BTreeSet::new(),
        head: None,
    }
}

/// A reader with a clock that only the test moves.
struct Reader {
    members: Members,
    start: Instant,
}

impl Reader {
    fn new() -> Self {
        Self {
            members: Members::new(duration()),
            start: Instant::now(),
        }
    }

    fn at(&self, seconds: u64) -> Instant {
        self.start + Duration::from_secs(seconds)
    }

    fn reads(&mut self, seconds: u64, members: &[Member]) {
        let at = self.at(seconds);
        self.members.read(Reading {
            members: members.to_vec(),
            asked: at,
            answered: at,
        });
    }

    /// Reads the same Leases every four seconds.
    fn goes_on_reading(&mut self, from: u64, to: u64, members: &[Member]) {
        for seconds in (from..=to).step_by(4) {
            self.reads(seconds, members);
        }
    }

    fn live(&self) -> Vec<&str> {
        let live = self.members.live().map(|member| member.name.as_str());
        live.collect()
    }
}

#[test]
fn a_lease_expires_when_it_was_read_unchanged_for_its_duration() {
    let mut reader = Reader::new();
    reader.goes_on_reading(0, 8, &[member("a", 1)]);
    assert_eq!(reader.live(), ["a"]);
    assert_eq!(reader.members.next_expiry(""), Some(reader.at(12)));
    reader.reads(12, &[member("a", 1)]);
    assert!(reader.live().is_empty());
    assert_eq!(reader.members.next_expiry(""), None);
}

#[test]
fn a_renewal_counts_from_when_the_watch_or_a_reading_shows_it() {
    let mut reader = Reader::new();
    reader.goes_on_reading(0, 8, &[member("a", 1)]);
    let at = reader.at(9);
    reader.members.saw(member("a", 2), at);
    reader.goes_on_reading(12, 20, &[member("a", 2)]);
    assert_eq!(reader.live(), ["a"]);
    reader.reads(21, &[member("a", 2)]);
    assert!(reader.live().is_empty());
    reader.reads(24, &[member("a", 3)]);
    assert_eq!(reader.live(), ["a"]);
}

#[test]
fn a_watch_that_repeats_a_known_version_changes_nothing() {
    let mut reader = Reader::new();
    reader.goes_on_reading(0, 8, &[member("a", 1)]);
    let at = reader.at(11);
    reader.members.saw(member("a", 1), at);
    reader.reads(12, &[member("a", 1)]);
    assert!(reader.live().is_empty());
}

#[test]
fn time_alone_expires_nobody() {
    let mut reader = Reader::new();
    reader.reads(0, &[member("a", 1)]);
    // When the clock jumps or the process is suspended, nothing is read in between.
    assert_eq!(reader.live(), ["a"]);
    reader.reads(1000, &[member("a", 1)]);
    assert_eq!(reader.live(), ["a"]);
}

#[test]
fn after_an_outage_live_replicas_have_time_to_renew_and_lost_ones_stay_lost() {
    let mut reader = Reader::new();
    reader.goes_on_reading(0, 12, &[member("a", 1), member("b", 1)]);
    assert!(reader.live().is_empty());
    reader.reads(13, &[member("a", 1), member("b", 2)]);
    assert_eq!(reader.live(), ["b"]);
    // The API server is away for a minute.
    let both = [member("a", 1), member("b", 2)];
    reader.goes_on_reading(73, 81, &both);
    assert_eq!(reader.live(), ["b"]);
    reader.reads(85, &both);
    assert!(reader.live().is_empty());
}

#[test]
fn a_deleted_lease_is_gone_at_once_and_its_name_can_be_used_again() {
    let mut reader = Reader::new();
    reader.reads(0, &[member("a", 1), member("b", 1)]);
    reader.members.went("a", &member("a", 1).version);
    assert_eq!(reader.live(), ["b"]);
    reader.reads(1, &[member("a", 5)]);
    assert_eq!(reader.live(), ["a"]);
    let of_the_one_before = Version {
        uid: "another".to_owned(),
        resource_version: "4".to_owned(),
    };
    reader.members.went("a", &of_the_one_before);
    assert_eq!(reader.live(), ["a"]);
}

#[test]
fn a_lease_is_abandoned_after_ten_durations() {
    let mut reader = Reader::new();
    let all = [member("a", 1)];
    reader.goes_on_reading(0, 116, &all);
    assert_eq!(reader.members.abandoned().count(), 0);
    reader.reads(120, &all);
    assert_eq!(reader.members.abandoned().count(), 1);
}

#[test]
fn every_lease_expires_by_its_own_duration() {
    let mut reader = Reader::new();
    let longer = Member {
        duration: "60s".parse().unwrap(),
        ..member("b", 1)
    };
    let both = [member("a", 1), longer];
    reader.goes_on_reading(0, 56, &both);
    assert_eq!(reader.live(), ["b"]);
    assert_eq!(reader.members.next_expiry(""), Some(reader.at(60)));
    reader.reads(60, &both);
    assert!(reader.live().is_empty());
}

/// Returns the head of the run with this number.
fn head(run: u64, size: u64) -> SignedHead {
    let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
    let note = format!("prod/a/{run:016x}\n{size}\n{root}\n\n\u{2014} prod AAAAAAA=\n");
    SignedHead::parse(&note, Some(size)).unwrap()
}

#[test]
fn a_checkpoint_is_given_up_when_its_lease_shows_another_run_or_none_or_is_gone() {
    let of = |version, head| Member {
        head,
        ..member("a", version)
    };
    let (old, grown, next) = (head(1, 5), head(1, 6), head(2, 1));
    for (now, gone) in [
        (vec![of(2, Some(grown))], None),
        (vec![of(2, Some(next))], Some(old.clone())),
        (vec![of(2, None)], Some(old.clone())),
        (vec![], Some(old.clone())),
    ] {
        let mut reader = Reader::new();
        let at = reader.at(0);
        assert_eq!(reader.members.saw(of(1, Some(old.clone())), at), None);
        let read = reader.members.read(Reading {
            members: now.clone(),
            asked: at,
            answered: at,
        });
        assert_eq!(read, gone.clone().into_iter().collect::<Vec<_>>());
        if let [now] = now.as_slice() {
            let mut watcher = Reader::new();
            watcher.members.saw(of(1, Some(old.clone())), at);
            assert_eq!(watcher.members.saw(now.clone(), at), gone);
        }
    }
}
