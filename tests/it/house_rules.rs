//! Rules of this project that no lint checks.

use crate::source::Source;

/// The folders with our Rust code.
const EVERYWHERE: &[&str] = &["src", "hsm", "tests"];

/// The greatest number of lines in a file that is not a table. Unit tests are not counted.
const LINES: usize = 400;

/// Files that are tables, with one entry per line, and may be longer.
const TABLES: &[&str] = &[];

/// PKCS#11 functions that destroy or change a token, by their names in `cryptoki` and in the C header.
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
fn every_file_begins_with_a_sentence_about_it() {
    let wrong = Source::below(EVERYWHERE)
        .into_iter()
        .filter(|source| !source.text.starts_with("//! "));
    assert_none(
        wrong
            .map(|source| format!("{}: begin with a `//!` sentence", source.path))
            .collect(),
    );
}

/// Returns the number of lines without unit tests.
fn lines_of_code(source: &Source) -> usize {
    let tests_alone = ["/tests.rs", "/testing.rs"]
        .iter()
        .any(|name| source.path.ends_with(name));
    if tests_alone {
        0
    } else {
        source
            .text
            .lines()
            .take_while(|line| *line != "#[cfg(test)]")
            .count()
    }
}

#[test]
fn no_file_is_too_long() {
    let too_long =
        |source: &Source| lines_of_code(source) > LINES && !TABLES.contains(&source.path.as_str());
    let wrong = Source::below(EVERYWHERE).into_iter().filter(too_long);
    let text = |source: Source| {
        format!(
            "{} has {} lines: split it",
            source.path,
            lines_of_code(&source)
        )
    };
    assert_none(wrong.map(text).collect());
}

#[test]
fn no_file_is_called_mod_rs() {
    let wrong = Source::below(EVERYWHERE)
        .into_iter()
        .filter(|source| source.path.ends_with("/mod.rs"));
    assert_none(
        wrong
            .map(|source| format!("{}: give it the name of its folder", source.path))
            .collect(),
    );
}

#[test]
fn no_unfinished_code_is_left() {
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
    for source in Source::below(&["src", "hsm/src", "hsm/two-calls/src", "hsm/worker/src"]) {
        for path in source.paths() {
            if let Some(name) = path.iter().find(|name| DESTROYING.contains(&name.as_str())) {
                wrong.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert_none(wrong);
}

/// The places with `unsafe` code: two PKCS#11 functions that `cryptoki` does not call in this way, and the libraries for
/// tests.
const UNSAFE: &[&str] = &["hsm/two-calls/src/", "tests/shim/src/", "tests/kryoptic/"];

#[test]
fn unsafe_code_is_in_three_places_only() {
    let has_unsafe = |source: &Source| {
        let words = source.paths().into_iter().flatten();
        words.into_iter().any(|word| word == "unsafe")
    };
    let allowed = |source: &Source| UNSAFE.iter().any(|place| source.path.starts_with(place));
    let (expected, others): (Vec<_>, Vec<_>) = Source::below(EVERYWHERE)
        .into_iter()
        .filter(has_unsafe)
        .partition(allowed);
    for place in UNSAFE {
        let used = expected.iter().any(|source| source.path.starts_with(place));
        assert!(used, "{place} needs no exception");
    }
    assert_none(others.into_iter().map(|source| source.path).collect());
}

/// Makes sure that the rules do not hold only because a list of files is empty.
#[test]
fn the_rules_cover_every_part_of_the_checkout() {
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

#[test]
fn every_test_that_the_documents_name_exists() {
    let pages: String = ["architecture.md", "ceremony.md", "reference/x509.md"]
        .map(|page| {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/");
            std::fs::read_to_string(folder.to_owned() + page).unwrap()
        })
        .concat();
    let named = pages
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.matches('_').count() >= 3 && !name.contains(['-', '/']));
    let sources = Source::below(EVERYWHERE);
    let exists = |name: &str| {
        sources
            .iter()
            .any(|source| source.text.contains(&format!("fn {name}()")))
    };
    let named: Vec<&str> = named
        .filter(|name| !name.starts_with("pkcs11_issuer_"))
        .collect();
    assert!(named.len() > 15, "{named:?}");
    assert_none(
        named
            .into_iter()
            .filter(|name| !exists(name))
            .map(str::to_owned)
            .collect(),
    );
}

/// Whether the tests exist is checked above.
#[test]
fn every_claim_about_a_key_ceremony_names_a_test() {
    let page = include_str!("../../docs/ceremony.md");
    let (_, section) = page.split_once("\n| claim | test |\n|---|---|\n").unwrap();
    let claims: Vec<_> = section
        .lines()
        .map_while(|line| {
            line.strip_prefix("| ")?
                .strip_suffix(" |")?
                .split_once(" | ")
        })
        .collect();
    assert!(claims.len() > 15, "{claims:?}");
    let names_tests = |tests: &str| {
        let mut words = tests.split(' ');
        words.all(|word| word.starts_with('`') && word.ends_with('`') && word.contains('_'))
    };
    assert_none(
        claims
            .into_iter()
            .filter(|(_, tests)| !names_tests(tests))
            .map(|(claim, _)| claim.to_owned())
            .collect(),
    );
}
