//! Broken configurations and libraries.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use super::{Row, done, each_is_named_first};
use crate::{doctor::Reported, sign::case::Case};

/// Names a file in the case's folder as the library.
fn load(case: &mut Case, name: &str, octets: &[u8]) -> Result<Vec<String>> {
    let path = case.write(name, octets)?;
    case.configuration["modules"]["softhsm"] = json!({"path": path});
    done()
}

/// Returns SoftHSM's library with a text in it replaced by another one of the same length.
fn changed(case: &Case, from: &[u8], to: &[u8]) -> Result<Vec<u8>> {
    ensure!(from.len() == to.len(), "the library would be moved");
    let mut octets = fs::read(case.authority.token().module())?;
    let windows = octets.windows(from.len()).enumerate();
    let places: Vec<_> = windows
        .filter_map(|(place, window)| (window == from).then_some(place))
        .collect();
    ensure!(!places.is_empty(), "{} is not in it", from.escape_ascii());
    for place in places {
        octets[place..place + to.len()].copy_from_slice(to);
    }
    Ok(octets)
}

/// Returns the file of the C library that this process has loaded.
fn c_library() -> Result<PathBuf> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let files = maps
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let mut libraries = files.filter(|file| file.contains("/libc.so") || file.contains("/libc-"));
    Ok(libraries.next().context("no C library")?.into())
}

const ROWS: &[Row] = &[
    ("config-readable", |_| {
        Ok(vec!["--config".to_owned(), "gone.yaml".to_owned()])
    }),
    ("config-valid", |case| {
        case.configuration["more"] = json!(1);
        done()
    }),
    ("worker-present", |_| {
        Ok(vec!["--worker".to_owned(), "/gone".to_owned()])
    }),
    ("sidecar-reachable", |case| {
        case.configuration["modules"]["softhsm"] = json!({"socket": "/gone.sock"});
        done()
    }),
    ("library-present", |case| {
        case.configuration["modules"]["softhsm"] = json!({"path": "/gone.so"});
        done()
    }),
    ("library-architecture", |case| {
        load(case, "script.so", b"#!/bin/sh\n")
    }),
    ("library-dependencies", |case| {
        let octets = changed(case, b"libcrypto.so.", b"libgone12.so.")?;
        load(case, "needs.so", &octets)
    }),
    ("library-glibc", |case| {
        let octets = changed(case, b"GLIBC_2.", b"GLIBC_9.")?;
        load(case, "newer.so", &octets)
    }),
    ("library-loads", |case| {
        case.configuration["modules"]["softhsm"] = json!({"path": c_library()?});
        done()
    }),
    ("library-initializes", |case| {
        case.library.rules("C_Initialize rv=CKR_DEVICE_ERROR")?;
        done()
    }),
    ("library-answers", |case| {
        case.token()["hangAfter"] = json!("1s");
        case.library.rules("C_GetSlotList hang")?;
        done()
    }),
];

#[test]
fn each_broken_configuration_or_library_is_named_first() -> Result<()> {
    each_is_named_first(ROWS)
}

#[test]
fn the_missing_dependency_and_the_version_of_glibc_are_named() -> Result<()> {
    for (from, to, name) in [
        (
            &b"libcrypto.so."[..],
            &b"libgone12.so."[..],
            "libgone12.so.",
        ),
        (b"GLIBC_2.", b"GLIBC_9.", "GLIBC_9."),
    ] {
        let mut case = Case::new()?;
        let octets = changed(&case, from, to)?;
        load(&mut case, "broken.so", &octets)?;
        let reported = Reported::on(&case, &["--only", "library"])?;
        let message = reported.first().context("nothing is wrong")?["message"].to_string();
        assert!(message.contains(name), "{message}");
    }
    Ok(())
}
