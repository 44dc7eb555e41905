//! Tests of which leaves are handed out, and in which order.

use super::*;
use crate::audit::note::{signed_note, tests::NoteSigner};

/// Lines of a log with a checkpoint after each four, and one line after the last checkpoint. Each line is its number.
fn lines() -> Vec<String> {
    let (mut lines, mut frontier) = (Vec::new(), Frontier::default());
    for seq in 0..13_u64 {
        let line = format!(r#"{{"time":"","run":"00ff","seq":{seq},"event":"refused"}}"#);
        frontier.push(TreeHash::of_leaf(line.as_bytes()));
        lines.push(line);
        if frontier.size().is_multiple_of(4) {
            lines.push(checkpoint(&frontier));
        }
    }
    lines
}

fn checkpoint(frontier: &Frontier) -> String {
    let checkpoint = Checkpoint {
        origin: "prod/a/00ff".to_owned(),
        size: frontier.size(),
        root: frontier.root(),
    };
    let (key, text) = (NoteSigner::ed25519(5), checkpoint.text());
    let note = signed_note(&text, &key.key("prod"), &key.sign(&text));
    let text = serde_json::to_string(&note).unwrap();
    format!(r#"{{"time":"","run":"00ff","event":"checkpoint","checkpoint":{text},"frontier":[]}}"#)
}

/// Returns the numbers of the leaves in the order in which they come, and what is confirmed.
fn read<'a>(lines: impl IntoIterator<Item = &'a String>) -> (Vec<String>, Confirmed) {
    let mut given = Vec::new();
    let mut give = |leaf: ConfirmedLeaf<'_>| {
        assert_eq!(leaf.index, u64::try_from(given.len()).unwrap());
        given.push(String::from_utf8(leaf.octets.to_vec()).unwrap());
        Ok(())
    };
    let mut leaves = Leaves::default();
    for line in lines {
        leaves.take(line.as_bytes(), &mut give).unwrap();
    }
    let [confirmed] = leaves.finish(&mut give).unwrap().try_into().unwrap();
    (given, confirmed)
}

fn numbered(lines: &[String]) -> Vec<String> {
    let leaves = lines.iter().filter(|line| line.contains("\"seq\""));
    leaves.cloned().collect()
}

#[test]
fn leaves_come_in_order_whatever_the_order_of_the_files() {
    let lines = lines();
    let last = Checkpoint::of_note(&read(&lines).1.checkpoint).unwrap();
    assert_eq!(last.size, 12);
    for at in 0..lines.len() {
        let (first, second) = lines.split_at(at);
        let (given, confirmed) = read(second.iter().chain(first));
        assert_eq!(given, numbered(&lines)[..12], "{at}");
        assert_eq!((confirmed.size, confirmed.unconfirmed), (12, 1), "{at}");
    }
}

#[test]
fn a_checkpoint_may_stand_behind_lines_that_it_does_not_cover() {
    let mut lines = lines();
    let checkpoint = lines.remove(4);
    lines.insert(6, checkpoint);
    let mut given = 0;
    let mut give = |_: ConfirmedLeaf<'_>| {
        given += 1;
        Ok(())
    };
    let mut leaves = Leaves::default();
    for line in &lines[..7] {
        leaves.take(line.as_bytes(), &mut give).unwrap();
    }
    assert_eq!(given, 4);
    assert_eq!(read(&lines).1.size, 12);
}

#[test]
fn no_leaf_is_confirmed_from_a_changed_line_on_or_without_the_first_line() {
    let lines = lines();
    for (at, line) in lines
        .iter()
        .enumerate()
        .filter(|(_, line)| line.contains("\"seq\""))
    {
        let mut changed = lines.clone();
        changed[at] = line.replace("refused", "refuted");
        let (given, confirmed) = read(&changed);
        let seq = numbered(&lines[..at]).len();
        let before = if seq < 12 { seq / 4 * 4 } else { 12 };
        assert_eq!(given, numbered(&lines)[..before], "{at}");
        assert_eq!(confirmed.size, u64::try_from(before).unwrap(), "{at}");
    }
    let (given, confirmed) = read(&lines[1..]);
    assert_eq!(
        (given.len(), confirmed.size, confirmed.unconfirmed),
        (0, 0, 12)
    );
    assert_eq!(confirmed.checkpoint, "");
}

#[test]
fn a_line_is_found_by_its_event_and_its_serial_number() {
    let line = br#"{"time":"","run":"00ff","seq":1,"event":"signed","serial":"01ff","names":{"sha256":""}}"#;
    assert_eq!(run_about(line, "signed", "1ff").as_deref(), Some("00ff"));
    assert_eq!(run_about(line, "published", "1ff"), None);
    assert_eq!(run_about(line, "signed", "ff"), None);
}

/// Replaces the last checkpoint by another one over the same lines.
fn with_last(lines: &[String], change: impl Fn(&Checkpoint) -> String) -> Vec<String> {
    let mut lines = lines.to_vec();
    let last = lines
        .iter_mut()
        .rfind(|line| line.contains("\"checkpoint\""))
        .unwrap();
    let parsed: serde_json::Value = serde_json::from_str(last).unwrap();
    let note = parsed["checkpoint"].as_str().unwrap();
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let other = change(&Checkpoint::of_note(note).unwrap());
    *last = last.replace(&quoted(note), &quoted(&other));
    lines
}

#[test]
fn a_checkpoint_without_a_signature_confirms_nothing_and_takes_nothing_away() {
    let lines = with_last(&lines(), Checkpoint::text);
    let (given, confirmed) = read(&lines);
    assert_eq!(confirmed.size, 8);
    assert!(
        confirmed.checkpoint.contains("\u{2014} prod "),
        "{confirmed:?}"
    );
    assert_eq!(given, numbered(&lines)[..8]);
    let unsigned: Vec<_> = lines
        .iter()
        .filter(|line| !line.contains("prod "))
        .collect();
    let (given, confirmed) = read(unsigned);
    assert_eq!((given.len(), confirmed.signed), (0, false));
}

#[test]
fn with_keys_only_their_signatures_count() {
    let (own, other) = (NoteSigner::ed25519(5), NoteSigner::ed25519(6));
    let forged = with_last(&lines(), |checkpoint| {
        let text = checkpoint.text();
        signed_note(&text, &other.key("prod"), &other.sign(&text))
    });
    for (keys, size) in [
        (vec![own.key("prod")], 8),
        (vec![other.key("prod"), own.key("prod")], 12),
        (vec![NoteSigner::ed25519(7).key("prod")], 0),
        (vec![], 12),
    ] {
        let mut leaves = Leaves::trusting(keys);
        for line in &forged {
            leaves.take(line.as_bytes(), &mut |_| Ok(())).unwrap();
        }
        let [confirmed] = leaves.finish(&mut |_| Ok(())).unwrap().try_into().unwrap();
        assert_eq!((confirmed.size, confirmed.signed), (size, size > 0));
    }
}
