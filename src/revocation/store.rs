//! Heads and chunks as ConfigMaps of the controller's namespace.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::{
    ByteString, api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{DeleteParams, ListParams, PostParams},
};

use super::{
    entry::unpack,
    head::{RegisterHead, ShardKey, StoredCrl, sha256},
    shard::{Chunk, NewChunk, Shard, Write},
};
use crate::api::FIELD_MANAGER;

/// Label of heads; its value is the CA.
pub(super) const HEAD_LABEL: &str = "pkcs11-issuer.dev/crl";
/// Label of chunks; its value is the CA.
const CHUNK_LABEL: &str = "pkcs11-issuer.dev/crl-chunk";
/// Key of the head in its ConfigMap.
const HEAD: &str = "head.json";
/// Key of the content of a chunk in its ConfigMap.
const CONTENT: &str = "content";
/// Time limit for one call.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Chunks that are read or written at the same time. Each is in memory several times over: in base64, in JSON, in the body.
const CHUNKS_AT_ONCE: usize = 2;
/// Names in one page of a list.
const PAGE: u32 = 500;

/// Client for the ConfigMaps, with a time limit for each call.
#[derive(Clone)]
pub(super) struct Store {
    api: Api<ConfigMap>,
}

/// Why the register could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RegisterStoreError {
    /// The API server refused or could not be reached.
    #[error("failed to {verb} ConfigMap {name}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// Its name.
        name: String,
        /// The cause.
        source: Box<kube::Error>,
    },
    /// No answer.
    #[error("the API server took too long to {verb} ConfigMap {name}")]
    TimedOut {
        /// What was tried.
        verb: &'static str,
        /// Its name.
        name: String,
    },
    /// Somebody has changed a ConfigMap, or another version of the controller wrote it.
    #[error(
        "ConfigMap {name} is not readable as a part of a CRL register ({why}); restore it from a backup, and then run `pkcs11-issuer crl import` with the newest published CRL"
    )]
    Broken {
        /// Its name.
        name: String,
        /// What is wrong.
        why: String,
    },
}

/// A head as it is stored.
#[derive(Clone, Debug)]
pub(super) struct StoredHead {
    pub(super) head: RegisterHead,
    /// The object, with its version, on which the next write is conditional, and with whatever others have written on it.
    object: ConfigMap,
}

/// A shard as it is stored.
#[derive(Clone, Debug)]
pub(super) struct StoredShard {
    pub(super) shard: Shard,
    /// The object with the head; `None` if there is none yet.
    object: Option<ConfigMap>,
}

impl StoredShard {
    /// Returns a shard that is not stored yet.
    pub(super) const fn new(shards: u16) -> Self {
        Self {
            shard: Shard::new(shards),
            object: None,
        }
    }
}

