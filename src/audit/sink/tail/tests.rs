//! Tests with a medium whose writes and synchronizations fail.

use std::{cell::RefCell, rc::Rc};

use super::*;

/// A disk that keeps only synchronized octets. A failed synchronization loses all others.
#[derive(Clone, Default)]
struct Disk(Rc<RefCell<State>>);

#[derive(Default)]
struct State {
    /// What reading shows.
    cache: Vec<u8>,
    /// What survives.
    disk: Vec<u8>,
    room: Option<usize>,
    failing_syncs: u32,
    syncs: u32,
}

impl Medium for Disk {
    fn write_at(&mut self, octets: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.0.borrow_mut();
        let taken = state.room.unwrap_or(usize::MAX).min(octets.len());
        if taken == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        state.room = state.room.map(|room| room - taken);
        let offset = usize::try_from(offset).unwrap();
        let end = offset + taken;
        if state.cache.len() < end {
            state.cache.resize(end, b'?');
        }
        state.cache[offset..end].copy_from_slice(&octets[..taken]);
        Ok(taken)
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.0.borrow_mut();
        state.syncs += 1;
        if let Some(left) = state.failing_syncs.checked_sub(1) {
            state.failing_syncs = left;
            // The kernel drops the pages and calls them clean; reading shows what is on the disk.
            state.cache = state.disk.clone();
            return Err(io::Error::other("lost"));
        }
        state.disk = state.cache.clone();
        Ok(())
    }
}

/// Pushes until it succeeds.
fn pushed(tail: &mut Tail<Disk>, now: Instant) {
    for _ in 0..100 {
        if tail.push(now).is_ok() {
            return;
        }
    }
    panic!("it never succeeds");
}

#[test]
fn after_failed_synchronizations_everything_that_was_accepted_is_on_the_disk_once() {
    let disk = Disk::default();
    let mut tail = Tail::new(disk.clone(), 0, Fsync::Always);
    let now = Instant::now();
    let mut expected = Vec::new();
    for number in 0..5 {
        let line = format!("line {number}\n");
        tail.extend(line.as_bytes());
        expected.extend_from_slice(line.as_bytes());
        disk.0.borrow_mut().failing_syncs = number;
        pushed(&mut tail, now);
        assert_eq!(disk.0.borrow().disk, expected);
        assert_eq!(tail.length(), u64::try_from(expected.len()).unwrap());
    }
}

#[test]
fn a_full_disk_cuts_a_line_at_any_octet_and_the_rest_follows() {
    for room in 0..20 {
        let disk = Disk::default();
        let mut tail = Tail::new(disk.clone(), 0, Fsync::Always);
        disk.0.borrow_mut().room = Some(room);
        tail.extend(b"one line\nanother one\n");
        tail.push(Instant::now()).unwrap_err();
        disk.0.borrow_mut().room = None;
        pushed(&mut tail, Instant::now());
        assert_eq!(disk.0.borrow().disk, b"one line\nanother one\n", "{room}");
    }
}

#[test]
fn with_an_interval_lines_are_synchronized_together_and_after_a_failure_written_again() {
    let disk = Disk::default();
    let mut tail = Tail::new(disk.clone(), 0, Fsync::Interval);
    let start = Instant::now();
    for line in [b"a\n", b"b\n", b"c\n"] {
        tail.extend(line);
        pushed(&mut tail, start);
    }
    assert_eq!(disk.0.borrow().syncs, 0);
    assert!(tail.waits());
    disk.0.borrow_mut().failing_syncs = 2;
    tail.extend(b"d\n");
    pushed(&mut tail, start + INTERVAL);
    assert_eq!(disk.0.borrow().disk, b"a\nb\nc\nd\n");
    assert!(!tail.waits());
}

#[test]
fn with_an_interval_the_lines_that_are_kept_are_bounded() {
    let disk = Disk::default();
    let mut tail = Tail::new(disk.clone(), 0, Fsync::Interval);
    let start = Instant::now();
    for _ in 0..3 {
        tail.extend(&vec![b'x'; MOST / 2]);
        pushed(&mut tail, start);
    }
    assert_eq!(disk.0.borrow().syncs, 1);
    assert_eq!(tail.held.len(), MOST / 2);
}

#[test]
fn without_fsync_nothing_is_kept_and_nothing_synchronized() {
    let disk = Disk::default();
    let mut tail = Tail::new(disk.clone(), 0, Fsync::Never);
    tail.extend(b"a\n");
    pushed(&mut tail, Instant::now());
    tail.settle().unwrap();
    assert_eq!((disk.0.borrow().syncs, tail.waits()), (0, false));
    assert_eq!(disk.0.borrow().cache, b"a\n");
}
