//! Tests that the page about the examples lists each example, and that a test uses each example.

use std::fs;

use anyhow::Result;

use super::{files, path};
use crate::source::Source;

/// Returns the rows of the page's table: the file and the tests that the row names.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let rows = page.lines().filter(|line| line.starts_with("| [`"));
    let quoted = |line| str::split(line, '`').skip(1).step_by(2);
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').collect();
        assert_eq!(cells.len(), 4, "{line}");
        let file = quoted(cells[0]).next().unwrap_or_default();
        (file, quoted(cells[3]).collect())
    })
    .collect()
}

#[test]
fn every_example_is_on_the_page_with_existing_tests_and_is_applied_by_one() -> Result<()> {
    let page = fs::read_to_string(path().join("README.md"))?;
    let rows = rows(&page);
    let listed: Vec<_> = rows.iter().map(|(file, _)| *file).collect();
    let mut sorted = listed.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, files()?);

    let sources = Source::below(&["tests/it"]);
    let somewhere = |text: &str| sources.iter().any(|source| source.text.contains(text));
    for (file, tests) in rows {
        assert!(!tests.is_empty(), "{file}");
        for test in tests {
            assert!(somewhere(&format!("fn {test}()")), "{file}: {test}");
        }
        let named =
            somewhere(&format!("\"{file}\"")) || somewhere(&format!("docs/examples/{file}\""));
        assert!(named, "{file}: no test applies this example");
    }
    Ok(())
}
