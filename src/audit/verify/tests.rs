//! Tests of what a verification finds in logs that were changed.

mod inserted;
mod sealed;

use std::io;

use super::*;
use crate::audit::{
    IssuanceLog, LogRun,
    read::BEGINNING,
    tests::{PROGRAM, Paper, clock, closed, subject},
};

fn log_on(paper: &Paper) -> IssuanceLog {
    let run = LogRun::new("prod", "replica-0", PROGRAM).unwrap();
    IssuanceLog::to("paper", paper.clone(), run, clock).unwrap()
}

fn refuse(log: &IssuanceLog, name: &str) {
    let mut subject = subject(&[]);
    subject.request.name = name;
    log.refused(&subject, None, "denied");
}

/// Lines of a log of ten requests, with a checkpoint after every fourth and one at the end.
fn lines() -> Vec<String> {
    let paper = Paper::default();
    let log = log_on(&paper);
    for number in 1..=10 {
        refuse(&log, &format!("web-{number}"));
        if number % 4 == 0 {
            log.checkpoint();
        }
    }
    log.stopped();
    closed(&log);
    paper.lines()
}

fn verify(files: &[&[String]]) -> LogReport {
    let mut verifier = Verifier::default();
    for (number, lines) in files.iter().enumerate() {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        verifier
            .read(&format!("{number}.log"), io::Cursor::new(text))
            .unwrap();
    }
    verifier.finish()
}

