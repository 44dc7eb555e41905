//! What a command learns from the machine that it runs on.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

const HOST_NAME: &str = "/proc/sys/kernel/hostname";
/// Belongs to whom this process acts as.
const SELF: &str = "/proc/self";
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

/// The number of the user that this process acts as; a name could be anybody's.
pub(super) fn user() -> io::Result<u32> {
    Ok(fs::metadata(SELF)?.uid())
}
