//! The kubectl plugin on a real cluster, with a real token and a running controller.

mod commands;
mod hold;
mod pods;
mod stage;
mod stuck;

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use anyhow::{Context as _, Result};
use serde_json::Value;

/// The namespace of most requests, whose issuers may use the token.
const SHOP: &str = "shop";
/// A namespace whose issuers may not use the token.
const BARE: &str = "bare";

/// Returns the program under the plugin's name, as users install it.
fn program() -> Result<&'static Path> {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    if PROGRAM.get().is_none() {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("kubectl-pkcs11_issuer");
        symlink(env!("CARGO_BIN_EXE_pkcs11-issuer"), &path)?;
        // Another test may have made one meanwhile.
        drop(PROGRAM.set((folder, path)));
    }
    Ok(&PROGRAM.get().context("there is one")?.1)
}

/// Returns a command of the plugin with a user's kubeconfig.
fn command(kubeconfig: &Path, words: &[&str]) -> Result<Command> {
    let mut command = Command::new(program()?);
    command.env_clear().args(words);
    command.arg("--kubeconfig").arg(kubeconfig);
    Ok(command)
}

/// Runs a command of the plugin with a user's kubeconfig.
fn run(kubeconfig: &Path, words: &[&str]) -> Result<Output> {
    let output = command(kubeconfig, words)?.output();
    output.context("run the plugin")
}

/// Runs a command of the plugin and returns its exit code and the JSON that it prints.
fn json(kubeconfig: &Path, words: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = run(kubeconfig, &[words, &["-o", "json"]].concat())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    let read = serde_json::from_slice(&output.stdout);
    let read = read.with_context(|| format!("{words:?}: {errors}"))?;
    Ok((output.status.code(), read))
}
