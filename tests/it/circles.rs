//! No part of a folder of a shipped program depends on itself, directly or indirectly.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, paths_in};

/// The other parts of its folder that each part names: a file with the folder of its submodules is one part. References
/// between a module and its own submodules are left out.
type Names = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

fn segments(path: &str) -> Vec<String> {
    path.split("::").map(str::to_owned).collect()
}

/// The sources of the packages that are shipped.
const PACKAGES: [&str; 4] = ["src", "hsm/src", "hsm/worker/src", "hsm/ceremony/src"];

/// Returns the module of a file of a package, which is empty for the root of the package.
fn module(package: &str, path: &str) -> Vec<String> {
    let path = path.strip_prefix(package).unwrap_or(path);
    let path = path.trim_start_matches('/');
    let path = path.strip_suffix(".rs").unwrap_or(path);
    match path {
        "lib" | "main" => Vec::new(),
        _ => path.split('/').map(str::to_owned).collect(),
    }
}

/// Returns a path from the root of the package, if it is relative to the root or to the module that names it.
fn absolute(module: &[String], path: &[String]) -> Option<Vec<String>> {
    let first = path.first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.get(..module.len().checked_sub(1)?)?.to_vec(),
        _ => return None,
    };
    for segment in path.get(1..)? {
        match segment.as_str() {
            "super" => drop(base.pop()),
            _ => base.push(segment.clone()),
        }
    }
    Some(base)
}

fn names(files: &[(Vec<String>, Vec<Vec<String>>)]) -> Names {
    let modules: BTreeSet<&Vec<String>> = files.iter().map(|(module, _)| module).collect();
    let mut names = Names::new();
    for (module, paths) in files {
        for path in paths {
            let Some(path) = absolute(module, path) else {
                continue;
            };
            // The innermost module in the path contains the named item.
            let inner = (1..=path.len())
                .rev()
                .filter_map(|length| path.get(..length));
            let Some(other) = inner
                .map(<[String]>::to_vec)
                .find(|part| modules.contains(part))
            else {
                continue;
            };
            let shared = module
                .iter()
                .zip(&other)
                .take_while(|(a, b)| a == b)
                .count();
            if let (Some(part), Some(other)) = (module.get(..=shared), other.get(..=shared)) {
                let named = names.entry(part.to_vec()).or_default();
                named.insert(other.to_vec());
            }
        }
    }
    names
}

/// Returns the parts on a cycle or between two cycles, by repeatedly removing parts that name no other part or that no other
/// part names.
fn circle(mut names: Names) -> Names {
    loop {
        let before = names.len();
        let there: BTreeSet<_> = names.keys().cloned().collect();
        for named in names.values_mut() {
            named.retain(|other| there.contains(other));
        }
        names.retain(|_, named| !named.is_empty());
        let named: BTreeSet<_> = names.values().flatten().cloned().collect();
        names.retain(|module, _| named.contains(module));
        if names.len() == before {
            return names;
        }
    }
}

fn shown(names: &Names) -> String {
    let lines = names.iter().map(|(module, named)| {
        let named: Vec<_> = named.iter().map(|named| named.join("::")).collect();
        format!("{} names {}", module.join("::"), named.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn names_of(package: &str) -> Names {
    let files: Vec<_> = Source::below(&[package])
        .into_iter()
        .map(|source| (module(package, &source.path), source.paths_outside_tests()))
        .collect();
    assert!(files.len() > 1, "{package} has no sources");
    names(&files)
}

#[test]
fn no_part_of_a_folder_depends_on_itself() {
    for package in PACKAGES {
        let left = circle(names_of(package));
        assert!(left.is_empty(), "a cycle in {package}:\n{}", shown(&left));
    }
}

#[test]
fn the_parts_of_reconcile_know_little_of_each_other() {
    let names = names_of("src");
    let parts = names.iter().filter(|(part, _)| match part.as_slice() {
        [folder, _] => folder == "reconcile",
        _ => false,
    });
    let count: usize = parts.map(|(_, named)| named.len()).sum();
    assert!((10..30).contains(&count), "{count} imports");
}

#[test]
fn an_indirect_cycle_is_found_and_a_parent_is_no_cycle() {
    let file = |module: &str, text: &str| (segments(module), paths_in(text.parse().unwrap()));
    let circle = |files: &[_]| circle(names(files));
    let free = [
        file("a", "mod b; use self::b::B; use crate::c::C;"),
        file("a::b", "use super::A; use super::super::c::C;"),
        file("c", "use std::fmt;"),
    ];
    assert_eq!(circle(&free), Names::new());
    let [a, b, _] = free;
    let from_a_sibling = [
        file("a::b", "use crate::c::C;"),
        file("a::e", "struct E;"),
        file("c", "use crate::a::e::E;"),
    ];
    assert_eq!(circle(&from_a_sibling).len(), 2);
    let back = file("c", "use crate::d::{self, D};");
    let detour = file("d", "fn f() { super::a::b::g() }");
    let found = circle(&[a, b, back, detour]);
    let found: Vec<_> = found.keys().map(|module| module.join("::")).collect();
    assert_eq!(found, ["a", "c", "d"]);
}
