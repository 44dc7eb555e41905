//! Tests the image, and runs the chart's pods in containers of it, exactly as `helm install` leaves them on the API server.
//!
//! `TEST_IMAGE`, `TEST_SOFTHSM_IMAGE` and `TEST_CEREMONY_IMAGE` name the images. `make test` uses images into which
//! tests/setup/docker has put the programs that cargo built; `make image` uses those that are shipped.

mod ceremony;
mod container;
mod daemonset;
mod deployment;
mod families;
mod kubelet;
mod privileges;
mod volumes;

use std::{env, fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use self::container::docker;

/// The greatest allowed size of the unpacked image.
const MOST_OCTETS: u64 = 60_000_000;

/// Returns the image under test.
fn image() -> String {
    env::var("TEST_IMAGE").unwrap_or_else(|_| "pkcs11-issuer:test".to_owned())
}

/// Returns the image with the worker and SoftHSM.
fn softhsm_image() -> String {
    env::var("TEST_SOFTHSM_IMAGE").unwrap_or_else(|_| "pkcs11-issuer-softhsm:test".to_owned())
}

/// Returns an image as the chart's values name it.
fn in_values(image: &str) -> Result<Value> {
    let (repository, tag) = image.rsplit_once(':').context("the image has no tag")?;
    Ok(json!({"repository": repository, "tag": tag}))
}

/// Returns the files of an image as `tar -tv` lists them. Fails if it is too large, or has a shell or anything that gains
/// privileges.
async fn listing(image: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar");
    let path = archive.to_str().context("not UTF-8")?;
    let container = docker(&["create", image, "unused"]).await?;
    let exported = docker(&["export", "--output", path, container.trim()]).await;
    docker(&["rm", container.trim()]).await?;
    exported?;
    let octets = fs::metadata(&archive)?.len();
    ensure!(octets < MOST_OCTETS, "{octets}");
    let listing = Command::new("tar").args(["-tvf", path]).output()?;
    let listing = String::from_utf8(listing.stdout)?;
    for line in listing.lines() {
        let name = line.rsplit('/').next().unwrap_or_default();
        let is_shell = ["sh", "ash", "bash", "dash", "busybox"].contains(&name);
        ensure!(!is_shell, "{line}");
        let mode = line.split(' ').next().unwrap_or_default();
        ensure!(!mode.contains('s'), "{line}");
    }
    Ok(listing)
}

/// Returns whether the listing has a file of `/usr/local`.
fn has(listing: &str, file: &str) -> bool {
    listing.contains(&format!(" usr/local/{file}\n"))
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn the_image_is_below_sixty_megabytes_and_has_no_shell_and_nothing_that_gains_privileges()
-> Result<()> {
    let listing = listing(&image()).await?;
    for file in [
        "bin/pkcs11-issuer",
        "bin/pkcs11-hsm-worker",
        "share/man/man1/pkcs11-issuer-sign.1",
        "share/bash-completion/completions/pkcs11-issuer",
        "share/zsh/site-functions/_pkcs11-issuer",
        "share/fish/vendor_completions.d/pkcs11-issuer.fish",
    ] {
        assert!(has(&listing, file), "{file} is not in the image");
    }
    // Nothing in the cluster can write to a token.
    assert!(!listing.contains("pkcs11-ceremony"), "{listing}");
    Ok(())
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn the_image_has_a_numeric_user_says_what_it_is_and_sets_what_the_tests_set() -> Result<()> {
    let inspected = docker(&["inspect", "--format", "{{json .Config}}", &image()]).await?;
    let config: Value = serde_json::from_str(&inspected)?;
    // Kubelet can see only from a numeric user that it is not root.
    assert_eq!(config["User"], "65532:65532");
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].as_str();
    assert_eq!(label("title"), Some("pkcs11-issuer"));
    assert_eq!(label("licenses"), Some("Apache-2.0"));
    for name in ["description", "source", "version", "revision", "created"] {
        assert!(label(name).is_some(), "{name}");
    }
    let (name, value) = rig::IMAGE_ENV;
    let set = json!(format!("{name}={value}"));
    assert!(
        config["Env"]
            .as_array()
            .is_some_and(|all| all.contains(&set))
    );
    let run = "run --rm --network none --read-only --cap-drop ALL";
    let image = image();
    let run: Vec<_> = run.split(' ').chain([image.as_str(), "version"]).collect();
    let said = docker(&run).await?;
    let version = concat!("pkcs11-issuer ", env!("CARGO_PKG_VERSION"), "\n");
    assert!(said.starts_with(version), "{said}");
    Ok(())
}
