//! The token of the demo, its CA, and the files about it, as `pkcs11-issuer dev` makes them.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use control_plane::ControlPlane;
use rig::Programs;
use softhsm_test_helpers::program::program;
use tokio::process::Command;

/// The folder that `dev` has made, in that of the control plane.
#[derive(Debug)]
pub(crate) struct Token(PathBuf);

impl Token {
    pub(crate) async fn make(plane: &ControlPlane, programs: &Programs) -> Result<Self> {
        let folder = plane.log_dir().join("hsm");
        let made = Command::new(&programs.controller)
            .arg("dev")
            .arg(&folder)
            .arg("--ceremony")
            .arg(program("pkcs11-ceremony", "pkcs11-ceremony")?)
            .arg("--worker")
            .arg(&programs.worker)
            .kill_on_drop(true)
            .output()
            .await
            .context("run pkcs11-issuer dev")?;
        ensure!(
            made.status.success(),
            "pkcs11-issuer dev: {}",
            String::from_utf8_lossy(&made.stderr).trim()
        );
        Ok(Self(folder))
    }

    /// Returns the text of one of its files.
    pub(crate) fn read(&self, name: &str) -> Result<String> {
        let path = self.0.join(name);
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }
}
