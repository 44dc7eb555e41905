//! What a comment cites exists: a file of this repository, a section of it, an ADR.

use std::{fs, path::Path};

use crate::source::Source;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The comments of a file, each block of lines as one text, with the number of its first line.
fn comments(text: &str) -> Vec<(usize, String)> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for (number, line) in (1..).zip(text.lines()) {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            open = false;
            continue;
        };
        let comment = comment.trim_start_matches(['/', '!']).trim();
        match blocks.last_mut().filter(|_| open) {
            Some((_, block)) => {
                block.push(' ');
                block.push_str(comment);
            }
            None => blocks.push((number, comment.to_owned())),
        }
        open = true;
    }
    blocks
}

/// Every document that a comment names, with the text that follows its name.
fn documents(comment: &str) -> Vec<(&str, &str)> {
    let of_path = |letter: char| letter.is_ascii_alphanumeric() || "_-./".contains(letter);
    comment
        .match_indices(".md")
        .map(|(at, _)| {
            let end = at + ".md".len();
            let begin = comment[..at]
                .rfind(|letter| !of_path(letter))
                .map_or(0, |before| before + 1);
            (&comment[begin..end], &comment[end..])
        })
        .collect()
}

/// Why this citation does not resolve.
fn broken(from: &Source, document: &str, after: &str) -> Option<String> {
    let folder = Path::new(ROOT).join(&from.path);
    let beside = folder.parent()?.join(document);
    let text =
        fs::read_to_string(Path::new(ROOT).join(document)).or_else(|_| fs::read_to_string(beside));
    let Ok(text) = text else {
        return Some("no such file".to_owned());
    };
    let after = after.trim_start_matches(['`', ')']);
    if after
        .trim_start()
        .starts_with(|letter: char| letter.is_ascii_digit())
    {
        return Some("cite a section by its heading".to_owned());
    }
    let section = after.strip_prefix(", \"")?.split('"').next()?;
    let exists = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| line.trim_start_matches('#').trim() == section);
    (!exists).then(|| format!("no section {section:?}"))
}

#[test]
fn every_document_that_a_comment_cites_exists_with_its_section() {
    let mut wrong = Vec::new();
    let mut sections = 0;
    for source in Source::below(&["src", "hsm", "tests", "benches"]) {
        for (number, comment) in comments(&source.text) {
            for (document, after) in documents(&comment) {
                sections += usize::from(after.starts_with(", \""));
                if let Some(reason) = broken(&source, document, after) {
                    wrong.push(format!("{}:{number}: {document}: {reason}", source.path));
                }
            }
        }
    }
    assert!(sections > 5, "only {sections} sections are cited");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_decision_that_a_comment_cites_is_recorded() {
    let records: Vec<String> = fs::read_dir(Path::new(ROOT).join("docs/adr"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let mut wrong = Vec::new();
    for source in Source::below(&["src", "hsm", "tests", "benches"]) {
        for (number, comment) in comments(&source.text) {
            for (at, _) in comment.match_indices("ADR ") {
                let digits = comment[at + 4..].chars().take_while(char::is_ascii_digit);
                let record = digits
                    .collect::<String>()
                    .parse::<u16>()
                    .unwrap_or_default();
                let named = format!("{record:04}-");
                if !records.iter().any(|file| file.starts_with(&named)) {
                    wrong.push(format!("{}:{number}: ADR {record}", source.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
