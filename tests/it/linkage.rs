//! The controller parses hostile input, so the shipped program must not be able to load a PKCS#11 library. Only the ceremony can
//! write to a token.
//!
//! This test reads the built file, because `cargo tree` does not see the features that a build of the whole workspace
//! unifies.

use std::{env, fs, path::PathBuf, process::Command};

use softhsm_test_helpers::program::program;

/// The function that every PKCS#11 library exports (PKCS#11 3.1, section 5.4), and the crate that calls it.
const MARKS: [&str; 2] = ["C_GetFunctionList", "cryptoki"];

/// Texts of our own code that writes to a token: a line of the transcript, and an error of `C_CreateObject`'s caller. The name of
/// a function is no mark, because `cryptoki` has the names of all functions in its errors.
const WRITES: [&str; 2] = ["key-generating", "store a certificate on the token"];

/// Builds the programs of the image together, as they are shipped, and returns their folder.
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

#[test]
#[ignore = "builds the release programs, which takes minutes the first time; `make test` runs it"]
fn only_the_ceremony_can_write_to_a_token() {
    let folder = release();
    // Every build of the ceremony has the marks, and that for tests needs no link-time optimisation, which takes minutes.
    let ceremony = program("pkcs11-ceremony", "pkcs11-ceremony").unwrap();
    let ceremony = fs::read(ceremony).unwrap();
    for mark in WRITES {
        assert!(
            contains(&ceremony, mark),
            "the ceremony does not contain {mark:?}, so this test could not find it elsewhere"
        );
        for name in ["pkcs11-issuer", "pkcs11-hsm-worker"] {
            let other = fs::read(folder.join(name)).unwrap();
            assert!(!contains(&other, mark), "{name} contains {mark:?}");
        }
    }
}
