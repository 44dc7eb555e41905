//! A file that is written atomically, and that is known to be writable before anything is signed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, bail, ensure};

/// Destination of a certificate, with a temporary file beside it.
///
/// *Guarantees*: at any moment the path holds the complete old file or the complete new one. Without
/// [`commit`](Self::commit) the old file stays and the temporary file is removed.
#[derive(Debug)]
pub(super) struct Destination {
    path: PathBuf,
    new: PathBuf,
    file: File,
    committed: bool,
}

impl Destination {
    /// Creates the temporary file.
    ///
    /// # Errors
    /// The folder is not writable, or `path` is not a regular file.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        // A symbolic link stays: its target is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let there = fs::metadata(&path).ok();
        if there.as_ref().is_some_and(|there| !there.is_file()) {
            bail!(
                "{} is not a file; give a file with --out, or omit --out to write to stdout",
                path.display()
            );
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        ensure!(
            !name.is_empty(),
            "--out {} names no file; give a file, or omit --out to write to stdout",
            path.display()
        );
        let new = path.with_file_name(format!(".{name}.{}.new", process::id()));
        let file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .open(&new)
            .with_context(|| {
                format!(
                    "nothing was signed, because {} cannot be written; make its folder writable or give another --out",
                    path.display()
                )
            })?;
        let made = Self {
            path,
            new,
            file,
            committed: false,
        };
        if let Some(there) = there {
            made.file
                .set_permissions(there.permissions())
                .with_context(|| format!("failed to set the mode of {}", made.new.display()))?;
        }
        Ok(made)
    }

    /// Replaces the old file with `text`. The text is on the disk when this returns.
    ///
    /// # Errors
    /// The operating system failed to write; then the old file is unchanged.
    pub(super) fn commit(mut self, text: &str) -> anyhow::Result<()> {
        self.put(text)
            .with_context(|| format!("failed to write {}", self.path.display()))
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        self.file.sync_all()?;
        fs::rename(&self.new, &self.path)?;
        self.committed = true;
        let folder = self.path.parent().filter(|folder| *folder != Path::new(""));
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if !self.committed {
            // If this fails, a temporary file stays, and its name ends in `.new`.
            drop(fs::remove_file(&self.new));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.pem");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let destination = Destination::prepare(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        destination.commit("new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o640
        );
        assert_eq!(names(folder.path()), ["web.pem"]);
    }

    #[test]
    fn without_a_commit_no_file_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("web.pem");
        drop(Destination::prepare(&path).unwrap());
        assert_eq!(names(folder.path()), [""; 0]);
    }

    #[test]
    fn a_folder_that_is_removed_before_the_commit_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let destination = Destination::prepare(&inner.join("web.pem")).unwrap();
        fs::remove_dir_all(&inner).unwrap();
        let error = destination.commit("new").unwrap_err().to_string();
        assert!(error.contains("web.pem"), "{error}");
    }

    #[test]
    fn the_target_of_a_link_is_replaced_and_not_the_link() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("web.pem"), folder.path().join("link"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        Destination::prepare(&link).unwrap().commit("new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn the_error_names_a_path_that_is_not_a_file() {
        for path in ["/", "/dev/null", "/dev"] {
            let error = Destination::prepare(Path::new(path))
                .unwrap_err()
                .to_string();
            assert!(
                error.starts_with(&format!("{path} is not a file")),
                "{error}"
            );
        }
    }
}
