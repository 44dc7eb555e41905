//! Tests of logs in the forms in which clusters keep them.

use std::{io::Cursor, sync::LazyLock};

use proptest::{prelude::*, sample::Index};

use super::*;
use crate::audit::{
    compare::LoggedCertificates,
    leaves::Leaves,
    proof::InclusionProof,
    tests::{Paper, closed, log_on, subject},
    verify::{LogFault, LogReport, Verifier},
};

/// Lines of a log: short ones, and ones of two and three parts.
fn lines() -> Vec<String> {
    let paper = Paper::default();
    let log = log_on(&paper);
    for length in [1, 20_000, 3, 40_000] {
        let groups = ["g".repeat(length)];
        log.refused(&subject(&groups), None, "denied");
    }
    log.stopped();
    closed(&log);
    paper.lines()
}

fn verify(files: &[String]) -> LogReport {
    let mut verifier = Verifier::default();
    for (number, text) in files.iter().enumerate() {
        let name = format!("{number}.log");
        verifier.read(&name, Cursor::new(text)).unwrap();
    }
    verifier.finish()
}

/// Panics unless the files have the whole log, and this number of lines of others.
fn is_whole(files: &[String], foreign: u64) {
    let report = verify(files);
    assert_eq!(report.faults, []);
    assert_eq!(report.gaps, []);
    assert_eq!(report.foreign, foreign);
    let agreeing: Vec<_> = report.runs.iter().map(|run| run.lines.agreeing).collect();
    assert_eq!(agreeing, [6]);
}

const OTHER: &str = "2026-11-29T22:00:00.000001Z  WARN the API server is slow";

/// The records of a container runtime, as containerd writes them. A line of stderr follows each record.
fn stored(lines: &[String]) -> Vec<String> {
    let time = "2026-11-29T22:00:00.123456789Z";
    let mut records = Vec::new();
    for line in lines {
        let parts: Vec<_> = line.as_bytes().chunks(PART).collect();
        for (number, part) in parts.iter().enumerate() {
            let tag = if number + 1 == parts.len() { "F" } else { "P" };
            let part = str::from_utf8(part).unwrap();
            records.push(format!("{time} stdout {tag} {part}\n"));
            records.push(format!("{time} stderr F {OTHER}\n"));
        }
    }
    records
}

/// What `kubectl logs` prints: it leaves out the line break behind each part, and prints `before` at each beginning of a line.
fn printed(records: &[String], before: &str) -> String {
    let mut text = String::new();
    for record in records {
        if text.is_empty() || text.ends_with('\n') {
            text.push_str(before);
        }
        let (fields, rest) = record.split_at(record.match_indices(' ').nth(2).unwrap().0 + 1);
        text.push_str(if fields.ends_with(" P ") {
            rest.trim_end()
        } else {
            rest
        });
    }
    text
}

#[test]
fn the_files_of_a_container_runtime_have_the_log_in_parts_between_lines_of_stderr() {
    let records = stored(&lines());
    assert_eq!(records.len(), 20);
    is_whole(&[records.concat()], 10);
}

#[test]
fn a_line_whose_parts_are_in_two_rotated_files_is_found_in_any_order_of_the_files() {
    let records = stored(&lines());
    for at in 0..=records.len() {
        let (older, newer) = records.split_at(at);
        is_whole(&[older.concat(), newer.concat()], 10);
        is_whole(&[newer.concat(), older.concat()], 10);
    }
}

#[test]
fn what_kubectl_logs_prints_is_read_with_and_without_prefix_and_time() {
    let records = stored(&lines());
    let without_stderr: Vec<_> = records
        .iter()
        .filter(|record| !record.contains(" stderr "))
        .cloned()
        .collect();
    for before in [
        "",
        "2026-11-29T22:00:00.123456789Z ",
        "[pod/issuer-7d9c/controller] ",
        "[pod/issuer-7d9c/controller] 2026-11-29T22:00:00.123456789Z ",
    ] {
        is_whole(&[printed(&without_stderr, before)], 0);
        // A line of stderr that stands directly behind a part belongs to no line of its own, so it is not counted.
        is_whole(&[printed(&records, before)], 7);
    }
}

