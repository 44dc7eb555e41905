//! The file that keeps the PIN records of a machine, for the command line.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{HMAC_KEY_OCTETS, Kept, PinStates, StoreError, random_key};
use crate::pins::record::{PinRecord, PinState};

const READ_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Store of PIN records in a file.
///
/// *Guarantees*: only one process at a time is between reading a record and settling its login. The lock ends with its
/// process, so an unsettled try in the file is from a process that is gone. The file is replaced as a whole, and is on
/// the disk when [`write`](super::PinStore::write) returns.
/// *Assumptions*: the file system of the record has locks (`flock`) and atomic renames.
#[derive(Debug)]
pub struct FileStore {
    path: PathBuf,
    lock: Mutex<Option<File>>,
}

/// Content of the file. Only its owner can read it: with the key, a PIN of eight digits is soon found.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Content {
    hmac_key: String,
    /// By key; earlier versions used the serial number.
    tokens: BTreeMap<String, PinRecord>,
}

impl FileStore {
    /// Creates a store in this file. The file is made when it is first needed; its folder must exist.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            lock: Mutex::default(),
        }
    }

    /// Returns the records as they are now, for readers that try no PIN: it takes no lock and makes no file. `None` without
    /// a file.
    ///
    /// # Errors
    /// The file cannot be read or is not a PIN record.
    pub fn peek(&self) -> Result<Option<PinStates>, StoreError> {
        let content = self.content()?;
        content.map(|content| self.states(content)).transpose()
    }

    pub(super) async fn read(&self) -> Result<PinStates, StoreError> {
        self.lock().await?;
        let content = match self.content()? {
            Some(content) => content,
            None => Content {
                hmac_key: hex::encode(random_key()?),
                tokens: BTreeMap::new(),
            },
        };
        self.states(content)
    }

    fn content(&self) -> Result<Option<Content>, StoreError> {
        match fs::read(&self.path) {
            Ok(octets) => serde_json::from_slice(&octets)
                .map(Some)
                .map_err(|error| self.bad(error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.io("read the PIN record", &self.path, source)),
        }
    }

    fn states(&self, content: Content) -> Result<PinStates, StoreError> {
        let Content { hmac_key, tokens } = content;
        let octets = hex::decode(&hmac_key)
            .ok()
            .filter(|octets| octets.len() == HMAC_KEY_OCTETS)
            .ok_or_else(|| {
                let problem = format!("hmacKey must have {HMAC_KEY_OCTETS} octets");
                self.bad(serde::de::Error::custom(problem))
            })?;
        Ok(PinStates {
            hmac_key: super::hmac_key(&octets),
            kept: Kept::File { hmac_key, tokens },
        })
    }

    /// Writes and syncs. Blocks for as long as the disk takes.
    pub(super) fn write(
        &self,
        hmac_key: String,
        mut tokens: BTreeMap<String, PinRecord>,
        key: &str,
        record: &PinRecord,
    ) -> Result<(), StoreError> {
        tokens.insert(key.to_owned(), record.clone());
        let content = Content { hmac_key, tokens };
        let mut text = serde_json::to_vec_pretty(&content).map_err(|error| self.bad(error))?;
        text.push(b'\n');
        // No other process writes it, because this one holds the lock.
        let new = self.beside(".new");
        replace(&self.path, &new, &text)
            .map_err(|source| self.io("write the PIN record", &self.path, source))?;
        if record.state != PinState::Trying {
            self.let_go();
        }
        Ok(())
    }

    pub(super) fn let_go(&self) {
        // Closing the file unlocks it.
        self.held().take();
    }

    /// Takes the lock unless this process holds it already. Waits while another process holds it.
    async fn lock(&self) -> Result<(), StoreError> {
        if self.held().is_some() {
            return Ok(());
        }
        // The record itself cannot be locked, because it is replaced and not written to.
        let path = self.beside(".lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|source| self.io("open the lock of the PIN record", &path, source))?;
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        warn!(lock = %path.display(), "waiting for the login of another process");
                        told = true;
                    }
                    tokio::time::sleep(READ_AGAIN_AFTER).await;
                }
                Err(TryLockError::Error(source)) => {
                    return Err(self.io("lock the PIN record", &path, source));
                }
            }
        }
        *self.held() = Some(file);
        Ok(())
    }

    fn held(&self) -> MutexGuard<'_, Option<File>> {
        self.lock.lock()
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(ending);
        name.into()
    }

    fn io(&self, verb: &'static str, path: &Path, source: io::Error) -> StoreError {
        StoreError::Io {
            verb,
            path: path.to_owned(),
            source,
        }
    }

    fn bad(&self, source: serde_json::Error) -> StoreError {
        StoreError::BadFile {
            path: self.path.clone(),
            source,
        }
    }
}

/// Replaces the file at `path`. At any moment either the old or the new file is there, and the new one is on the disk
/// when this returns.
fn replace(path: &Path, new: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(new)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(new, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
