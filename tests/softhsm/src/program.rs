//! Finding this workspace's programs and C libraries from a test of any of its packages.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use crate::Error;

static BUILDING: Mutex<()> = Mutex::new(());

/// The program `name` of workspace package `package`.
///
/// It stands beside the running test's own directory when it was built with the same profile
/// (`cargo test --workspace` builds every program); else cargo builds it, once. The variable
/// `SOFTHSM_TEST_PROGRAMS` names a directory to look in instead.
///
/// # Errors
/// [`Error::Program`] when it is neither there nor can be built.
pub fn program(package: &str, name: &str) -> Result<PathBuf, Error> {
    built(package, name, &["--bin", name])
}

/// The C library `name` of workspace package `package`, found as [`program`] is. It stands beside the running test
/// itself when the test's package depends on it.
///
/// # Errors
/// [`Error::Program`] when it is neither there nor can be built.
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
    let _one_at_a_time = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = ancestors
        .iter()
        .find_map(|directory| existing(directory, name))
    {
        return Ok(found);
    }
    // Doc tests run from a temporary directory; cargo then says where it has put the file.
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
