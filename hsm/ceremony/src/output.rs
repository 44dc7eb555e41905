//! The files of a ceremony: created exclusively, whole or not at all, and never overwritten.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

/// The folder of a ceremony.
#[derive(Clone, Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

/// The end of the name of a file that is being written.
const UNFINISHED: &str = ".unfinished";

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutputError {
    #[error(
        "{0} exists with other contents; nothing was overwritten; use another --out folder, or find out who wrote it"
    )]
    Other(PathBuf),
    #[error("failed to write {0}")]
    Write(PathBuf, #[source] io::Error),
}

impl Folder {
    /// Returns the path of a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Reads a file; `None` if there is none.
    pub(crate) fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.path(name)) {
            Ok(octets) => Ok(Some(octets)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what killed processes have left of files that they did not finish, or had just linked into place.
    pub(crate) fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(UNFINISHED) {
                fs::remove_file(self.path(&name))?;
            }
        }
        Ok(())
    }

    /// Creates a file. One with the same contents is left alone.
    pub(crate) fn create(&self, name: &str, octets: &[u8]) -> Result<(), OutputError> {
        let path = self.path(name);
        let failed = |error| OutputError::Write(path.clone(), error);
        if let Some(found) = self.read(name).map_err(failed)? {
            return if found == octets {
                Ok(())
            } else {
                Err(OutputError::Other(path))
            };
        }
        create(&self.0, &path, name, octets).map_err(failed)
    }
}

/// Writes a file beside its place, and links it there: a link never replaces a file, and the contents are complete.
fn create(folder: &Path, path: &Path, name: &str, octets: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let unfinished = folder.join(format!(".{name}{UNFINISHED}"));
    let mut file = File::create(&unfinished)?;
    file.write_all(octets)?;
    file.sync_all()?;
    let linked = fs::hard_link(&unfinished, path);
    fs::remove_file(&unfinished)?;
    linked?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_created_once_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder(folder.path().join("out"));
        folder.create("root.pem", b"one").unwrap();
        folder.create("root.pem", b"one").unwrap();
        let error = folder.create("root.pem", b"two").unwrap_err();
        assert!(matches!(error, OutputError::Other(_)), "{error}");
        assert_eq!(folder.read("root.pem").unwrap().unwrap(), b"one");
    }

    #[test]
    fn a_file_that_a_killed_process_left_unfinished_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(".root.pem.unfinished"), b"o").unwrap();
        let folder = Folder(folder.path().to_owned());
        assert_eq!(folder.read("root.pem").unwrap(), None);
        folder.create("root.pem", b"one").unwrap();
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
        fs::hard_link(folder.path("root.pem"), folder.path(".root.pem.unfinished")).unwrap();
        folder.sweep().unwrap();
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 1);
        assert_eq!(folder.read("root.pem").unwrap().unwrap(), b"one");
    }
}
