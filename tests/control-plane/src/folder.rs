//! The folder of a control plane: removed at its end, kept when a test fails, and swept later if the owner was killed.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Environment variable that keeps all folders.
const KEEP: &str = "CONTROL_PLANE_KEEP";
const PREFIX: &str = "control-plane-";
/// A file that is locked while the owner runs. The kernel releases the lock however the owner ends.
const LOCK: &str = "owner.lock";

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Creates a folder in the system's folder for temporary files. Sweeps the folders whose owners were killed.
    pub(crate) fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .context("create a temporary folder")?;
        // Lock the file before it gets the name that a sweep looks for.
        let early = folder.path().join("owner");
        let lock = File::create(&early).context("create the lock of the folder")?;
        lock.lock().context("lock the folder")?;
        std::fs::rename(&early, folder.path().join(LOCK))
            .context("rename the lock of the folder")?;
        Ok(Self {
            path: folder.keep(),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that only its owner may read.
    pub(crate) fn write(&self, path: &Path, content: &str) -> Result<PathBuf> {
        File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(path.to_owned())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if std::thread::panicking() || std::env::var_os(KEEP).is_some() {
            // A sweep skips folders without a lock.
            drop(std::fs::remove_file(self.path.join(LOCK)));
            eprintln!(
                "the logs of the control plane are kept in {}",
                self.path.display()
            );
        } else {
            drop(std::fs::remove_dir_all(&self.path));
        }
    }
}

fn sweep(parent: &Path) {
    let folders = std::fs::read_dir(parent).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(PREFIX))
    {
        if let Ok(lock) = File::open(folder.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            drop(std::fs::remove_dir_all(folder.path()));
        }
    }
}
