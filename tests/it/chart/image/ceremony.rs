//! The image of the key ceremony: what is in it, and a ceremony on a token of SoftHSM.

use std::{env, fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use softhsm_test_helpers::{Store, program::program};

use super::{container::docker, has, listing, softhsm_image};

/// Returns the image under test.
fn ceremony_image() -> String {
    env::var("TEST_CEREMONY_IMAGE").unwrap_or_else(|_| "pkcs11-ceremony:test".to_owned())
}

/// A plan with one audit key.
const PLAN: &str = "\
tool: VERSION
ceremony: image
token: {label: ceremony, serial: 'SERIAL'}
steps:
  - audit-key: {name: audit, algorithm: Ed25519, label: audit}
";

/// The files of the ceremony, beside each other.
const FILES: [&str; 6] = [
    "--plan",
    "plan.yaml",
    "--approvers",
    "approvers.yaml",
    "--out",
    "out",
];

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn the_image_of_the_ceremony_has_its_program_its_manual_and_no_controller() -> Result<()> {
    let listing = listing(&ceremony_image()).await?;
    for file in [
        "bin/pkcs11-ceremony",
        "share/man/man1/pkcs11-ceremony-execute.1",
        "share/bash-completion/completions/pkcs11-ceremony",
        "share/zsh/site-functions/_pkcs11-ceremony",
        "share/fish/vendor_completions.d/pkcs11-ceremony.fish",
    ] {
        assert!(has(&listing, file), "{file} is not in the image");
    }
    for program in ["pkcs11-issuer", "pkcs11-hsm-worker"] {
        assert!(!has(&listing, &format!("bin/{program}")), "{program}");
    }
    Ok(())
}

/// Makes the list of approvers and the key of its only one.
fn approver(desk: &Path) -> Result<()> {
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(desk.join("ada"))
        .status()?;
    ensure!(made.success());
    let key = fs::read_to_string(desk.join("ada.pub"))?;
    let list = format!(
        "threshold: 1\napprovers:\n  - {{name: ada, key: {}}}\n",
        key.trim()
    );
    fs::write(desk.join("approvers.yaml"), list)?;
    Ok(())
}

#[tokio::test]
#[ignore = "needs a Docker engine; `make test` runs it after tests/setup/docker"]
async fn the_image_of_the_ceremony_holds_one_without_a_network() -> Result<()> {
    let store = Store::new()?;
    let token = store.make_token("ceremony")?;
    let folder = tempfile::tempdir()?;
    let desk = folder.path();
    let plan = PLAN
        .replace("VERSION", env!("CARGO_PKG_VERSION"))
        .replace("SERIAL", token.serial());
    fs::write(desk.join("plan.yaml"), plan)?;
    approver(desk)?;
    fs::copy(token.pin_file(), desk.join("pin"))?;
    let volumes = [
        format!("--volume={}:/desk", desk.display()),
        format!(
            "--volume={}:/tokens",
            store.directory().join("tokens").display()
        ),
    ];
    let [at_desk, at_tokens] = &volumes;
    let user = rustix::process::getuid().as_raw().to_string();
    // The library comes from the other image, as from a vendor's. The folder has links.
    let softhsm = softhsm_image();
    let copy = "mkdir /desk/library && cp --dereference /opt/softhsm/* /desk/library";
    let run = "run --rm --network none --entrypoint sh".split(' ');
    let run: Vec<_> = run
        .chain(["--user", &user, at_desk, &softhsm, "-c", copy])
        .collect();
    docker(&run).await?;
    let conf = token.env().remove("SOFTHSM2_CONF").context("no SoftHSM")?;
    let tokens = store.directory().join("tokens");
    let conf = fs::read_to_string(conf)?.replace(&tokens.display().to_string(), "/tokens");
    fs::write(desk.join("softhsm2.conf"), conf)?;

    let ceremony = async |command: &str, more: &[&str]| {
        let image = ceremony_image();
        let run = "run --rm --network none --read-only --cap-drop ALL --workdir /desk --env LD_LIBRARY_PATH=/desk/library --env SOFTHSM2_CONF=/desk/softhsm2.conf";
        let mut arguments: Vec<&str> = run.split(' ').collect();
        arguments.extend(["--user", &user, at_desk, at_tokens, &image, command]);
        arguments.extend(FILES);

        arguments.extend(more.iter().copied());
        docker(&arguments).await
    };
    let approve = || -> Result<()> {
        // Everybody approves on a machine of their own, where ssh-keygen is.
        let output = Command::new(program("pkcs11-ceremony", "pkcs11-ceremony")?)
            .arg("approve")
            .args(FILES)
            .args(["--key", "ada"])
            .current_dir(desk)
            .output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok(())
    };
    let token = ["--module", "library/libsofthsm2.so", "--pin-file", "pin"];
    approve()?;
    let waits = ceremony("execute", &token).await;
    ensure!(waits.is_err(), "plan B needs approvals: {waits:?}");
    ensure!(desk.join("out/plan-b.txt").exists(), "{waits:?}");
    approve()?;
    let said = ceremony("execute", &token).await?;
    ensure!(said.starts_with("finished"), "{said}");
    let said = ceremony("verify", &[]).await?;
    ensure!(said.starts_with("verified"), "{said}");
    Ok(())
}
