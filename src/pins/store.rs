//! The Secret that keeps the PIN records of all tokens, and the key that hides the PINs of files.

use aws_lc_rs::{hmac, rand};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client, api::PostParams};

use super::record::PinRecord;

/// Name of the Secret, in the controller's namespace. It exists before the controller starts: the controller may
/// read and replace this one Secret and create none.
pub const PIN_STATE_SECRET: &str = "pkcs11-issuer-pin-state";

const HMAC_KEY: &str = "hmac-key";
const HMAC_KEY_OCTETS: usize = 32;

/// Reads and writes PIN records.
#[derive(Clone, Debug)]
pub struct PinStore {
    secrets: Api<Secret>,
    namespace: String,
}

/// The Secret as it was read; writing back succeeds only if nobody wrote in between.
#[derive(Debug)]
pub struct PinStates {
    secret: Secret,
    hmac_key: hmac::Key,
}

/// Why a PIN record could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The Secret must exist before.
    #[error(
        "Secret {namespace}/{PIN_STATE_SECRET} does not exist; create it empty (docs/rbac.yaml has it)"
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
    /// The operating system gave no random octets.
    #[error("no random octets for the key of the PIN record")]
    Random,
}

impl PinStore {
    /// The store in the controller's namespace.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
        }
    }

    /// Reads the Secret, and gives it a random key the first time.
    ///
    /// # Errors
    /// [`StoreError`]; never an invented record.
    pub async fn read(&self) -> Result<PinStates, StoreError> {
        let secret = self
            .secrets
            .get_opt(PIN_STATE_SECRET)
            .await
            .map_err(|error| self.api_error("get", error))?;
        let mut secret = secret.ok_or_else(|| StoreError::Missing {
            namespace: self.namespace.clone(),
        })?;
        if data(&secret, HMAC_KEY).is_none_or(|key| key.len() != HMAC_KEY_OCTETS) {
            let mut octets = [0; HMAC_KEY_OCTETS];
            rand::fill(&mut octets).map_err(|_| StoreError::Random)?;
            secret
                .data
                .get_or_insert_default()
                .insert(HMAC_KEY.to_owned(), ByteString(octets.to_vec()));
            secret = self.replace(secret).await?;
        }
        let hmac_key = hmac::Key::new(
            hmac::HMAC_SHA256,
            data(&secret, HMAC_KEY).unwrap_or_default(),
        );
        Ok(PinStates { secret, hmac_key })
    }

    /// Writes one record, provided that the Secret is still as it was read.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] if it is not; else [`StoreError::Api`].
    pub async fn write(
        &self,
        states: PinStates,
        serial: &str,
        record: &PinRecord,
    ) -> Result<(), StoreError> {
        let key = record_key(serial);
        let text = serde_json::to_vec(record).map_err(|source| StoreError::BadRecord {
            key: key.clone(),
            namespace: self.namespace.clone(),
            source,
        })?;
        let mut secret = states.secret;
        secret
            .data
            .get_or_insert_default()
            .insert(key, ByteString(text));
        self.replace(secret).await.map(drop)
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
        let key = record_key(serial);
        data(&states.secret, &key)
            .map(serde_json::from_slice)
            .transpose()
            .map_err(|source| StoreError::BadRecord {
                key,
                namespace: self.namespace.clone(),
                source,
            })
    }

    async fn replace(&self, secret: Secret) -> Result<Secret, StoreError> {
        let replaced = self
            .secrets
            .replace(PIN_STATE_SECRET, &PostParams::default(), &secret)
            .await;
        replaced.map_err(|error| {
            if matches!(&error, kube::Error::Api(status) if status.code == 409) {
                StoreError::Conflict
            } else {
                self.api_error("replace", error)
            }
        })
    }

    fn api_error(&self, verb: &'static str, source: kube::Error) -> StoreError {
        StoreError::Api {
            verb,
            namespace: self.namespace.clone(),
            source: Box::new(source),
        }
    }
}

impl PinStates {
    /// The version of a PIN that comes from a file: HMAC-SHA-256 under a key that only the Secret holds, because a
    /// plain hash of a few digits would disclose them.
    #[must_use]
    pub fn version_of(&self, pin: &[u8]) -> String {
        hex::encode(hmac::sign(&self.hmac_key, pin))
    }

    /// Changes whenever somebody writes to the Secret.
    #[must_use]
    pub fn resource_version(&self) -> Option<&str> {
        self.secret.metadata.resource_version.as_deref()
    }
}

fn data<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret
        .data
        .as_ref()?
        .get(key)
        .map(|octets| octets.0.as_slice())
}

/// Keys of a Secret are made of `[-._a-zA-Z0-9]`; a serial number may hold anything.
fn record_key(serial: &str) -> String {
    let plain = !serial.is_empty()
        && serial
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-');
    if plain {
        format!("serial.{serial}")
    } else {
        format!("serial-hex.{}", hex::encode(serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_serial_numbers_never_share_a_record() {
        let serials = ["", "a", "A b", "a/b", "61", "serial", "é", "a b"];
        let keys: std::collections::BTreeSet<_> =
            serials.iter().map(|serial| record_key(serial)).collect();
        assert_eq!(keys.len(), serials.len());
    }

    #[test]
    fn a_record_key_is_a_legal_key_of_a_secret() {
        for serial in ["1404389111", "x y", "ü", ""] {
            let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            assert!(record_key(serial).chars().all(legal), "{serial}");
        }
    }
}
