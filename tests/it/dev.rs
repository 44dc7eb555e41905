//! `pkcs11-issuer dev`: the commands that it prints, and the same on the page of the quick start, are run as they are.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, ensure};
use control_plane::{CertManager, CertManagerOptions, ControlPlane, Options};
use softhsm_test_helpers::program::program;

use crate::{
    desk::Desk,
    page::{Page, Step},
};

const PAGE: &str = include_str!("../../docs/quickstart.md");
/// The first line of the printed commands that need a cluster.
const CLUSTER: &str = "# Sign for cert-manager";

/// Writes a program that notes its arguments and then runs `real`.
fn spy(desk: &Desk, name: &str, real: &str) -> Result<()> {
    fs::create_dir_all(desk.path("spies"))?;
    let file = desk.path("spies").join(name);
    let noted = desk.path("arguments");
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>{}\nexec {real} \"$@\"\n",
        noted.display()
    );
    fs::write(&file, script)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Returns the printed commands: those that need no cluster, and those that need one.
fn commands(printed: &str) -> Result<(&str, &str)> {
    let at = |start| printed.find(start).with_context(|| format!("no {start}"));
    let (first, cluster) = (at("# Sign a certificate without")?, at(CLUSTER)?);
    Ok((&printed[first..cluster], &printed[cluster..]))
}

#[test]
fn the_printed_commands_sign_a_certificate_that_openssl_verifies() -> Result<()> {
    let desk = Desk::new()?;
    let printed = desk.ok("pkcs11-issuer dev 'my hsm'")?;
    let (commands, _) = commands(&printed)?;
    let said = desk.ok(commands)?;
    for expected in [
        "web.pem: OK",
        "pkcs11:token=issuing;",
        "# Minutes of key ceremony dev",
    ] {
        ensure!(said.contains(expected), "{expected}: {said}");
    }
    for file in ["config.yaml", "issuer.yaml", "certificate.yaml"] {
        let text = fs::read_to_string(desk.path("my hsm").join(file))?;
        ensure!(printed.contains(&text), "{file} was not printed");
    }
    Ok(())
}

#[test]
fn a_second_run_prints_the_same_and_changes_nothing() -> Result<()> {
    let desk = Desk::new()?;
    let printed = desk.ok("pkcs11-issuer dev hsm")?;
    let sums = "find hsm -type f -print0 | sort -z | xargs -0 sha256sum";
    let before = desk.ok(sums)?;
    assert_eq!(desk.ok("pkcs11-issuer dev hsm")?, printed);
    assert_eq!(desk.ok(sums)?, before);
    Ok(())
}

#[test]
fn a_folder_of_somebody_else_or_of_an_interrupted_run_is_left_alone() -> Result<()> {
    let desk = Desk::new()?;
    for (file, expected) in [
        ("mine", "exists already"),
        ("softhsm2.conf", "is unfinished"),
    ] {
        let folder = desk.path("there");
        fs::create_dir(&folder)?;
        fs::write(folder.join(file), "mine")?;
        let output = desk.bash("pkcs11-issuer dev there")?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr)?;
        ensure!(said.contains(expected), "{said}");
        assert_eq!(desk.ok("ls there")?.trim(), file);
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

#[test]
fn a_missing_program_is_named_before_anything_is_made() -> Result<()> {
    let desk = Desk::new()?;
    for (flag, expected) in [
        ("--ceremony", "give --ceremony"),
        ("--module", "install SoftHSM 2"),
        ("--worker", "give --worker"),
    ] {
        let output = desk.bash(&format!("pkcs11-issuer dev {flag} nowhere hsm"))?;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8(output.stderr)?;
        ensure!(said.contains(expected), "{said}");
        ensure!(!desk.path("hsm").exists(), "{flag}");
    }
    Ok(())
}

#[test]
fn the_pin_is_in_no_argument_and_only_its_owner_can_read_it() -> Result<()> {
    let desk = Desk::new()?;
    let ceremony = program("pkcs11-ceremony", "pkcs11-ceremony")?;
    spy(&desk, "softhsm2-util", "/usr/bin/softhsm2-util")?;
    spy(&desk, "pkcs11-ceremony", &ceremony.to_string_lossy())?;
    spy(&desk, "ssh-keygen", "/usr/bin/ssh-keygen")?;
    desk.ok(
        "export PATH=$PWD/spies:$PATH; pkcs11-issuer dev --ceremony spies/pkcs11-ceremony hsm",
    )?;
    let pin = fs::read_to_string(desk.path("hsm/pin"))?;
    let arguments = fs::read_to_string(desk.path("arguments"))?;
    ensure!(pin.len() == 32, "{}", pin.len());
    for expected in ["--init-token", "execute", "-t ed25519"] {
        ensure!(arguments.contains(expected), "{expected}: {arguments}");
    }
    ensure!(!arguments.contains(&pin), "{arguments}");
    for (file, mode) in [("hsm", 0o700), ("hsm/pin", 0o600)] {
        let found = fs::metadata(desk.path(file))?.permissions().mode();
        assert_eq!(found & 0o777, mode, "{file}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_quick_start_issue_a_certificate_for_cert_manager() -> Result<()> {
    let desk = Desk::new()?;
    let printed = desk.ok("pkcs11-issuer dev hsm && rm -r hsm")?;
    let (alone, cluster) = commands(&printed)?;
    let mut page = Page::parse(PAGE)?;
    let built = |step: &Step<'_>| !step.command.starts_with("pkcs11-issuer dev");
    let built = page.steps.iter().take_while(|step| built(step)).count();
    page.steps.drain(..built);
    // The page has the commands that are printed, and others.
    let is_command = |line: &&str| !line.is_empty() && !line.starts_with('#');
    for command in alone.lines().chain(cluster.lines()).filter(is_command) {
        let mut steps = page.steps.iter();
        ensure!(
            steps.any(|step| step.command == command),
            "the page lacks: {command}"
        );
    }
    let plane = ControlPlane::start(Options::default()).await?;
    // Approval comes from the rights that `dev` prints.
    let options = CertManagerOptions {
        approve_signer_names: Vec::new(),
        ..CertManagerOptions::default()
    };
    let _cert_manager = CertManager::start(&plane, options).await?;
    let (kubeconfig, cache) = (plane.admin_kubeconfig(), desk.path("cache"));
    let free = Path::new("127.0.0.1:0");
    let env = [
        ("KUBECONFIG", kubeconfig.as_path()),
        ("KUBECACHEDIR", cache.as_path()),
        ("PKCS11_ISSUER_HEALTH_ADDRESS", free),
        ("PKCS11_ISSUER_METRICS_ADDRESS", free),
    ];
    page.run(&desk, &env).await.map(drop)
}
