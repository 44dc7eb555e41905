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
use super::record::PinRecord;

const HMAC_KEY_OCTETS: usize = 32;

/// Reads and writes PIN records.
#[derive(Debug)]
pub enum PinStore {
    /// In the controller's namespace, shared by its replicas.
    Secret(Box<SecretStore>),
    /// On this machine, shared by everybody who runs the command line with it.
    File(FileStore),
}

/// The records as they were read, and the key under which a PIN becomes its version.
pub struct PinStates {
    kept: Kept,
    hmac_key: hmac::Key,
}

enum Kept {
    /// Writing back succeeds only if nobody wrote in between.
    Secret(Box<Secret>),
    /// By the token's serial number; nobody can write in between.
    File {
        hmac_key: String,
        tokens: BTreeMap<String, PinRecord>,
    },
}

/// Why a PIN record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The Secret must exist before.
    #[error(
        "Secret {namespace}/{PIN_STATE_SECRET} does not exist; create it empty, as the chart does"
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
        /// Why not.
        source: Box<kube::Error>,
    },
    /// Somebody else wrote in between: read again.
    #[error("Secret {PIN_STATE_SECRET} was changed by somebody else at the same time")]
    Conflict,
    /// Somebody edited the record into something else.
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
    /// The operating system did not let us.
    #[error(
        "failed to {verb} {}, without which no PIN is tried; make its folder writable, or name another file as pinRecord of the token", path.display()
    )]
    Io {
        /// What was tried.
        verb: &'static str,
        /// The file of the record, or one that goes with it.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Without the key no PIN can be compared with those that were rejected.
    #[error(
        "Secret {namespace}/{PIN_STATE_SECRET} has records of PIN tries and no hmac-key of {HMAC_KEY_OCTETS} octets, which is what they compare PINs with; check the PIN and the token, then remove all data of the Secret"
    )]
    KeyLost {
        /// The controller's namespace.
        namespace: String,
    },
    /// Somebody edited the file into something else.
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
    /// settled or [let go](Self::let_go); waits while another process has it.
    ///
    /// # Errors
    /// [`StoreError`]; never an invented record.
    pub async fn read(&self) -> Result<PinStates, StoreError> {
        match self {
            Self::Secret(store) => store.read().await,
            Self::File(store) => store.read().await,
        }
    }

    /// Writes one record: to a Secret provided that it is still as it was read, to a file so that it survives a loss of
    /// power as soon as this returns.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if the Secret is another one now; else why it could not be written.
    pub async fn write(
        &self,
        states: PinStates,
        serial: &str,
        record: &PinRecord,
    ) -> Result<(), StoreError> {
        match (self, states.kept) {
            (Self::Secret(store), Kept::Secret(secret)) => {
                store.write(*secret, serial, record).await
            }
            (Self::File(store), Kept::File { hmac_key, tokens }) => {
                store.write(hmac_key, tokens, serial, record)
            }
            // What was read from elsewhere is not what is here now.
            (Self::Secret(_), Kept::File { .. }) | (Self::File(_), Kept::Secret(_)) => {
                Err(StoreError::Conflict)
            }
        }
    }

    /// The record of the token with this serial number.
    ///
    /// # Errors
    /// [`StoreError::BadRecord`] if somebody broke it.
    pub fn record(
        &self,
        states: &PinStates,
        serial: &str,
    ) -> Result<Option<PinRecord>, StoreError> {
        match (self, &states.kept) {
            (Self::Secret(store), Kept::Secret(secret)) => store.record(secret, serial),
            (Self::Secret(_) | Self::File(_), Kept::File { tokens, .. }) => {
                Ok(tokens.get(serial).cloned())
            }
            (Self::File(_), Kept::Secret(_)) => Err(StoreError::Conflict),
        }
    }

    /// No login follows on what was read: others may look.
    pub fn let_go(&self) {
        match self {
            Self::Secret(_) => {}
            Self::File(store) => store.let_go(),
        }
    }

    /// Whether nobody else can be in the middle of a login: whoever wrote that it tries is gone.
    #[must_use]
    pub const fn is_exclusive(&self) -> bool {
        match self {
            Self::Secret(_) => false,
            Self::File(_) => true,
        }
    }
}

/// The key is in neither of its parts to be shown.
impl fmt::Debug for PinStates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinStates").finish_non_exhaustive()
    }
}

impl PinStates {
    /// The version of a PIN, wherever it comes from: HMAC-SHA-256 of its octets under a key that only the store holds,
    /// in hexadecimal. By its content, so that to write the same PIN anew is no reason to try it anew; under a key,
    /// because a plain hash of a few digits would disclose them.
    #[must_use]
    pub fn version_of(&self, pin: &[u8]) -> String {
        hex::encode(hmac::sign(&self.hmac_key, pin))
    }

    /// Changes whenever somebody writes to the Secret; a file nobody else can write to meanwhile.
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
