//! Finds this workspace's programs and C libraries, from a test of any of its packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use parking_lot::Mutex;

use crate::Error;

static BUILDING: Mutex<()> = Mutex::new(());

/// Returns the path of program `name` of workspace package `package`.
///
/// A program that was built with the same profile is in the parent of the running test's directory
/// (`cargo test --workspace` builds every program). If it is not there, cargo builds it, once. The variable
/// `SOFTHSM_TEST_PROGRAMS` names a directory to search instead.
///
/// # Errors
/// [`Error::Program`] when the program is neither found nor can be built.
pub fn program(package: &str, name: &str) -> Result<PathBuf, Error> {
    built(package, name, &["--bin", name])
}

/// Returns the path of C library `name` of workspace package `package`, searched for as in [`program`]. If the test's
/// package depends on the library, it is in the running test's own directory.
///
/// # Errors
/// [`Error::Program`] when the library is neither found nor can be built.
pub(crate) fn library(package: &str, name: &str) -> Result<PathBuf, Error> {
    built(package, name, &["--lib"])
}

fn built(package: &str, name: &str, target: &[&str]) -> Result<PathBuf, Error> {
    let missing = || Error::Program {
        program: name.into(),
        package: package.into(),
    };
    if let Some(directory) = env::var_os("SOFTHSM_TEST_PROGRAMS") {
        return existing(Path::new(&directory), name).ok_or_else(missing);
    }
    // target/debug/deps/it-0123 or target/debug/pkcs11-issuer
    let running = env::current_exe().map_err(|_| missing())?;
    let ancestors: Vec<_> = running.ancestors().skip(1).take(2).collect();
    let _one_at_a_time = BUILDING.lock();
    if let Some(found) = ancestors
        .iter()
        .find_map(|directory| existing(directory, name))
    {
        return Ok(found);
    }
    // Doc tests run from a temporary directory, but cargo's messages tell where the file is.
    let release = ancestors
        .iter()
        .any(|directory| directory.ends_with("release"));
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(env!("CARGO_MANIFEST_DIR"));
    build.args([
        "build",
        "--quiet",
        "--message-format=json-render-diagnostics",
        "-p",
        package,
    ]);
    build.args(target);
    if release {
        build.arg("--release");
    }
    let output = build.output().map_err(|_| missing())?;
    let lines = String::from_utf8_lossy(&output.stdout);
    let mut files = lines.lines().flat_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
        let files = message.get("filenames").and_then(|files| files.as_array());
        let paths = files.into_iter().flatten().filter_map(|file| file.as_str());
        paths.map(PathBuf::from).collect::<Vec<_>>()
    });
    files.find(|path| path.ends_with(name)).ok_or_else(missing)
}

fn existing(directory: &Path, name: &str) -> Option<PathBuf> {
    let path = directory.join(name);
    path.is_file().then_some(path)
}
