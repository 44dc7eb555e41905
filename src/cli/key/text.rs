//! What commands about keys print for people. Texts of tokens are escaped.

use std::ops::Range;

use anstyle::Style;

use super::record::{KeyRecord, KeysRecord, MayHaveCopies, OnToken};
use crate::{
    cli::output::{BAD, WARN, fields, headed, place, styled},
    message::shown,
};

/// Returns a line for each key, and one for each certificate without a key.
pub(super) fn list(record: &KeysRecord) -> String {
    let mut rows = Vec::new();
    for key in &record.keys {
        let subjects = key.certificates.iter().map(subject).collect::<Vec<_>>();
        let first = match (key.copies, key.unusable) {
            (None, Some(why)) => why,
            (None, None) => "-",
            (Some(copies), _) => short(copies),
        };
        rows.push([
            shown(key.name()),
            shown(kind(key)),
            first.to_owned(),
            shown(match subjects.is_empty() {
                true => "-".to_owned(),
                false => subjects.join(", "),
            }),
        ]);
    }
    let text = headed(["KEY", "TYPE", "COPIES", "CERTIFICATE"], rows);
    let mut text = styled(&text, copied);
    if !record.other_certificates.is_empty() {
        let head = ["CERTIFICATE WITHOUT A KEY", "LABEL", "ID", "ENDS"];
        let rows = record.other_certificates.iter().map(|one| {
            [
                shown(subject(one)),
                shown(&one.label),
                one.id.clone(),
                one.not_after.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        });
        text += "\n";
        text += &headed(head, rows.collect());
    }
    text
}

/// Returns where a line says that copies may exist, with the style for it. In a narrow cell, only the first words are on the line.
fn copied(line: &str) -> Option<(Range<usize>, Style)> {
    let all = [
        (MayHaveCopies::Readable, BAD),
        (MayHaveCopies::Extractable, BAD),
        (MayHaveCopies::Possible, WARN),
    ];
    let mut all = all.into_iter();
    all.find_map(|(copies, style)| {
        let words = short(copies);
        let second_blank = words.match_indices(' ').nth(1);
        let first = second_blank.and_then(|(end, _)| words.get(..end));
        Some((place(line, &[words, first.unwrap_or(words)])?, style))
    })
}

/// Returns everything about one key, a line for each thing.
pub(super) fn show(key: &KeyRecord) -> String {
    let mut lines = vec![
        ("URI", key.uri.clone().unwrap_or_else(|| "-".to_owned())),
        ("label", key.label.clone()),
        ("id", key.id.clone()),
        ("type", kind(key)),
        (
            "use",
            match key.unusable {
                None => "this program can sign with it".to_owned(),
                Some(why) => format!("this program cannot sign with it: {why}"),
            },
        ),
    ];
    if let Some(copies) = key.copies {
        lines.push(("copies", long(copies).to_owned()));
        lines.extend(attributes(key));
        if !key.allowed_mechanisms.is_empty() {
            let allowed = key.allowed_mechanisms.join(", ");
            lines.push(("CKA_ALLOWED_MECHANISMS", allowed));
        }
        lines.push((
            "mechanisms",
            match key.mechanisms.is_empty() {
                true => "the token claims none that this program uses".to_owned(),
                false => key.mechanisms.join(", "),
            },
        ));
    }
    for one in &key.certificates {
        let end = one.not_after.as_deref().unwrap_or("unknown");
        let bond = match one.by_id_only {
            true => ", by its CKA_ID only",
            false => "",
        };
        let sha256 = one.sha256.as_deref().unwrap_or("unknown");
        let text = format!("{}, ends {end}, SHA-256 {sha256}{bond}", subject(one));
        lines.push(("certificate", text));
    }
    fields(lines)
}

/// Returns each attribute with its value and what it means.
fn attributes(key: &KeyRecord) -> Vec<(&'static str, String)> {
    let all = key.attributes;
    let rows = [
        (
            "CKA_SENSITIVE",
            all.sensitive,
            "it cannot be read in plain text",
            "whoever logs in can read it in plain text",
        ),
        (
            "CKA_ALWAYS_SENSITIVE",
            all.always_sensitive,
            "it could never be read in plain text",
            "it could be read in plain text once, or came from outside",
        ),
        (
            "CKA_EXTRACTABLE",
            all.extractable,
            "it can leave the token, wrapped by another key",
            "it cannot leave the token",
        ),
        (
            "CKA_NEVER_EXTRACTABLE",
            all.never_extractable,
            "it could never leave the token",
            "it could leave the token once, or came from outside",
        ),
        (
            "CKA_LOCAL",
            all.local,
            "it was made on this token",
            "it came from outside, or the library does not tell",
        ),
        (
            "CKA_MODIFIABLE",
            all.modifiable,
            "its attributes can be changed",
            "its attributes cannot be changed",
        ),
        (
            "CKA_ALWAYS_AUTHENTICATE",
            all.always_authenticate,
            "each signature wants the PIN, which an issuer cannot give",
            "one login is enough for all signatures",
        ),
        ("CKA_SIGN", all.sign, "it may sign", "it may not sign"),
    ];
    let rows = rows.into_iter().map(|(name, value, yes, no)| {
        let text = match value {
            Some(true) => format!("true: {yes}"),
            Some(false) => format!("false: {no}"),
            None => "the token does not tell".to_owned(),
        };
        (name, text)
    });
    rows.collect()
}

const fn short(copies: MayHaveCopies) -> &'static str {
    match copies {
        MayHaveCopies::Readable => "readable in plain text",
        MayHaveCopies::Extractable => "can be copied: extractable",
        MayHaveCopies::Possible => "could have been copied",
        MayHaveCopies::Unknown => "the token does not tell",
        MayHaveCopies::None => "none",
    }
}

const fn long(copies: MayHaveCopies) -> &'static str {
    match copies {
        MayHaveCopies::Readable => "may exist: the key can be read in plain text; make a new one",
        MayHaveCopies::Extractable => {
            "may exist: the key could have been copied, because it is extractable; make a new one"
        }
        MayHaveCopies::Possible => {
            "may exist: the key could have been copied, because it was extractable once or came from outside"
        }
        MayHaveCopies::Unknown => "unknown: the token does not tell enough",
        MayHaveCopies::None => {
            "none, as the token says: the key was made on it and could never leave it"
        }
    }
}

fn kind(key: &KeyRecord) -> String {
    key.kind.clone().unwrap_or_else(|| "unknown".to_owned())
}

fn subject(one: &OnToken) -> String {
    match &one.subject {
        Some(subject) if subject.is_empty() => "(no subject)".to_owned(),
        Some(subject) => subject.clone(),
        None => "(not readable)".to_owned(),
    }
}
