//! The controller parses hostile input, so the shipped program must not be able to load a PKCS#11 library.
//!
//! This test reads the built file, because `cargo tree` does not see the features that a build of the whole workspace
//! unifies.

use std::{env, fs, path::PathBuf, process::Command};

/// The function that every PKCS#11 library exports (PKCS#11 3.1, section 5.4), and the crate that calls it.
const MARKS: [&str; 2] = ["C_GetFunctionList", "cryptoki"];

/// Builds the release programs together, as they are shipped, and returns their folder.
fn release() -> PathBuf {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "pkcs11-issuer",
            "--package",
            "pkcs11-hsm-worker",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .unwrap();
    assert!(build.success(), "the release build failed");
    // …/debug/pkcs11-issuer → …/release
    let debug = PathBuf::from(env!("CARGO_BIN_EXE_pkcs11-issuer"));
    debug
        .parent()
        .and_then(|folder| folder.parent())
        .unwrap()
        .join("release")
}

fn contains(octets: &[u8], mark: &str) -> bool {
    octets
        .windows(mark.len())
        .any(|window| window == mark.as_bytes())
}

#[test]
#[ignore = "builds the release programs, which takes minutes the first time; `make test` runs it"]
fn the_controller_cannot_load_a_pkcs11_library() {
    let folder = release();
    let controller = fs::read(folder.join("pkcs11-issuer")).unwrap();
    let worker = fs::read(folder.join("pkcs11-hsm-worker")).unwrap();
    for mark in MARKS {
        assert!(
            !contains(&controller, mark),
            "the controller contains {mark}"
        );
        assert!(
            contains(&worker, mark),
            "the worker does not contain {mark}, so this test could not find it in the controller"
        );
    }
}
