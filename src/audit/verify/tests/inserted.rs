//! Lines that somebody inserted between those of a signed log, or made unrecognizable.

use super::*;
use crate::audit::{
    note::{signed_note, tests::NoteSigner},
    read::{Assembler, LogEntry},
};

/// Lines of a log with signed checkpoints, of which the last one covers everything; and their key.
fn sealed() -> (Vec<String>, VerifierKey) {
    let signer = NoteSigner::ed25519(5);
    let key = signer.key("prod");
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let seal = |line: String| {
        let parsed: serde_json::Value = serde_json::from_str(&line).unwrap();
        let Some(text) = parsed["checkpoint"].as_str() else {
            return line;
        };
        let note = signed_note(text, &key, &signer.sign(text));
        line.replace(&quoted(text), &quoted(&note))
    };
    (lines().into_iter().map(seal).collect(), key)
}

fn verified(lines: &[String], key: &VerifierKey) -> LogReport {
    let mut verifier = Verifier::trusting([key.clone()]);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    verifier.read("a.log", text.as_bytes()).unwrap();
    verifier.finish()
}

/// What every other command sees of the lines.
fn seen(lines: &[String]) -> Vec<LogEntry> {
    let (mut assembler, mut entries) = (Assembler::default(), Vec::new());
    let place = Position {
        file: "a.log".into(),
        line: 1,
    };
    let mut keep = |entry: &LogEntry, _: &[u8], _: &Position| entries.push(entry.clone());
    for line in lines {
        assembler.take(line.as_bytes(), &place, &mut keep);
    }
    assembler.finish(&mut keep);
    entries
}

fn is_leaf(line: &str) -> bool {
    line.contains("\"seq\":")
}

fn run_of(lines: &[String]) -> String {
    let line: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    line["run"].as_str().unwrap().to_owned()
}

/// Returns the lines with another one before the line with this index.
fn with(lines: &[String], at: usize, line: &str) -> Vec<String> {
    let mut changed = lines.to_vec();
    changed.insert(at, line.to_owned());
    changed
}

