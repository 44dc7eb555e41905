//! A folder to run commands in, with our programs, kubectl and helm in the path.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use control_plane::Tools;
use softhsm_test_helpers::program::program;
use tempfile::TempDir;

/// The folder. Dropping it removes it.
pub(crate) struct Desk(TempDir);

impl Desk {
    /// Makes the folder, and builds the programs that ours look for beside them.
    pub(crate) fn new() -> Result<Self> {
        program("pkcs11-hsm-worker", "pkcs11-hsm-worker")?;
        program("pkcs11-ceremony", "pkcs11-ceremony")?;
        Ok(Self(tempfile::tempdir()?))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns the value of `PATH` in which our programs come first.
    pub(crate) fn programs() -> Result<String> {
        let ours = Path::new(env!("CARGO_BIN_EXE_pkcs11-issuer"));
        let mut folders = vec![ours.to_owned()];
        if let Ok(tools) = Tools::locate() {
            let found = ["kubectl", "helm"].map(|name| tools.program(name));
            folders.extend(found.into_iter().flatten());
        }
        let mut path = String::new();
        for file in folders {
            let folder = file.parent().context("no folder")?;
            path = format!("{path}{}:", folder.display());
        }
        Ok(path + &env::var("PATH")?)
    }

    /// Runs a script.
    pub(crate) fn bash(&self, script: &str) -> Result<Output> {
        let output = Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(&self.0)
            .env("PATH", Self::programs()?)
            .stdin(Stdio::null())
            .output()?;
        Ok(output)
    }

    /// Runs a script that must succeed, and returns its stdout.
    pub(crate) fn ok(&self, script: &str) -> Result<String> {
        let output = self.bash(script)?;
        ensure!(output.status.success(), "{script}: {output:?}");
        Ok(String::from_utf8(output.stdout)?)
    }
}
