//! Attacks of every kind on the logs of generated clusters with signed checkpoints.

mod cluster;

use serde_json::Value;

use self::cluster::{attacked, joined, lacks_beginning, names};
use crate::audit::{note::SignedNote, verify::LogFault};

#[test]
fn logs_that_nobody_changed_have_no_fault_and_are_proven_up_to_their_last_signed_checkpoint() {
    attacked(1, 20, |cluster, index, _| {
        let report = cluster.verify(index, Some(&cluster.file(index)));
        assert_eq!(
            (report.faults.as_slice(), report.unknown_heads),
            (&[][..], 0)
        );
        let run = cluster.report(&report, index).unwrap();
        assert_eq!(run.lines.proven, cluster.signed[index]);
        assert_eq!(run.lines.agreeing, 0);
        let last = run.proofs.first().map(|proof| (&proof.key, proof.size));
        let expected = Some(cluster.signed[index]).filter(|size| *size > 0);
        assert_eq!(last, expected.map(|size| (&cluster.key, size)));
    });
}

#[test]
fn every_flipped_bit_below_the_last_signed_checkpoint_is_found_at_its_place() {
    let mut tried = 0;
    attacked(2, 12, |cluster, index, chance| {
        for (seq, place) in cluster.sealed(index).into_iter().enumerate() {
            let file = cluster.file(index);
            let start: usize = cluster.logs[index][..place]
                .iter()
                .map(|line| line.len() + 1)
                .sum();
            // The line break belongs to the line.
            let octet = start + chance.below(cluster.logs[index][place].len() + 1);
            let mut changed = file;
            changed[octet] ^= 1 << chance.below(8);
            let report = cluster.verify(index, Some(&changed));
            let seq = u64::try_from(seq).unwrap();
            let run = &cluster.runs[index];
            assert!(
                names(&report, run, seq) || seq == 0 && lacks_beginning(&report, run, seq),
                "line {seq}, octet {}: {:?}\n{}",
                octet - start,
                report.faults,
                String::from_utf8_lossy(&changed)
            );
            tried += 1;
        }
    });
    assert!(tried > 200, "{tried}");
}

#[test]
fn every_flipped_bit_of_a_signed_checkpoint_is_found_but_for_its_time_and_the_name_of_its_key() {
    let (mut tried, mut found) = (0, 0);
    attacked(3, 30, |cluster, index, chance| {
        let log = &cluster.logs[index];
        for place in 0..log.len() {
            if log[place].contains("\"seq\":") {
                continue;
            }
            let mut changed = log.clone();
            let mut octets = changed[place].clone().into_bytes();
            let octet = chance.below(octets.len());
            octets[octet] ^= 1 << chance.below(7);
            let Ok(text) = String::from_utf8(octets) else {
                continue;
            };
            changed[place] = text;
            let report = cluster.verify(index, Some(&joined(&changed)));
            let (proven, said) = cluster.report(&report, index).map_or((0, 0), |run| {
                let said = run.proofs.iter().map(|proof| proof.size);
                (run.lines.proven, said.max().unwrap_or(0))
            });
            // The lines are proven by another checkpoint, or they are not called proven.
            assert!(proven <= cluster.signed[index]);
            let after: Option<Value> = serde_json::from_str(&changed[place]).ok();
            let before: Value = serde_json::from_str(&log[place]).unwrap();
            // A line that cannot be read at the end of a log is a torn one.
            let is_torn = place + 1 == log.len() && after.is_none() && !report.torn.is_empty();
            let is_harmless = after.is_some_and(|after| {
                let note = after["checkpoint"].as_str();
                let note = note.and_then(|note| SignedNote::parse(note).ok());
                let signers = note.and_then(|note| Some(note.verify([&cluster.key]).ok()?.len()));
                let same = |field: &str| after[field] == before[field];
                signers == Some(0)
                    || ["run", "event", "checkpoint", "frontier"]
                        .iter()
                        .all(|of| same(of))
            });
            assert!(
                !report.faults.is_empty() || is_torn || is_harmless,
                "{proven} of {said}: {}",
                changed[place]
            );
            found += u64::from(!report.faults.is_empty());
            tried += 1;
        }
    });
    assert!(tried > 200 && found * 4 > tried * 3, "{found} of {tried}");
}

