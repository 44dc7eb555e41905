//! The Secret that keeps the PIN records of all tokens, and the key that turns PINs into versions.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, api::PostParams};

use super::{HMAC_KEY_OCTETS, Kept, PinStates, StoreError, hmac_key, random_key};
use crate::{
    api::FIELD_MANAGER,
    pins::{
        place::{PREFIX, RecordKeys},
        record::PinRecord,
        source::Secrets,
    },
};

/// Name of the Secret in the controller's namespace. The Secret must exist before the controller starts: the controller
/// may read and replace it, but may not create Secrets.
pub const PIN_STATE_SECRET: &str = "pkcs11-issuer-pin-state";

const HMAC_KEY: &str = "hmac-key";

/// Store of PIN records in the Secret.
#[derive(Clone, Debug)]
pub struct SecretStore {
    secrets: Api<Secret>,
    namespace: String,
}

impl SecretStore {
    /// Creates the store in the controller's namespace.
    #[must_use]
    pub fn new(secrets: &Secrets, namespace: &str) -> Self {
        Self {
            secrets: Api::namespaced(secrets.0.clone(), namespace),
            namespace: namespace.to_owned(),
        }
    }

    /// Reads the Secret, and adds a random key the first time.
    pub(super) async fn read(&self) -> Result<PinStates, StoreError> {
        let secret = self
            .secrets
            .get_opt(PIN_STATE_SECRET)
            .await
            .map_err(|error| self.api_error("get", error))?;
        let mut secret = secret.ok_or_else(|| StoreError::Missing {
            namespace: self.namespace.clone(),
        })?;
        if data(&secret, HMAC_KEY).is_none_or(|key| key.len() != HMAC_KEY_OCTETS) {
            if has_records(&secret) {
                return Err(StoreError::KeyLost {
                    namespace: self.namespace.clone(),
                });
            }
            secret
                .data
                .get_or_insert_default()
                .insert(HMAC_KEY.to_owned(), ByteString(random_key()?.to_vec()));
            secret = self.replace(secret).await?;
        }
        Ok(PinStates {
            hmac_key: hmac_key(data(&secret, HMAC_KEY).unwrap_or_default()),
            kept: Kept::Secret(Box::new(secret)),
        })
    }

    /// Writes one record if the Secret is unchanged since it was read.
    pub(super) async fn write(
        &self,
        mut secret: Secret,
        key: &str,
        record: &PinRecord,
    ) -> Result<(), StoreError> {
        let text = serde_json::to_vec(record).map_err(|source| StoreError::BadRecord {
            key: key.to_owned(),
            namespace: self.namespace.clone(),
            source,
        })?;
        secret
            .data
            .get_or_insert_default()
            .insert(key.to_owned(), ByteString(text));
        self.replace(secret).await.map(drop)
    }

    /// Returns the command that removes only the records that count for one token; `None` if no record does.
    pub(super) fn clearing(&self, secret: &Secret, place: &RecordKeys) -> Option<String> {
        let removals: Vec<_> = counting(secret, place)
            .map(|(key, _)| format!(r#"{{"op": "remove", "path": "/data/{key}"}}"#))
            .collect();
        let (namespace, removals) = (&self.namespace, removals.join(", "));
        (!removals.is_empty()).then(|| {
            format!(
                "kubectl patch secret {PIN_STATE_SECRET} --namespace {namespace} --type=json --patch '[{removals}]'"
            )
        })
    }

    /// Returns the records that count for the token at this place, by their keys.
    pub(super) fn records(
        &self,
        secret: &Secret,
        place: &RecordKeys,
    ) -> Result<BTreeMap<String, PinRecord>, StoreError> {
        let read = counting(secret, place).map(|(key, value)| {
            let record =
                serde_json::from_slice(&value.0).map_err(|source| StoreError::BadRecord {
                    key: key.clone(),
                    namespace: self.namespace.clone(),
                    source,
                })?;
            Ok((key.clone(), record))
        });
        read.collect()
    }

    async fn replace(&self, secret: Secret) -> Result<Secret, StoreError> {
        let params = PostParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        let replaced = self
            .secrets
            .replace(PIN_STATE_SECRET, &params, &secret)
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

fn data<'a>(secret: &'a Secret, key: &str) -> Option<&'a [u8]> {
    secret
        .data
        .as_ref()?
        .get(key)
        .map(|octets| octets.0.as_slice())
}

/// Returns the entries whose records count for the token at this place.
fn counting<'a>(
    secret: &'a Secret,
    place: &'a RecordKeys,
) -> impl Iterator<Item = (&'a String, &'a ByteString)> {
    let by_serial = key_by_serial(place.serial());
    let data = secret.data.iter().flatten();
    data.filter(move |(key, _)| *key == place.own() || place.relates(key, &by_serial))
}

/// Returns whether the Secret has any record. If so, no new key may be made: it would give every PIN another version, a
/// rejected one included.
fn has_records(secret: &Secret) -> bool {
    let mut keys = secret.data.iter().flat_map(|data| data.keys());
    keys.any(|key| {
        [PREFIX, PLAIN, IN_HEX]
            .iter()
            .any(|prefix| key.starts_with(prefix))
    })
}

/// Prefixes of the keys under which earlier versions kept records, by serial number alone.
const PLAIN: &str = "serial.";
const IN_HEX: &str = "serial-hex.";

/// Returns the key under which earlier versions kept a token's record. Keys of a Secret consist of `[-._a-zA-Z0-9]`; a
/// serial number may contain anything.
fn key_by_serial(serial: &str) -> String {
    let plain = !serial.is_empty()
        && serial
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '-');
    if plain {
        format!("{PLAIN}{serial}")
    } else {
        format!("{IN_HEX}{}", hex::encode(serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_serial_numbers_never_share_a_record() {
        let serials = ["", "a", "A b", "a/b", "61", "serial", "é", "a b"];
        let keys: std::collections::BTreeSet<_> =
            serials.iter().map(|serial| key_by_serial(serial)).collect();
        assert_eq!(keys.len(), serials.len());
    }

    #[test]
    fn a_secret_has_records_when_it_has_one_of_any_token() {
        let with = |key: &str| Secret {
            data: Some([(key.to_owned(), ByteString(Vec::new()))].into()),
            ..Secret::default()
        };
        assert!(!has_records(&Secret::default()));
        assert!(!has_records(&with(HMAC_KEY)));
        assert!(has_records(&with(&key_by_serial("1404389111"))));
        assert!(has_records(&with(&key_by_serial("x y"))));
        assert!(has_records(&with("token.1.0123")));
    }

    #[test]
    fn a_record_key_is_a_legal_key_of_a_secret() {
        for serial in ["1404389111", "x y", "ü", ""] {
            let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            assert!(key_by_serial(serial).chars().all(legal), "{serial}");
        }
    }
}
