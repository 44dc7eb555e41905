//! Reads the sources of this checkout as tokens, so that comments and strings cannot mislead a rule.

use std::{
    fs,
    path::{Path, PathBuf},
};

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// A Rust file of the checkout.
pub(crate) struct Source {
    /// Its path in the checkout, with `/` between folders.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Returns every Rust file below these folders.
    pub(crate) fn below(folders: &[&str]) -> Vec<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut files = Vec::new();
        for folder in folders {
            collect(&root.join(folder), &mut files);
        }
        files.sort();
        let read = |file: PathBuf| {
            let text = fs::read_to_string(&file).unwrap();
            let path = file
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            Self { path, text }
        };
        files.into_iter().map(read).collect()
    }

    fn tokens(&self) -> TokenStream {
        self.text
            .parse()
            .unwrap_or_else(|error| panic!("{}: {error}", self.path))
    }

    /// Returns every path that the file names, as its segments; `use a::{b, c::d}` names `a::b` and `a::c::d`.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        paths_in(self.tokens())
    }

    /// Returns the same as [`Source::paths`] without the code of tests.
    pub(crate) fn paths_outside_tests(&self) -> Vec<Vec<String>> {
        paths_in(self.tokens_outside_tests())
    }

    /// The tokens of the file, without what only tests have.
    pub(crate) fn tokens_outside_tests(&self) -> TokenStream {
        let mut parts = self.path.split(['/', '.']);
        if parts.any(|part| matches!(part, "tests" | "testing")) {
            return TokenStream::new();
        }
        without_tests(self.tokens())
    }
}

/// Returns every path that a piece of Rust names.
pub(crate) fn paths_in(tokens: TokenStream) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    walk(tokens, &[], &mut found);
    found
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in
        fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
    {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Collects the paths of a stream; `prefix` is the path before the braces of a `use`.
fn walk(tokens: TokenStream, prefix: &[String], found: &mut Vec<Vec<String>>) {
    let mut path = prefix.to_vec();
    let mut joined = true; // whether `::` or nothing precedes the next token
    let mut end = |path: &mut Vec<String>| {
        if path.len() > prefix.len() {
            found.push(std::mem::replace(path, prefix.to_vec()));
        }
    };
    let mut groups: Vec<(Group, Vec<String>)> = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Ident(word) => {
                if !joined {
                    end(&mut path);
                }
                path.push(word.to_string());
                joined = false;
            }
            TokenTree::Punct(mark) if mark.as_char() == ':' => joined = true,
            TokenTree::Group(group)
                if joined && path.len() > prefix.len() && group.delimiter() == Delimiter::Brace =>
            {
                groups.push((group, std::mem::replace(&mut path, prefix.to_vec())));
                joined = true;
            }
            TokenTree::Group(group) => {
                end(&mut path);
                groups.push((group, Vec::new()));
                joined = true;
            }
            TokenTree::Punct(_) | TokenTree::Literal(_) => {
                end(&mut path);
                joined = true;
            }
        }
    }
    end(&mut path);
    for (group, prefix) in groups {
        walk(group.stream(), &prefix, found);
    }
}

/// Returns the stream without the items under `#[cfg(test)]`.
fn without_tests(tokens: TokenStream) -> TokenStream {
    let mut kept: Vec<TokenTree> = Vec::new();
    let mut skipping = false;
    for token in tokens {
        if skipping {
            let ends_item = match &token {
                TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
                TokenTree::Punct(mark) => mark.as_char() == ';',
                TokenTree::Ident(_) | TokenTree::Literal(_) => false,
            };
            skipping = !ends_item;
        } else if matches!(&token, TokenTree::Group(group) if group.stream().to_string().replace(' ', "") == "cfg(test)")
        {
            kept.pop(); // the `#`
            skipping = true;
        } else {
            kept.push(token);
        }
    }
    kept.into_iter().collect()
}

#[test]
fn all_paths_of_a_use_are_found() {
    let text = "use a::{b, c::{d, e as f}}; fn g() { h::i::<j::K>(l); } // m::n\n const O: &str = \"p::q\";";
    let paths: Vec<String> = paths_in(text.parse().unwrap())
        .iter()
        .map(|path| path.join("::"))
        .collect();
    for expected in ["a::b", "a::c::d", "a::c::e", "h::i", "j::K"] {
        assert!(
            paths.iter().any(|path| path == expected),
            "{expected} is not in {paths:?}"
        );
    }
    assert!(
        !paths
            .iter()
            .any(|path| path.contains("m") || path.contains("q")),
        "{paths:?}"
    );
}

#[test]
fn code_of_tests_is_left_out() {
    let text = "use a::b; #[cfg(test)] mod tests { use c::d; } #[cfg(test)] mod testing; use e::f;";
    let paths = paths_in(without_tests(text.parse().unwrap()));
    let paths: Vec<String> = paths.iter().map(|path| path.join("::")).collect();
    assert!(
        paths.contains(&"a::b".to_owned()) && paths.contains(&"e::f".to_owned()),
        "{paths:?}"
    );
    assert!(
        !paths
            .iter()
            .any(|path| path.contains("c::d") || path.contains("testing")),
        "{paths:?}"
    );
}
