//! Facts about the machine that a command runs on.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Belongs to the effective user of this process.
const SELF: &str = "/proc/self";
const WORKER: &str = "pkcs11-hsm-worker";
const CEREMONY: &str = "pkcs11-ceremony";

/// Returns the path of the worker program: `told`, else the file beside this program.
pub(super) fn worker(told: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = beside(told, WORKER)?;
    anyhow::ensure!(
        path.is_file(),
        "there is no HSM worker program at {}; give --worker",
        path.display()
    );
    Ok(path)
}

/// Returns the path of the program of the key ceremony: `told`, else the file beside this program. The image does not have it.
pub(super) fn ceremony(told: Option<&Path>) -> anyhow::Result<PathBuf> {
    let path = beside(told, CEREMONY)?;
    anyhow::ensure!(
        path.is_file(),
        "there is no pkcs11-ceremony at {}; build it or take it from the release, and give --ceremony",
        path.display()
    );
    Ok(path)
}

fn beside(told: Option<&Path>, name: &str) -> anyhow::Result<PathBuf> {
    Ok(match told {
        Some(path) => path.to_owned(),
        None => env::current_exe()
            .context("failed to find the file of this program")?
            .with_file_name(name),
    })
}

/// Returns the host name of the machine.
pub(super) fn host_name() -> anyhow::Result<String> {
    let name = fs::read_to_string(HOST_NAME)
        .with_context(|| format!("failed to read the host name from {HOST_NAME}"))?;
    Ok(name.trim().to_owned())
}

/// Returns the effective user ID of this process. A user name would not be unique.
pub(super) fn user() -> io::Result<u32> {
    Ok(fs::metadata(SELF)?.uid())
}
