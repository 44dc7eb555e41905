//! Puts lines together whose long fields stand in *continuation* lines.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use serde_json::{Map, Value};

use super::{LogEntry, ParsedLine, Position, parsed};

/// Puts the entries of any number of runs together.
///
/// A field that is too long for a leaf is replaced by its SHA-256 and follows in *continuation* lines, which this reads. Texts
/// that have another hash are left out.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The line of each run that waits for its fields.
    waiting: BTreeMap<String, Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    seq: Option<u64>,
    line: Value,
    place: Position,
    missing: BTreeMap<String, Missing>,
}

#[derive(Debug)]
struct Missing {
    sha256: String,
    text: String,
    /// Number of parts that were read.
    parts: u64,
}

impl Assembler {
    /// Takes the next line of a file. Calls `told` with each entry that is complete: its content, its JSON text and its place.
    /// Ignores lines that are neither leaves nor checkpoints, because a verification does not vouch for them.
    pub fn take(
        &mut self,
        octets: &[u8],
        place: &Position,
        told: &mut impl FnMut(&LogEntry, &[u8], &Position),
    ) {
        let Some(ParsedLine { octets, head, .. }) = parsed(octets) else {
            return;
        };
        if head.kind().is_none() {
            return;
        }
        if has_replaced(octets) {
            return self.unusual(octets, place, told);
        }
        match serde_json::from_slice::<LogEntry>(octets) {
            Ok(entry) if entry.event == "continuation" => self.continuation(&entry, told),
            Ok(entry) if !entry.run.is_empty() => {
                if entry.seq.is_some() {
                    self.release(&entry.run, told);
                }
                told(&entry, octets, place);
            }
            Ok(_) => (),
            Err(_) => self.unusual(octets, place, told),
        }
    }

    /// Calls `told` with the entries whose fields are in none of the files.
    pub fn finish(mut self, told: &mut impl FnMut(&LogEntry, &[u8], &Position)) {
        while let Some((_, unfinished)) = self.waiting.pop_first() {
            unfinished.tell(told);
        }
    }

    /// Takes a line that is no entry as it stands.
    fn unusual(
        &mut self,
        octets: &[u8],
        place: &Position,
        told: &mut impl FnMut(&LogEntry, &[u8], &Position),
    ) {
        let Ok(line) = serde_json::from_slice::<Value>(octets) else {
            return;
        };
        let missing = line.as_object().map(replaced).unwrap_or_default();
        let Some(run) = line.get("run").and_then(Value::as_str).map(str::to_owned) else {
            return;
        };
        self.release(&run, told);
        let unfinished = Unfinished {
            seq: line.get("seq").and_then(Value::as_u64),
            line,
            place: place.clone(),
            missing,
        };
        match unfinished.missing.is_empty() {
            true => unfinished.tell(told),
            false => drop(self.waiting.insert(run, unfinished)),
        }
    }

    fn continuation(
        &mut self,
        entry: &LogEntry,
        told: &mut impl FnMut(&LogEntry, &[u8], &Position),
    ) {
        let Some(unfinished) = self.waiting.get_mut(&entry.run) else {
            return;
        };
        if unfinished.seq == entry.of && unfinished.add(entry) && unfinished.missing.is_empty() {
            self.release(&entry.run, told);
        }
    }

    fn release(&mut self, run: &str, told: &mut impl FnMut(&LogEntry, &[u8], &Position)) {
        if let Some(unfinished) = self.waiting.remove(run) {
            unfinished.tell(told);
        }
    }
}

impl Unfinished {
    /// Adds a part of a field; returns whether the field is whole and in its place.
    fn add(&mut self, entry: &LogEntry) -> bool {
        let (Some(field), Some(part), Some(parts), Some(text)) = (
            entry.field.as_deref(),
            entry.part,
            entry.parts,
            entry.text.as_deref(),
        ) else {
            return false;
        };
        let Some(missing) = self.missing.get_mut(field) else {
            return false;
        };
        if part != missing.parts + 1 {
            return false;
        }
        missing.parts = part;
        missing.text.push_str(text);
        if part < parts || hex::encode(digest(&SHA256, missing.text.as_bytes())) != missing.sha256 {
            return false;
        }
        let Ok(value) = serde_json::from_str(&missing.text) else {
            return false;
        };
        if let Some(place) = self.line.get_mut(field) {
            *place = value;
        }
        self.missing.remove(field);
        true
    }

    fn tell(self, told: &mut impl FnMut(&LogEntry, &[u8], &Position)) {
        let (entry, unreadable) = tolerant(&self.line, &self.missing);
        if let Some(mut entry) = entry {
            entry.absent = unreadable;
            told(&entry, self.line.to_string().as_bytes(), &self.place);
        }
    }
}

/// Returns whether a line may have fields that are replaced. Only a name of a field has these quotation marks.
fn has_replaced(octets: &[u8]) -> bool {
    str::from_utf8(octets).is_ok_and(|text| text.contains("\"octets\":"))
}