#[test]
fn no_line_can_call_an_inserted_one_lost() {
    let (lines, key) = sealed();
    let run = run_of(&lines);
    assert_eq!(verified(&lines, &key).faults, []);
    let checkpoint = lines.iter().find(|line| !is_leaf(line)).unwrap();
    let invalid = checkpoint.replacen("prod/", "test/", 1);
    let leaf =
        format!(r#"{{"time":"","run":"{run}","seq":2,"event":"refused","reason":"forged"}}"#);
    for forged in [leaf, invalid] {
        for at in 0..lines.len() {
            for event in ["torn", "refused"] {
                let hash = TreeHash::of_leaf(forged.as_bytes());
                let last = format!(
                    r#"{{"time":"","run":"{run}","seq":12,"event":"{event}","lost":"{hash}","octets":1}}"#
                );
                let mut changed = with(&lines, at, &forged);
                changed.push(last);
                let report = verified(&changed, &key);
                assert_ne!(report.faults, [], "{at}: {forged}");
            }
        }
    }
}

#[test]
fn a_line_of_a_run_that_is_neither_leaf_nor_checkpoint_is_a_fault_and_no_command_shows_it() {
    let (lines, key) = sealed();
    let run = run_of(&lines);
    let checkpoint = lines.iter().find(|line| !is_leaf(line)).unwrap();
    let about =
        r#""request":{"kind":"CertificateRequest","name":"web","uid":"8f0e"},"serial":"01ff""#;
    let strays = [
        format!(r#"{{"time":"","run":"{run}","event":"published",{about}}}"#),
        format!(r#"{{"run":"{run}","event":"signed","certificate":"MAA=",{about}}}"#),
        format!(r#"{{"time":"","run":"{run}","seq":"3","event":"published",{about}}}"#),
        format!(r#"{{"time":"","run":"{run}","run":"{run}","seq":3,"event":"published",{about}}}"#),
        format!(r#"{{"time":"","run":"{run}","seq":3,"seq":3,"event":"published",{about}}}"#),
        format!(r#"{{"time":"","run":"{run}","seq":-1,"event":"published",{about}}}"#),
        checkpoint.replacen(
            r#""event":"checkpoint""#,
            &format!(r#""event":"published",{about}"#),
            1,
        ),
        checkpoint.replacen(r#""event""#, r#""seq":3,"event""#, 1),
    ];
    for stray in strays {
        assert!(stray.contains(&run) && !lines.contains(&stray), "{stray}");
        for at in [0, 1, 5, 9, lines.len()] {
            let changed = with(&lines, at, &stray);
            let report = verified(&changed, &key);
            let place = format!("a.log:{}", at + 1);
            let told = |fault: &LogFault| fault.to_string().contains(&place);
            assert!(report.faults.iter().any(told), "{at} {stray}: {report:?}");
            assert_eq!(seen(&changed), seen(&lines), "{at} {stray}");
        }
    }
}

#[test]
fn a_checkpoint_that_was_repeated_moved_or_made_unrecognizable_is_found() {
    let (lines, key) = sealed();
    let checkpoints: Vec<_> = (0..lines.len())
        .filter(|at| !is_leaf(&lines[*at]))
        .collect();
    assert_eq!(checkpoints.len(), 3);
    let found = |what: &str, changed: &[String]| {
        let report = verified(changed, &key);
        assert_ne!(report.faults, [], "{what}");
        assert!(only(&report).lines.proven <= 12, "{what}");
    };
    for at in checkpoints {
        let line = &lines[at];
        for to in 0..=lines.len() {
            found(&format!("{at} repeated at {to}"), &with(&lines, to, line));
        }
        let mut without = lines.clone();
        without.remove(at);
        // Behind it come lines that it does not cover, up to the next checkpoint.
        let next = (at + 1..lines.len()).find(|next| !is_leaf(&lines[*next]));
        for to in (0..at).chain(next.map(|next| next..lines.len()).into_iter().flatten()) {
            found(&format!("{at} moved to {to}"), &with(&without, to, line));
        }
        let names = ["run", "event", "checkpoint", "frontier"];
        for (name, other) in names
            .into_iter()
            .zip(["rtn", "evant", "chdckpoint", "frontieR"])
        {
            let mut changed = lines.clone();
            changed[at] = line.replacen(&format!("\"{name}\":"), &format!("\"{other}\":"), 1);
            assert_ne!(changed[at], *line);
            found(&format!("{at} without {name}"), &changed);
        }
        // The line break behind it is another character.
        if let Some(next) = lines.get(at + 1) {
            let mut changed = lines.clone();
            changed[at] = format!("{line}*{next}");
            changed.remove(at + 1);
            found(&format!("{at} joined"), &changed);
        }
    }
}

#[test]
fn a_torn_line_that_is_not_as_the_next_run_found_it_is_told() {
    let (lines, key) = sealed();
    let torn = &lines[9][..40];
    let hash = TreeHash::of_leaf(torn.as_bytes());
    let next = [
        r#"{"time":"","run":"0f0f0f0f0f0f0f0f","seq":0,"event":"started","origin":"prod/a/0f0f0f0f0f0f0f0f"}"#.to_owned(),
        format!(r#"{{"time":"","run":"0f0f0f0f0f0f0f0f","seq":1,"event":"torn","lost":"{hash}","octets":40}}"#),
    ];
    let file = |torn: &str| [&lines[..9], &[torn.to_owned()], &next].concat();
    let report = verified(&file(torn), &key);
    assert_eq!((&*report.faults, &*report.lost), (&[][..], &[][..]));
    let by: Vec<_> = report
        .torn
        .iter()
        .map(|line| (line.place.line, line.named_by.as_deref()))
        .collect();
    assert_eq!(by, [(10, Some("0f0f0f0f0f0f0f0f"))]);
    for (other, lines) in [(&torn[..39], &[10][..]), ("", &[])] {
        let report = verified(&file(other), &key);
        let places: Vec<_> = report.torn.iter().map(|line| line.place.line).collect();
        assert_eq!(places, lines);
        assert!(report.torn.iter().all(|line| line.named_by.is_none()));
        let found: Vec<_> = report.lost.iter().map(|line| line.place.line).collect();
        assert_eq!(found, [12]);
    }
}