fn only(report: &LogReport) -> &RunReport {
    match report.runs.as_slice() {
        [run] => run,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_log_agrees_with_its_checkpoints_in_files_of_any_order() {
    let lines = lines();
    let whole = verify(&[&lines]);
    assert_eq!(whole.faults, []);
    assert_eq!(
        only(&whole).lines,
        Verified {
            proven: 0,
            agreeing: 12,
            unproven: 0
        }
    );
    assert!(only(&whole).stopped);
    for at in 0..lines.len() {
        let (first, second) = lines.split_at(at);
        let split = verify(&[second, first]);
        assert_eq!(split.faults, [], "{at}");
        assert_eq!(split.runs, whole.runs, "{at}");
    }
}

#[test]
fn every_flipped_bit_under_a_checkpoint_is_found() {
    let lines = lines();
    for at in 0..lines.len() {
        let places = (0..lines[at].len()).step_by(7);
        for place in places {
            let mut changed = lines.clone();
            let mut octets = changed[at].clone().into_bytes();
            octets[place] ^= 1;
            changed[at] = String::from_utf8(octets).unwrap();
            let report = verify(&[&changed]);
            let proven: u64 = report.runs.iter().map(|run| run.lines.agreeing).sum();
            // Nothing follows the last line, so it may be torn.
            let is_torn = at + 1 == lines.len() && !report.torn.is_empty();
            let harmless = changed[at].contains("\"checkpoint\":\"") && proven == 12;
            let lacks_beginning = at == 0 && report.gaps.iter().any(|gap| gap.first == 0);
            assert!(
                !report.faults.is_empty() || is_torn || harmless || lacks_beginning,
                "line {at}, octet {place}: {}",
                changed[at]
            );
        }
    }
}

#[test]
fn every_removed_repeated_or_moved_line_is_found() {
    let lines = lines();
    let is_leaf = |line: &String| !line.contains("\"checkpoint\"");
    for at in 0..lines.len() - 1 {
        if !is_leaf(&lines[at]) {
            continue;
        }
        let mut removed = lines.clone();
        removed.remove(at);
        let report = verify(&[&removed]);
        let found = |fault: &LogFault| matches!(fault, LogFault::Missing { .. });
        match at {
            0 => assert_eq!(only(&report).first, 1),
            _ => assert!(report.faults.iter().any(found), "removed {at}"),
        }

        let mut repeated = lines.clone();
        repeated.insert(at, lines[at].clone());
        let report = verify(&[&repeated]);
        let found = |fault: &LogFault| matches!(fault, LogFault::Repeated { .. });
        assert!(report.faults.iter().any(found), "repeated {at}");

        if is_leaf(&lines[at + 1]) {
            let mut moved = lines.clone();
            moved.swap(at, at + 1);
            let report = verify(&[&moved]);
            let found = |fault: &LogFault| matches!(fault, LogFault::OutOfOrder { .. });
            assert!(report.faults.iter().any(found), "moved {at}");
        }
    }
}

#[test]
fn a_fault_is_found_at_its_place() {
    let mut lines = lines();
    lines[2] = lines[2].replace("web-2", "web-9");
    let report = verify(&[&lines]);
    let place = |line| Position {
        file: "0.log".into(),
        line,
    };
    assert_eq!(
        report.faults,
        [LogFault::Changed {
            run: only(&report).run.clone(),
            first: 0,
            last: 4,
            from: place(1),
            checkpoint: place(6),
        }]
    );
    assert_eq!(
        only(&report).lines,
        Verified {
            proven: 0,
            agreeing: 7,
            unproven: 5
        }
    );
}

#[test]
fn lines_after_the_last_checkpoint_are_unproven() {
    let lines = lines();
    let report = verify(&[&lines[..8]]);
    assert_eq!(report.faults, []);
    assert_eq!(
        only(&report).lines,
        Verified {
            proven: 0,
            agreeing: 5,
            unproven: 2
        }
    );
    assert!(!only(&report).stopped);
}

#[test]
fn a_log_without_its_beginning_is_verified_from_its_first_checkpoint_on() {
    let lines = lines();
    let report = verify(&[&lines[3..]]);
    assert_eq!(report.faults, []);
    assert_eq!(
        only(&report).lines,
        Verified {
            proven: 0,
            agreeing: 7,
            unproven: 2
        }
    );
    assert_eq!((&only(&report).origin, only(&report).first), (&None, 3));
}

#[test]
fn a_log_verifies_after_the_sink_cut_a_line_short_at_any_octet() {
    for room in (0..800).step_by(7) {
        let paper = Paper::default();
        let log = log_on(&paper);
        paper.room(Some(room));
        refuse(&log, "web-1");
        refuse(&log, "web-2");
        while paper.text().len() < room {
            std::thread::yield_now();
        }
        paper.room(None);
        refuse(&log, "web-3");
        log.stopped();
        closed(&log);
        let lines = paper.lines();
        assert_eq!(lines.len(), 6, "{room}");
        let report = verify(&[&lines]);
        assert_eq!(report.faults, [], "{room}");
        assert_eq!(only(&report).lines.unproven, 0, "{room}");
    }
}

#[test]
fn a_run_that_begins_after_a_torn_line_is_found_whole() {
    let (killed, next) = (lines(), lines());
    for room in 0..killed[7].len() {
        let mut file = killed[..7].to_vec();
        file.push(killed[7][..room].to_owned() + &next[0]);
        file.extend_from_slice(&next[1..]);
        let report = verify(&[&file]);
        assert_eq!(report.faults, [], "{room}");
        let proven: Vec<_> = report.runs.iter().map(|run| run.lines.agreeing).collect();
        assert!(proven.contains(&12), "{room}: {proven:?}");
        // No line names it, so fewer octets than the name of the first field may be anything.
        let torn: Vec<_> = report.torn.iter().map(|line| line.place.line).collect();
        let expected: &[u64] = if room < BEGINNING.len() { &[] } else { &[8] };
        assert_eq!(torn, expected, "{room}");
    }
}

#[test]
fn foreign_lines_are_counted_and_change_nothing() {
    let mut lines = lines();
    lines.insert(3, "2026-11-22T22:00:00Z  INFO started".to_owned());
    lines.insert(5, "{\"level\":\"INFO\"}".to_owned());
    let report = verify(&[&lines]);
    assert_eq!(report.faults, []);
    assert_eq!(report.foreign, 2);
}

#[test]
fn lines_of_a_missing_file_are_a_gap_and_prove_nothing() {
    let lines = lines();
    let (first, rest) = lines.split_at(3);
    let report = verify(&[first, &rest[2..]]);
    assert_eq!(report.faults, []);
    let place = |file: &str, line| Position {
        file: file.into(),
        line,
    };
    assert_eq!(
        report.gaps,
        [LogGap {
            run: only(&report).run.clone(),
            first: 3,
            last: 4,
            after: Some(place("0.log", 3)),
            before: place("1.log", 2),
        }]
    );
    assert_eq!(
        only(&report).lines,
        Verified {
            proven: 0,
            agreeing: 7,
            unproven: 3
        }
    );
}