impl Store {
    pub(super) fn new(client: Client, namespace: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
        }
    }

    /// Returns the client for the ConfigMaps.
    pub(super) const fn api(&self) -> &Api<ConfigMap> {
        &self.api
    }

    /// Reads a head; `None` if it does not exist.
    pub(super) async fn head(
        &self,
        key: &ShardKey,
    ) -> Result<Option<StoredHead>, RegisterStoreError> {
        let name = key.head_name();
        let found = call("get", &name, self.api.get_opt(&name)).await?;
        found.map(|map| read_head(&map)).transpose()
    }

    /// Reads a shard; `None` if it does not exist. Chunks that `known` has are not read again.
    pub(super) async fn shard(
        &self,
        key: &ShardKey,
        known: Option<&Shard>,
    ) -> Result<Option<StoredShard>, RegisterStoreError> {
        let Some(stored) = self.head(key).await? else {
            return Ok(None);
        };
        self.join(key, stored, known).await.map(Some)
    }

    /// Reads the chunks of a head. Chunks that `known` has are not read again.
    pub(super) async fn join(
        &self,
        key: &ShardKey,
        StoredHead { head, object }: StoredHead,
        known: Option<&Shard>,
    ) -> Result<StoredShard, RegisterStoreError> {
        let names: Vec<String> = head.chunks.iter().map(|chunk| chunk.name.clone()).collect();
        let chunks = stream::iter(names).map(|name| async move {
            if let Some(chunk) = known.and_then(|known| known.chunk(&name)) {
                return Ok(Arc::clone(chunk));
            }
            let octets = self.content(&name).await?;
            let entries = unpack(&octets).map_err(|why| broken(&name, why.to_string()))?;
            Ok::<_, RegisterStoreError>(Arc::new(Chunk { name, entries }))
        });
        let chunks = chunks.buffered(CHUNKS_AT_ONCE).try_collect().await?;
        let shard = Shard::of(head, chunks)
            .ok_or_else(|| broken(&key.head_name(), "other chunks than it lists".to_owned()))?;
        Ok(StoredShard {
            shard,
            object: Some(object),
        })
    }

    /// Reads the DER of a CRL in its chunks.
    pub(super) async fn crl(&self, crl: &StoredCrl) -> Result<Vec<u8>, RegisterStoreError> {
        let parts = stream::iter(crl.chunks.clone())
            .map(|name| async move { self.content(&name).await })
            .buffered(CHUNKS_AT_ONCE);
        let parts: Vec<Vec<u8>> = parts.try_collect().await?;
        let der = parts.concat();
        if sha256(&der) != crl.sha256 {
            let first = crl.chunks.first().map_or("", String::as_str);
            return Err(broken(first, "the CRL has another hash".to_owned()));
        }
        Ok(der)
    }

    /// Stores the chunks and then the head, if the stored head is still that of `before`. Returns the stored shard, or `None`
    /// if another replica has written the head in the meantime.
    pub(super) async fn write(
        &self,
        key: &ShardKey,
        before: &StoredShard,
        Write { shard, chunks }: Write,
    ) -> Result<Option<StoredShard>, RegisterStoreError> {
        let writes = stream::iter(chunks)
            .map(|chunk| self.create_chunk(key, chunk))
            .buffer_unordered(CHUNKS_AT_ONCE);
        writes.try_collect::<()>().await?;
        let name = key.head_name();
        let text =
            serde_json::to_string(&shard.head).map_err(|why| broken(&name, why.to_string()))?;
        let mut map = before.object.clone().unwrap_or_default();
        map.metadata.name = Some(name.clone());
        map.labels_mut()
            .insert(HEAD_LABEL.to_owned(), key.ca.to_string());
        map.data
            .get_or_insert_default()
            .insert(HEAD.to_owned(), text);
        let params = params();
        let written = match &before.object {
            Some(_) => call("replace", &name, self.api.replace(&name, &params, &map)).await,
            None => call("create", &name, self.api.create(&params, &map)).await,
        };
        match written {
            Ok(map) => Ok(Some(StoredShard {
                shard,
                object: Some(without_head(map)),
            })),
            // Replaced, created or deleted by others.
            Err(RegisterStoreError::Api { source, .. }) if has_code(&source, &[404, 409]) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Sets keys of a ConfigMap and leaves the others alone. Returns `false` if others have written it at the same time.
    pub(super) async fn put(
        &self,
        name: &str,
        set: impl FnOnce(&mut ConfigMap),
    ) -> Result<bool, RegisterStoreError> {
        let before = call("get", name, self.api.get_opt(name)).await?;
        let mut map = before.clone().unwrap_or_default();
        set(&mut map);
        let params = params();
        let written = match &before {
            Some(before) if *before == map => return Ok(true),
            Some(_) => call("replace", name, self.api.replace(name, &params, &map)).await,
            None => {
                map.metadata.name = Some(name.to_owned());
                call("create", name, self.api.create(&params, &map)).await
            }
        };
        match written {
            Ok(_) => Ok(true),
            Err(RegisterStoreError::Api { source, .. }) if has_code(&source, &[404, 409]) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Deletes the chunks that the stored heads of a CA do not list any more.
    pub(super) async fn sweep(
        &self,
        key: &ShardKey,
        head: &RegisterHead,
    ) -> Result<usize, RegisterStoreError> {
        let label = format!("{CHUNK_LABEL}={}", key.ca);
        let mut params = ListParams::default().labels(&label).limit(PAGE);
        let mut dead = Vec::new();
        loop {
            let page = call("list", &label, self.api.list_metadata(&params)).await?;
            let names = page.items.iter().map(kube::ResourceExt::name_any);
            dead.extend(names.filter(|name| head.is_dead(key, name)));
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => break,
            }
        }
        self.delete(&dead).await?;
        Ok(dead.len())
    }

    /// Deletes chunks; they may be gone already.
    pub(super) async fn delete(&self, chunks: &[String]) -> Result<(), RegisterStoreError> {
        for name in chunks {
            let params = DeleteParams::default();
            match call("delete", name, self.api.delete(name, &params)).await {
                Ok(_) => {}
                Err(RegisterStoreError::Api { source, .. }) if has_code(&source, &[404]) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn content(&self, name: &str) -> Result<Vec<u8>, RegisterStoreError> {
        let map = call("get", name, self.api.get(name)).await?;
        let content = map.binary_data.and_then(|mut data| data.remove(CONTENT));
        let content = content.ok_or_else(|| broken(name, format!("it lacks the key {CONTENT}")))?;
        Ok(content.0)
    }

    async fn create_chunk(
        &self,
        key: &ShardKey,
        chunk: NewChunk,
    ) -> Result<(), RegisterStoreError> {
        let NewChunk { name, octets } = chunk;
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                labels: Some([(CHUNK_LABEL.to_owned(), key.ca.to_string())].into()),
                ..ObjectMeta::default()
            },
            binary_data: Some(BTreeMap::from([(CONTENT.to_owned(), ByteString(octets))])),
            immutable: Some(true),
            ..ConfigMap::default()
        };
        match call("create", &name, self.api.create(&params(), &map)).await {
            Ok(_) => Ok(()),
            // The name has the hash of the content, so the content is the same.
            Err(RegisterStoreError::Api { source, .. }) if has_code(&source, &[409]) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Reads the head in a ConfigMap.
pub(super) fn read_head(map: &ConfigMap) -> Result<StoredHead, RegisterStoreError> {
    let name = map.name_any();
    let text = map.data.as_ref().and_then(|data| data.get(HEAD));
    let text = text.ok_or_else(|| broken(&name, format!("it lacks the key {HEAD}")))?;
    Ok(StoredHead {
        head: serde_json::from_str(text).map_err(|why| broken(&name, why.to_string()))?,
        object: without_head(map.clone()),
    })
}

/// Returns the object without the text of the head, which is kept in its parsed form.
fn without_head(mut map: ConfigMap) -> ConfigMap {
    if let Some(data) = &mut map.data {
        data.remove(HEAD);
    }
    map.metadata.managed_fields = None;
    map
}

/// Returns the shard that a ConfigMap with a head is of; `None` if its name and its label do not fit.
pub(super) fn key_of(map: &ConfigMap) -> Option<ShardKey> {
    let ca = map.labels().get(HEAD_LABEL)?.parse().ok()?;
    let name = map.name_any();
    let (_, shard) = name.rsplit_once('-')?;
    let shard = shard.parse().ok()?;
    let key = ShardKey { ca, shard };
    (key.head_name() == name).then_some(key)
}

fn params() -> PostParams {
    PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    }
}

fn broken(name: &str, why: String) -> RegisterStoreError {
    RegisterStoreError::Broken {
        name: name.to_owned(),
        why,
    }
}

fn has_code(error: &kube::Error, codes: &[u16]) -> bool {
    matches!(error, kube::Error::Api(status) if codes.contains(&status.code))
}

async fn call<T>(
    verb: &'static str,
    name: &str,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, RegisterStoreError> {
    match tokio::time::timeout(ANSWER_WITHIN, call).await {
        Ok(answer) => answer.map_err(|source| RegisterStoreError::Api {
            verb,
            name: name.to_owned(),
            source: Box::new(source),
        }),
        Err(_) => Err(RegisterStoreError::TimedOut {
            verb,
            name: name.to_owned(),
        }),
    }
}