#[test]
fn a_changed_line_is_named_by_file_and_line_in_every_form() {
    let lines = lines();
    let records = stored(&lines);
    let place = |line| Position {
        file: "0.log".into(),
        line,
    };
    for (text, from) in [
        (records.concat(), place(1)),
        (printed(&records, ""), place(1)),
        (lines.join("\n"), place(1)),
    ] {
        let report = verify(&[text.replacen("\"web-1\"", "\"web-9\"", 1)]);
        let [LogFault::Changed { from: found, .. }] = report.faults.as_slice() else {
            panic!("{:?}", report.faults);
        };
        assert_eq!(*found, from);
    }
}

#[test]
fn a_line_whose_rest_is_missing_is_a_gap_between_files_and_a_fault_within_one() {
    let records = stored(&lines());
    let part = records
        .iter()
        .position(|record| record.contains(" P "))
        .unwrap();
    let mut within = records.clone();
    within.remove(part + 2);
    let report = verify(&[within.concat()]);
    assert_ne!(report.faults, []);
    let (older, newer) = (&records[..=part], &records[part + 3..]);
    let report = verify(&[newer.concat(), older.concat()]);
    assert_eq!(report.faults, []);
    let gaps: Vec<_> = report
        .gaps
        .iter()
        .map(|gap| (gap.first, gap.last))
        .collect();
    assert_eq!(gaps, [(2, 2)]);
}

#[test]
fn a_part_that_nothing_continues_does_not_grow_without_limit() {
    let part = format!("2026-11-29T22:00:00Z stdout P {}\n", "x".repeat(PART));
    let report = verify(&[part.repeat(200)]);
    assert_eq!(report.runs, []);
    assert!(report.foreign >= 3, "{}", report.foreign);
}

/// A short log as a container runtime stores it.
static SHORT: LazyLock<String> = LazyLock::new(|| {
    let paper = Paper::default();
    let log = log_on(&paper);
    log.refused(&subject(&[]), None, "denied");
    log.stopped();
    closed(&log);
    stored(&paper.lines()).concat()
});

/// Reads octets as every command does.
fn read_by_all(octets: &[u8]) {
    let mut verifier = Verifier::default();
    verifier.read("0.log", octets).unwrap();
    let _report = verifier.finish();
    let mut files = LogFiles::default();
    let (mut assembler, mut leaves) = (Assembler::default(), Leaves::default());
    let mut logged = LoggedCertificates::default();
    let mut take = |line: &[u8], place: &Position| {
        leaves.take(line, &mut |_| Ok(())).unwrap();
        assembler.take(line, place, &mut |entry, _, _| logged.take(entry));
    };
    files.read("0.log", octets, &mut take).unwrap();
    files.finish(&mut take);
    leaves.finish(&mut |_| Ok(())).unwrap();
    assembler.finish(&mut |entry, _, _| logged.take(entry));
    let _comparison = logged.compare(&[], |_, _| true);
    if let Ok(proof) = str::from_utf8(octets).map(InclusionProof::parse) {
        let _holds = proof.map(|proof| proof.verify());
    }
}

proptest! {
    #[test]
    fn no_octets_make_a_reader_panic(
        inserted in proptest::collection::vec(any::<u8>(), 0..40),
        removed in 0_usize..40,
        place in any::<Index>(),
    ) {
        let mut octets = SHORT.clone().into_bytes();
        let at = place.index(octets.len());
        let end = octets.len().min(at + removed);
        octets.splice(at..end, inserted.iter().copied());
        read_by_all(&octets);
        read_by_all(&inserted);
    }
}