#[test]
fn every_removed_repeated_or_moved_line_below_the_last_signed_checkpoint_is_found_at_its_place() {
    let mut tried = 0;
    attacked(4, 8, |cluster, index, chance| {
        let sealed = cluster.sealed(index);
        for (seq, place) in sealed.iter().copied().enumerate() {
            let line = cluster.logs[index][place].clone();
            let run = &cluster.runs[index];
            let number = u64::try_from(seq).unwrap();
            let found = |what: &str, changed: &[String], may_be_gap: bool| {
                let report = cluster.verify(index, Some(&joined(changed)));
                let is_gap = may_be_gap && lacks_beginning(&report, run, number);
                assert!(
                    names(&report, run, number) || is_gap,
                    "{what} {seq}: {:?}",
                    report.faults
                );
            };
            let mut removed = cluster.logs[index].clone();
            removed.remove(place);
            found("removed", &removed, seq == 0);
            let mut repeated = cluster.logs[index].clone();
            repeated.insert(chance.below(repeated.len() + 1), line.clone());
            found("repeated", &repeated, false);
            // Moved behind a later leaf: the line itself, or the one that it passes, is out of order.
            if let Some(behind) = sealed.get(seq + 1 + chance.below(3)).copied() {
                let mut moved = cluster.logs[index].clone();
                moved.remove(place);
                moved.insert(behind, line);
                found("moved", &moved, false);
            }
            tried += 3;
        }
    });
    assert!(tried > 200, "{tried}");
}

#[test]
fn every_cut_tail_is_found_up_to_the_last_checkpoint_that_another_log_has() {
    let (mut found, mut tried) = (0, 0);
    attacked(5, 16, |cluster, index, _| {
        for place in 0..cluster.logs[index].len() {
            let kept = &cluster.logs[index][..place];
            let left = kept.iter().filter(|line| line.contains("\"seq\":")).count();
            let left = u64::try_from(left).unwrap();
            let report = cluster.verify(index, Some(&joined(kept)));
            let told = cluster.told[index];
            let is_found = match left {
                0 => report.faults.iter().any(|fault| {
                    matches!(fault, LogFault::RunMissing { run, size, .. } if *run == cluster.runs[index] && *size == told)
                }),
                _ => report.faults.iter().any(|fault| {
                    matches!(fault, LogFault::Cut { run, first, last, .. }
                        if *run == cluster.runs[index] && (*first, *last + 1) == (left, told))
                }),
            };
            assert_eq!(
                is_found,
                left < told,
                "{left} of {told}: {:?}",
                report.faults
            );
            assert_eq!(
                report.faults.is_empty(),
                left >= told,
                "{:?}",
                report.faults
            );
            let proven = cluster
                .report(&report, index)
                .map_or(0, |run| run.lines.proven);
            assert!(proven <= left);
            found += u64::from(is_found);
            tried += 1;
        }
    });
    assert!(tried > 200 && found > 200, "{found} of {tried}");
}

#[test]
fn a_missing_log_is_found_if_another_log_has_a_checkpoint_of_it() {
    let (mut found, mut tried) = (0, 0);
    attacked(6, 80, |cluster, index, _| {
        let report = cluster.verify(index, None);
        let run = &cluster.runs[index];
        let expected = match cluster.told[index] {
            0 => vec![],
            told => vec![(run, told)],
        };
        let missing: Vec<_> = report
            .faults
            .iter()
            .filter_map(|fault| {
                if let LogFault::RunMissing { run, size, .. } = fault {
                    Some((run, *size))
                } else {
                    None
                }
            })
            .collect();
        assert_eq!(
            (missing.len(), report.faults.len()),
            (expected.len(), expected.len())
        );
        assert_eq!(missing, expected);
        found += missing.len();
        tried += 1;
    });
    assert!(tried > 200 && found > 100, "{found} of {tried}");
}

#[test]
fn a_log_rewritten_without_the_key_proves_nothing_and_the_logs_of_others_reveal_it() {
    let mut found = 0;
    attacked(7, 40, |cluster, index, _| {
        let (told, lines) = (cluster.told[index], &cluster.logs[index]);
        // A new name in the last line that others know of, and checkpoints without a signature over it.
        let Some(victim) = cluster
            .sealed(index)
            .into_iter()
            .take(usize::try_from(told).unwrap())
            .next_back()
        else {
            return;
        };
        let leaves = lines.iter().enumerate();
        let leaves = leaves.filter(|(_, line)| line.contains("\"seq\":"));
        let forged: Vec<_> = leaves
            .map(|(place, line)| match place == victim {
                true => line.replacen("\"event\"", "\"forged\":1,\"event\"", 1),
                false => line.clone(),
            })
            .collect();
        let report = cluster.verify(index, Some(&joined(&forged)));
        let run = cluster.report(&report, index).unwrap();
        assert!(names(&report, &run.run, told - 1), "{:?}", report.faults);
        assert!(run.lines.proven < told);
        found += 1;
    });
    assert!(found > 50, "{found}");
}
