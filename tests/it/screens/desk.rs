//! The folder in which the commands of the page run: a token, its configuration, a certificate and its issuance log.

use std::{
    env, fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use rig::{Authority, csr_for};
use serde_json::{Value, json};
use softhsm_test_helpers::{Kept, KeyKind, program::program};
use tempfile::TempDir;

/// The programs of the page.
pub(super) const PROGRAMS: [&str; 2] = ["pkcs11-issuer", "pkcs11-ceremony"];

/// Files that are there, and nothing else.
pub(super) struct Desk {
    authority: Authority,
    folder: TempDir,
    /// Cluster, machine and run in the issuance log.
    origin: String,
}

impl Desk {
    pub(super) fn new() -> Result<Self> {
        // As long as the path that pictures show instead, so that lines are wrapped at the same places.
        let folder = tempfile::Builder::new()
            .prefix("pki-")
            .rand_bytes(6)
            .tempdir_in("/tmp")?;
        let mut desk = Self {
            authority: Authority::new(KeyKind::P256)?,
            folder,
            origin: String::new(),
        };
        // A key that somebody has left unprotected.
        let kept = Kept {
            extractable: true,
            ..Kept::PROTECTED
        };
        let token = desk.authority.token();
        token.generate_key_kept("spare", &[7], KeyKind::P256, kept)?;
        let issuing = desk.authority.issuing().der().to_vec();
        token.store_certificates("issuing-ca", &[2], [issuing])?;
        symlink(token.module(), desk.path("libsofthsm2.so"))?;
        desk.write_files()?;
        desk.install()?;
        desk.sign()?;
        Ok(desk)
    }

    fn write_files(&self) -> Result<()> {
        let mut configuration = self.authority.configuration(&[]);
        configuration["modules"]["softhsm"]["path"] = json!(self.path("libsofthsm2.so"));
        configuration["tokens"]["issuing"]["pinFile"] = json!(self.path("pin"));
        self.write("config.yaml", configuration.to_string())?;
        configuration["tokens"]["issuing"]["label"] = json!("isuing");
        self.write("typo.yaml", configuration.to_string())?;
        let issuer: Value = json!({
            "apiVersion": "pkcs11-issuer.dev/v1alpha1",
            "kind": "PKCS11ClusterIssuer",
            "metadata": {"name": "issuing"},
            "spec": self.authority.issuer_spec(),
        });
        self.write("issuer.yaml", issuer.to_string())?;
        self.write("pin", self.authority.token().user_pin())?;
        self.write("root.pem", self.authority.root().pem())?;
        self.write("web.csr", csr_for("web.example")?)
    }

    /// Installs the programs under their names, each of which runs in this folder without the variables of the test.
    fn install(&self) -> Result<()> {
        // The controller's program looks for the worker beside it.
        program("pkcs11-hsm-worker", "pkcs11-hsm-worker")?;
        let ours = Path::new(env!("CARGO_BIN_EXE_pkcs11-issuer")).to_owned();
        let ceremony = program("pkcs11-ceremony", "pkcs11-ceremony")?;
        fs::create_dir(self.path("bin"))?;
        for (name, real) in PROGRAMS.into_iter().zip([ours, ceremony]) {
            let (folder, real) = (self.folder.path().display(), real.display().to_string());
            let script = format!(
                "#!/bin/sh\ncd {folder} && exec env -i HOME={folder} TERM=xterm-256color NO_COLOR=\"$NO_COLOR\" '{real}' \"$@\"\n"
            );
            let file = self.program(name);
            fs::write(&file, script)?;
            fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }

    /// Signs a certificate, which leaves a log.
    fn sign(&mut self) -> Result<()> {
        let command = "pkcs11-issuer sign --config config.yaml --issuer issuer.yaml --csr web.csr --out web.pem";
        let output = self.shell(command).output()?;
        ensure!(output.status.success(), "{output:?}");
        let log = String::from_utf8(output.stderr)?;
        let lines = log.lines().filter(|line| line.starts_with('{'));
        let lines: Vec<_> = lines.collect();
        let first: Value = serde_json::from_str(lines.first().context("no log")?)?;
        self.origin = first["origin"].as_str().context("no origin")?.to_owned();
        self.write("issuance.log", lines.join("\n") + "\n")?;
        // One line is missing.
        let rest = lines.iter().enumerate().filter(|(place, _)| *place != 2);
        let rest: Vec<_> = rest.map(|(_, line)| *line).collect();
        self.write("cut.log", rest.join("\n") + "\n")
    }

    /// Returns a shell that runs a command of the page.
    pub(super) fn shell(&self, command: &str) -> Command {
        let mut shell = Command::new("sh");
        let path = env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.path("bin").display());
        shell.args(["-c", command]).env("PATH", path);
        shell.env("NO_COLOR", "").stdin(Stdio::null());
        shell
    }

    /// Returns the file of a program.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.path("bin").join(name)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Result<()> {
        Ok(fs::write(self.path(name), text)?)
    }

    /// Returns cluster, machine and run in the issuance log.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    /// Returns the texts that differ from run to run, by the name that the page has for each.
    pub(super) fn varying(&self) -> [(&'static str, String); 3] {
        let serial = self.authority.token().serial();
        [
            ("[DESK]", self.folder.path().display().to_string()),
            ("[SERIAL]", serial.to_owned()),
            ("[SLOT]", slot(serial)),
        ]
    }
}

/// Returns how the slot of a token is shown, whose number SoftHSM makes from the serial number of the token.
pub(super) fn slot(serial: &str) -> String {
    let number = u64::from_str_radix(serial, 16).unwrap_or_default() & 0x7fff_ffff;
    format!("{number} (SoftHSM slot ID 0x{number:x})")
}
