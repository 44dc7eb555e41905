//! Where PIN records are kept: a Secret, for the replicas of a controller, or a file, for the command line.

mod file;
mod secret;

use std::{collections::BTreeMap, fmt, io, path::PathBuf};

use aws_lc_rs::{hmac, rand};
use k8s_openapi::api::core::v1::Secret;

pub use self::{
    file::FileStore,
    secret::{PIN_STATE_SECRET, SecretStore},
};
use super::{
    place::RecordKeys,
    record::{PinRecord, continued},
};

const HMAC_KEY_OCTETS: usize = 32;

/// Store of PIN records.
#[derive(Debug)]
pub enum PinStore {
    /// In the controller's namespace, shared by its replicas.
    Secret(Box<SecretStore>),
    /// On this machine, shared by everybody who runs the command line with it.
    File(FileStore),
}

/// Records as they were read, and the key that turns a PIN into its version.
pub struct PinStates {
    kept: Kept,
    hmac_key: hmac::Key,
}

enum Kept {
    /// Writing back succeeds only if nobody wrote in between.
    Secret(Box<Secret>),
    /// Records by their keys; the lock keeps others from writing in between.
    File {
        hmac_key: String,
        tokens: BTreeMap<String, PinRecord>,
    },
}

/// Why a PIN record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The Secret does not exist; the controller may not create it.
    #[error(
        "Secret {namespace}/{PIN_STATE_SECRET} does not exist, so no PIN is tried; create it empty: kubectl create secret generic {PIN_STATE_SECRET} --namespace {namespace}"
    )]
    Missing {
        /// The controller's namespace.
        namespace: String,
    },
    /// The API server refused or could not be reached.
    #[error("failed to {verb} Secret {namespace}/{PIN_STATE_SECRET}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// The controller's namespace.
        namespace: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// Somebody else wrote in between: read again.
    #[error("Secret {PIN_STATE_SECRET} was changed by somebody else at the same time")]
    Conflict,
    /// The record cannot be parsed: somebody has edited it.
    #[error(
        "the PIN record {key} in Secret {namespace}/{PIN_STATE_SECRET} is not readable; mend it or remove it"
    )]
    BadRecord {
        /// Key in the Secret.
        key: String,
        /// The controller's namespace.
        namespace: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The operating system returned an error.
    #[error(
        "failed to {verb} {}; no PIN is tried without it; make its folder writable, or name another file as pinRecord of the token", path.display()
    )]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file of the record, or its lock file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The HMAC key is missing. Without it no PIN can be compared with the rejected ones.
    #[error(
        "Secret {namespace}/{PIN_STATE_SECRET} has records of PIN tries but no hmac-key of {HMAC_KEY_OCTETS} octets, so that no PIN can be compared with them; check the PIN and the token, then remove all data of the Secret"
    )]
    KeyLost {
        /// The controller's namespace.
        namespace: String,
    },
    /// The file cannot be parsed: somebody has edited it.
    #[error(
        "the PIN record {} is not readable; check the PIN and the token, then mend the file or remove it", path.display()
    )]
    BadFile {
        /// The file of the record.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The operating system gave no random octets.
    #[error("no random octets for the key of the PIN record")]
    Random,
}

impl PinStore {
    /// Reads the records, and makes a random key the first time. A file is locked from here on, until a login is
    /// settled or the lock is [let go](Self::let_go). Waits while another process holds the lock.
    ///
    /// # Errors
    /// [`StoreError`]; never returns an invented record.
    pub async fn read(&self) -> Result<PinStates, StoreError> {
        match self {
            Self::Secret(store) => store.read().await,
            Self::File(store) => store.read().await,
        }
    }

    /// Returns the end of a sentence that says how the operator clears the record of one token. It is empty for a file,
    /// because `sign`, which uses files, prints this itself.
    pub fn how_to_clear(&self, states: &PinStates, place: &RecordKeys) -> String {
        match (self, &states.kept) {
            (Self::Secret(store), Kept::Secret(secret)) => store
                .clearing(secret, place)
                .map_or_else(String::new, |command| {
                    format!("; to clear the PIN record: {command}")
                }),
            (Self::Secret(_) | Self::File(_), Kept::Secret(_) | Kept::File { .. }) => String::new(),
        }
    }

    /// Writes one record. A Secret is written only if it is unchanged since it was read. A file survives a loss of
    /// power as soon as this returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the Secret has changed; else why the record could not be written.
    pub async fn write(
        &self,
        states: PinStates,
        place: &RecordKeys,
        record: &PinRecord,
    ) -> Result<(), StoreError> {
        match (self, states.kept) {
            (Self::Secret(store), Kept::Secret(secret)) => {
                store.write(*secret, place.own(), record).await
            }
            (Self::File(store), Kept::File { hmac_key, tokens }) => {
                store.write(hmac_key, tokens, place.own(), record)
            }
            // The states were read from the other kind of store.
            (Self::Secret(_), Kept::File { .. }) | (Self::File(_), Kept::Secret(_)) => {
                Err(StoreError::Conflict)
            }
        }
    }

    /// Returns the record of the token at this place, joined with the other records that count for it.
    ///
    /// # Errors
    /// [`StoreError::BadRecord`] if one of the records cannot be parsed.
    pub fn record(
        &self,
        states: &PinStates,
        place: &RecordKeys,
    ) -> Result<Option<PinRecord>, StoreError> {
        let mut records = match (self, &states.kept) {
            (Self::Secret(store), Kept::Secret(secret)) => store.records(secret, place)?,
            (Self::Secret(_) | Self::File(_), Kept::File { tokens, .. }) => {
                let counts = |key: &str| key == place.own() || place.relates(key, place.serial());
                let tokens = tokens.iter().filter(|(key, _)| counts(key));
                tokens
                    .map(|(key, record)| (key.clone(), record.clone()))
                    .collect()
            }
            (Self::File(_), Kept::Secret(_)) => return Err(StoreError::Conflict),
        };
        let own = records.remove(place.own());
        Ok(continued(own, &records))
    }

    /// Lets other processes read, because no login follows from the records that this process has read.
    pub fn let_go(&self) {
        match self {
            Self::Secret(_) => {}
            Self::File(store) => store.let_go(),
        }
    }

    /// Returns whether no other process can be in the middle of a login. The holder of an unsettled try is then gone.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        match self {
            Self::Secret(_) => false,
            Self::File(_) => true,
        }
    }
}

/// Shows no field, because both contain the key.
impl fmt::Debug for PinStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinStates").finish_non_exhaustive()
    }
}

impl PinStates {
    /// Returns the version of a PIN: HMAC-SHA-256 of its octets under a key that only the store holds, in hexadecimal.
    ///
    /// The version depends on the content alone, so that a PIN that is written again is not tried again. It needs a
    /// key, because a plain hash of a few digits would disclose them.
    #[must_use]
    pub fn version_of(&self, pin: &[u8]) -> String {
        hex::encode(hmac::sign(&self.hmac_key, pin))
    }

    /// Returns the resourceVersion of the Secret, which changes with every write. `None` for a file, which nobody else
    /// can write to in between.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        match &self.kept {
            Kept::Secret(secret) => secret.metadata.resource_version.as_deref(),
            Kept::File { .. } => None,
        }
    }
}

fn random_key() -> Result<[u8; HMAC_KEY_OCTETS], StoreError> {
    let mut octets = [0; HMAC_KEY_OCTETS];
    rand::fill(&mut octets).map_err(|_| StoreError::Random)?;
    Ok(octets)
}

fn hmac_key(octets: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, octets)
}
