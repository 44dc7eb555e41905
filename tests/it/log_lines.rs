//! Tests that the reference of the log has every line about a request, with its levels, and no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context as _, Result, bail};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::source::Source;

/// Levels by message.
type Lines = BTreeMap<String, BTreeSet<String>>;

/// Collects the messages of `log_request!(level, …, "message")` above debug, wherever they are.
fn collect(tokens: TokenStream, lines: &mut Lines) -> Result<()> {
    let tokens: Vec<_> = tokens.into_iter().collect();
    for token in &tokens {
        if let TokenTree::Group(group) = token {
            collect(group.stream(), lines)?;
        }
    }
    for window in tokens.windows(3) {
        let [
            TokenTree::Ident(name),
            TokenTree::Punct(_),
            TokenTree::Group(group),
        ] = window
        else {
            continue;
        };
        if name != "log_request" || group.delimiter() != Delimiter::Parenthesis {
            continue;
        }
        let inside: Vec<_> = group.stream().into_iter().collect();
        let mut words = inside.iter().map(ToString::to_string);
        let level = words.find(|word| word != "seldom").unwrap_or_default();
        let Some(TokenTree::Literal(message)) = inside.last() else {
            bail!("no message at the end: {group}");
        };
        if level != "debug" {
            let message = message.to_string().trim_matches('"').to_owned();
            let levels = lines.entry(message).or_default();
            levels.insert(level.to_uppercase());
        }
    }
    Ok(())
}

/// Returns the rows of the table of lines about a request.
fn documented() -> Result<Lines> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/logs.md");
    let text = fs::read_to_string(path)?;
    let (_, below) = text
        .split_once("A request has these lines")
        .context("no table")?;
    let rows = below
        .lines()
        .skip_while(|line| !line.starts_with("| `"))
        .take_while(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let message = cells.next()?.trim_matches('`').to_owned();
        let levels = cells.next()?.split(", ").map(str::to_owned).collect();
        Some((message, levels))
    };
    rows.map(|line| row(line).with_context(|| line.to_owned()))
        .collect()
}

#[test]
fn the_page_has_every_line_about_a_request_with_its_levels() -> Result<()> {
    let mut lines = Lines::new();
    for source in Source::below(&["src"]) {
        // The definition of the macro.
        if source.path != "src/reconcile/request/log.rs" {
            collect(source.tokens_outside_tests(), &mut lines)?;
        }
    }
    assert_eq!(documented()?, lines);
    Ok(())
}
