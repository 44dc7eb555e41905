//! The key ceremony of `dev`: one approver whose key lies beside the token, so it shows the commands and proves nothing.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, bail, ensure};
use jiff::{SignedDuration, Timestamp};

use super::{AUDIT_KEY, ISSUING_KEY, TOKEN, random, softhsm};
use crate::issuance::Serial;

const ROOT_DAYS: i64 = 3650;
const ISSUING_DAYS: i64 = 1825;
/// Exit code of `execute` when plan B waits for approvals.
const WAITS: i32 = 3;

/// The files of a ceremony, in the folder of `dev`.
pub(super) struct Ceremony {
    program: PathBuf,
    folder: PathBuf,
}

impl Ceremony {
    pub(super) fn new(program: PathBuf, folder: &Path) -> Self {
        Self {
            program,
            folder: folder.to_owned(),
        }
    }

    /// Makes the keys and certificates on the token with this serial number, and verifies the ceremony.
    pub(super) fn hold(&self, module: &Path, serial: &str, now: Timestamp) -> anyhow::Result<()> {
        fs::write(self.folder.join("plan.yaml"), plan(serial, now)?)?;
        let key = self.folder.join("approver-key");
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", "dev", "-f"])
            .arg(&key)
            .output()
            .context("failed to run ssh-keygen; install OpenSSH's client (on Debian: apt-get install openssh-client)")?;
        ensure!(
            made.status.success(),
            "ssh-keygen made no key: {}",
            String::from_utf8_lossy(&made.stderr).trim()
        );
        let public = fs::read_to_string(key.with_extension("pub"))?;
        let approvers = format!(
            "threshold: 1\napprovers:\n  - {{name: dev, key: {}}}\n",
            public.trim()
        );
        fs::write(self.folder.join("approvers.yaml"), approvers)?;
        let pin = self.folder.join("pin");
        let execute = [
            "--module".as_ref(),
            module.as_os_str(),
            "--pin-file".as_ref(),
            pin.as_os_str(),
        ];
        let approve = ["--key".as_ref(), key.as_os_str()];
        self.run("approve", &approve, 0)?;
        self.run("execute", &execute, WAITS)?;
        self.run("approve", &approve, 0)?;
        self.run("execute", &execute, 0)?;
        self.run("verify", &[], 0)
    }

    fn run(&self, command: &str, more: &[&OsStr], expected: i32) -> anyhow::Result<()> {
        let output = Command::new(&self.program)
            .arg(command)
            .arg("--plan")
            .arg(self.folder.join("plan.yaml"))
            .arg("--approvers")
            .arg(self.folder.join("approvers.yaml"))
            .arg("--out")
            .arg(self.folder.join("ceremony"))
            .args(more)
            .env(softhsm::CONFIGURATION, self.folder.join("softhsm2.conf"))
            .output()
            .with_context(|| format!("failed to run {}", self.program.display()))?;
        if output.status.code() == Some(expected) {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "pkcs11-ceremony {command} ended with {}: {}",
            output.status,
            said.trim()
        )
    }
}

/// Returns the plan: a root, an issuing CA and an audit key, all P-256 because every SoftHSM and every client has it.
fn plan(serial: &str, now: Timestamp) -> anyhow::Result<String> {
    let day = |days: i64| -> anyhow::Result<String> {
        let time = now.checked_add(SignedDuration::from_hours(24 * days))?;
        Ok(time.strftime("%Y-%m-%dT00:00:00Z").to_string())
    };
    let number = || -> anyhow::Result<String> { Ok(Serial::from_random(random()?).hex()) };
    Ok(format!(
        "\
tool: {tool}
ceremony: dev
token: {{label: {TOKEN}, serial: '{serial}'}}
steps:
  - keygen: {{name: root-key, algorithm: P-256, label: root-ca}}
  - keygen: {{name: issuing-key, algorithm: P-256, label: {ISSUING_KEY}}}
  - audit-key: {{name: audit, algorithm: P-256, label: {AUDIT_KEY}}}
  - root:
      name: root
      key: root-key
      subject: [CN=Dev root]
      serial: '{root}'
      notBefore: {begin}
      notAfter: {root_end}
      pathLength: 1
  - intermediate:
      name: issuing
      issuer: root
      key: issuing-key
      subject: [CN=Dev issuing]
      serial: '{issuing}'
      notBefore: {begin}
      notAfter: {issuing_end}
      pathLength: 0
  - import-certificate: {{name: root-on-token, certificate: root, label: root-ca}}
  - import-certificate: {{name: issuing-on-token, certificate: issuing, label: {ISSUING_KEY}}}
",
        tool = env!("CARGO_PKG_VERSION"),
        root = number()?,
        issuing = number()?,
        begin = day(0)?,
        root_end = day(ROOT_DAYS)?,
        issuing_end = day(ISSUING_DAYS)?,
    ))
}
