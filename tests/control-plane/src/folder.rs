//! The folder of one control plane: gone at its end, kept when a test fails, swept when the owner was killed.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// When this environment variable is set, no folder is removed.
const KEEP: &str = "CONTROL_PLANE_KEEP";
const PREFIX: &str = "control-plane-";
/// Locked for as long as the owner lives: the kernel lets go of it however the owner ends.
const LOCK: &str = "owner.lock";

#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// A new folder in the system's folder for temporary files. Sweeps the ones whose owners were killed.
    pub(crate) fn new() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .context("make a temporary folder")?;
        // Locked before it has the name that a sweep looks for.
        let early = folder.path().join("owner");
        let lock = File::create(&early).context("create the lock of the folder")?;
        lock.lock().context("lock the folder")?;
        std::fs::rename(&early, folder.path().join(LOCK)).context("name the lock of the folder")?;
        Ok(Self {
            path: folder.keep(),
            _lock: lock,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file that its owner alone may read.
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
            // Without a lock no sweep takes it.
            drop(std::fs::remove_file(self.path.join(LOCK)));
            eprintln!(
                "the logs of the control plane stay in {}",
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
