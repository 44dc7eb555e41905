//! One name means one thing: no two public types share a name, tests apart.

use std::collections::BTreeMap;

use proc_macro2::TokenTree;

use crate::source::Source;

/// Where the types of the product are declared.
const PRODUCT: &[&str] = &["src", "hsm/src", "hsm/two-calls/src", "hsm/worker/src"];

/// A type as it is stored in Kubernetes or sent to the worker, and the type that it is checked into, share a name: they
/// are two forms of one thing.
const FORMS: &[&str] = &["src/api", "hsm/src/protocol"];

/// Names with two meanings, and why they stay.
const EXCEPTIONS: &[(&str, &str)] = &[
    (
        "Fault",
        "both answer who has to act: of a call to the worker, and of a request",
    ),
    (
        "Token",
        "both are one token: as the worker has it in its slot, and as the controller reaches it",
    ),
];

/// The public types that a file declares.
fn declared(source: &Source) -> Vec<String> {
    let tokens: Vec<TokenTree> = source.tokens_outside_tests().into_iter().collect();
    let mut found = Vec::new();
    for window in tokens.windows(4) {
        let word = |index: usize| match &window[index] {
            TokenTree::Ident(word) => Some(word.to_string()),
            TokenTree::Group(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => None,
        };
        let is_type = |index| {
            word(index)
                .is_some_and(|word| ["struct", "enum", "trait", "type"].contains(&word.as_str()))
        };
        if word(0).as_deref() == Some("pub") {
            // `pub struct Name` or `pub(…) struct Name`.
            let name = if is_type(1) {
                word(2)
            } else if is_type(2) {
                word(3)
            } else {
                None
            };
            found.extend(name);
        }
    }
    found
}

#[test]
fn a_public_type_name_means_one_thing() {
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for source in Source::below(PRODUCT) {
        if FORMS.iter().any(|form| source.path.starts_with(form)) {
            continue;
        }
        for name in declared(&source) {
            places.entry(name).or_default().push(source.path.clone());
        }
    }
    assert!(places.len() > 200, "{} types", places.len());
    let twice: Vec<_> = places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .collect();
    for (name, reason) in EXCEPTIONS {
        let needed = twice.iter().any(|(twice, _)| twice == name);
        assert!(needed, "{name} needs no exception: {reason}");
    }
    let wrong: Vec<_> = twice
        .into_iter()
        .filter(|(name, _)| !EXCEPTIONS.iter().any(|(exception, _)| exception == name))
        .map(|(name, places)| format!("{name}: {}", places.join(" and ")))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
