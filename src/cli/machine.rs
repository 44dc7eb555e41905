//! What a command learns from the machine that it runs on.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

const HOST_NAME: &str = "/proc/sys/kernel/hostname";
const WORKER: &str = "pkcs11-hsm-worker";

/// The worker program: as told, else beside this one.
pub(super) fn worker(told: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = match told {
        Some(path) => path.to_owned(),
        None => env::current_exe()
            .context("failed to find this program's own file")?
            .with_file_name(WORKER),
    };
    anyhow::ensure!(
        path.is_file(),
        "there is no HSM worker program at {}; give --worker",
        path.display()
    );
    Ok(path)
}

/// The machine's name.
pub(super) fn host_name() -> anyhow::Result<String> {
    let name = fs::read_to_string(HOST_NAME)
        .with_context(|| format!("failed to read the host name from {HOST_NAME}"))?;
    Ok(name.trim().to_owned())
}