/// Parses a line without the fields that are missing or have an unknown form, and returns the names of those.
fn tolerant(line: &Value, missing: &BTreeMap<String, Missing>) -> (Option<LogEntry>, Vec<String>) {
    let (mut known, mut unreadable) = (Map::new(), Vec::new());
    for (name, value) in line.as_object().into_iter().flatten() {
        let alone = Map::from_iter([(name.clone(), value.clone())]);
        match serde_json::from_value::<LogEntry>(Value::Object(alone)) {
            Ok(_) if !missing.contains_key(name) => drop(known.insert(name.clone(), value.clone())),
            Ok(_) | Err(_) => unreadable.push(name.clone()),
        }
    }
    (
        serde_json::from_value(Value::Object(known)).ok(),
        unreadable,
    )
}

/// Returns the fields that are replaced by their hash.
fn replaced(fields: &Map<String, Value>) -> BTreeMap<String, Missing> {
    let replaced = fields.iter().filter_map(|(name, value)| {
        let field = Missing {
            sha256: value.get("sha256")?.as_str()?.to_owned(),
            text: String::new(),
            parts: 0,
        };
        value.get("octets")?;
        Some((name.clone(), field))
    });
    replaced.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[String]) -> Vec<(LogEntry, Value, u64)> {
        let mut entries = Vec::new();
        let mut keep = |entry: &LogEntry, json: &[u8], place: &Position| {
            entries.push((
                entry.clone(),
                serde_json::from_slice(json).unwrap(),
                place.line,
            ));
        };
        let mut assembler = Assembler::default();
        for (line, text) in (1..).zip(lines) {
            let place = Position {
                file: "a".into(),
                line,
            };
            assembler.take(text.as_bytes(), &place, &mut keep);
        }
        assembler.finish(&mut keep);
        entries
    }

    fn line(seq: u64, rest: &str) -> String {
        format!(r#"{{"time":"2026-11-29T22:00:00Z","run":"00ff","seq":{seq},{rest}}}"#)
    }

    const APPROVAL: &str = r#"{"reason":"ok","message":"fine"}"#;

    /// A line whose names and approval are too long, and what follows it.
    fn long() -> Vec<String> {
        let apart = |text: &str| {
            let hash = hex::encode(digest(&SHA256, text.as_bytes()));
            format!(r#"{{"sha256":"{hash}","octets":{}}}"#, text.len())
        };
        let names = r#"["DNS:a","DNS:b"]"#;
        let next = |seq, field: &str, part, parts, text: &str| {
            let text = serde_json::to_string(text).unwrap();
            line(
                seq,
                &format!(
                    r#""event":"continuation","of":1,"field":"{field}","part":{part},"parts":{parts},"text":{text}"#
                ),
            )
        };
        vec![
            line(0, r#""event":"started""#),
            line(
                1,
                &format!(
                    r#""event":"signing","approval":{},"names":{},"serial":"01""#,
                    apart(APPROVAL),
                    apart(names)
                ),
            ),
            next(2, "approval", 1, 1, APPROVAL),
            next(3, "names", 1, 2, &names[..5]),
            next(4, "names", 2, 2, &names[5..]),
            line(5, r#""event":"stopped""#),
        ]
    }

    #[test]
    fn long_fields_are_read_from_the_lines_that_continue_them() {
        let entries = told(&long());
        let events: Vec<_> = entries.iter().map(|(entry, ..)| &*entry.event).collect();
        assert_eq!(events, ["started", "signing", "stopped"]);
        let (entry, json, place) = &entries[1];
        assert_eq!(entry.names, ["DNS:a", "DNS:b"]);
        let approval = entry.approval.as_ref().unwrap();
        assert_eq!(approval.message.as_deref(), Some("fine"));
        assert_eq!(entry.absent, [""; 0]);
        assert_eq!(json["names"], serde_json::json!(["DNS:a", "DNS:b"]));
        assert_eq!(*place, 2);
    }

    #[test]
    fn a_field_of_another_form_hides_no_other() {
        let entries = told(&[line(
            1,
            r#""event":"signed","serial":"01","names":7,"later":{}"#,
        )]);
        let [(entry, json, 1)] = entries.as_slice() else {
            panic!("{entries:?}");
        };
        assert_eq!(
            (&*entry.event, entry.serial.as_deref()),
            ("signed", Some("01"))
        );
        assert_eq!(entry.absent, ["names"]);
        assert_eq!(json["names"], 7);
    }

    #[test]
    fn a_field_that_is_missing_or_has_another_hash_is_named() {
        let lines = long();
        for (changed, absent) in [(3, "names"), (4, "names"), (2, "approval")] {
            let mut without = lines.clone();
            without.remove(changed);
            let mut other = lines.clone();
            other[changed] = other[changed].replace("DNS", "DMS").replace("fine", "good");
            for lines in [without, other] {
                let entries = told(&lines);
                let (entry, ..) = &entries[1];
                assert_eq!((entries.len(), &*entry.event), (3, "signing"));
                assert_eq!(entry.absent, [absent], "{changed}");
                assert_eq!(entry.serial.as_deref(), Some("01"));
            }
        }
    }
}
