//! Rules of this house that no lint knows.

use crate::source::Source;

/// Where our Rust lies.
const EVERYWHERE: &[&str] = &["src", "hsm", "tests"];

/// Longer than this is two files, tables excepted.
const LINES: usize = 400;

/// Tables: one rule or one code a line, which nobody reads from the top.
const TABLES: &[&str] = &[];

/// PKCS#11 functions that destroy or change a token, as `cryptoki` and the C header call them.
const DESTROYING: &[&str] = &[
    "destroy_object",
    "C_DestroyObject",
    "init_token",
    "C_InitToken",
    "init_pin",
    "C_InitPIN",
    "set_pin",
    "C_SetPIN",
];

fn assert_none(wrong: Vec<String>) {
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_what_it_is() {
    let wrong = Source::below(EVERYWHERE)
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "));
    assert_none(
        wrong
            .map(|source| format!("{}: open with a `//!` sentence", source.path))
            .collect(),
    );
}

#[test]
fn no_file_is_longer_than_one_sitting() {
    let too_long = |source: &Source| {
        source.text.lines().count() > LINES && !TABLES.contains(&source.path.as_str())
    };
    let wrong = Source::below(EVERYWHERE).into_iter().filter(too_long);
    assert_none(
        wrong
            .map(|source| format!("{}: split it, {LINES} lines are the most", source.path))
            .collect(),
    );
}

#[test]
fn no_file_is_called_mod_rs() {
    let wrong = Source::below(EVERYWHERE)
        .into_iter()
        .filter(|source| source.path.ends_with("/mod.rs"));
    assert_none(
        wrong
            .map(|source| format!("{}: call it as its folder", source.path))
            .collect(),
    );
}

#[test]
fn nothing_is_left_for_later() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let mut wrong = Vec::new();
    for source in Source::below(EVERYWHERE) {
        for (number, line) in (1..).zip(source.text.lines()) {
            if line
                .split(|letter: char| !letter.is_alphanumeric())
                .any(|word| marks.contains(&word))
            {
                wrong.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
        for path in source.paths() {
            if let Some(name) = path
                .last()
                .filter(|name| ["todo", "dbg", "unimplemented"].contains(&name.as_str()))
            {
                wrong.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert_none(wrong);
}

#[test]
fn no_call_destroys_or_changes_a_token() {
    let mut wrong = Vec::new();
    for source in Source::below(&["src", "hsm/src", "hsm/worker/src"]) {
        for path in source.paths() {
            if let Some(name) = path.iter().find(|name| DESTROYING.contains(&name.as_str())) {
                wrong.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert_none(wrong);
}

/// Without this, a rule over an empty list would always hold.
#[test]
fn the_rules_see_every_part_of_the_checkout() {
    let all = Source::below(EVERYWHERE);
    for part in [
        "src/main.rs",
        "hsm/src/lib.rs",
        "hsm/worker/src/main.rs",
        "tests/it/main.rs",
    ] {
        assert!(all.iter().any(|source| source.path == part), "{part}");
    }
}
