//! Reads the objects that issuers depend on: certificate chains in Secrets and ConfigMaps, and the labels of the issuers'
//! namespaces. It reads them by name at every look, without a watch and without a cache of Secrets.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use http::header::{ACCEPT, HeaderValue};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{
    Client, Resource,
    api::{GetParams, PartialObjectMeta, Request},
};
use serde::de::DeserializeOwned;

use crate::{
    api::issuer::{CertificateSource, ChainRef},
    config::Labels,
    pipeline::{ChainPem, Keys, Once, ParsedChain, Same},
    reconcile::call::{METADATA_ALONE, call},
};

/// Why a certificate chain cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub(in crate::reconcile) enum MaterialError {
    /// No source, or several. The API server refuses such objects if CEL validation is on.
    #[error("spec.certificate must have exactly one of secretRef, configMapRef and pem")]
    Source,
    /// The object does not exist.
    #[error("{kind} {namespace}/{name} does not exist; create it")]
    Missing {
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The object lacks the key.
    #[error("{kind} {namespace}/{name} has no key {key}; add it or name another key")]
    NoKey {
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key that was looked for.
        key: String,
    },
    /// The API server refused or could not be reached.
    #[error("failed to read {kind} {namespace}/{name}")]
    Api {
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The cause.
        source: Arc<kube::Error>,
    },
}

/// The objects that issuers depend on, read once for all issuers that are looked at together. They are forgotten when no
/// look is in progress, so this is no cache of Secrets.
#[derive(Debug, Default)]
pub(super) struct Reads {
    objects: Once<Object, Result<Arc<Content>, Arc<kube::Error>>>,
    chains: Once<(Same<Content>, ChainRef), Result<Arc<ParsedChain>, MaterialError>>,
    labels: Once<String, Result<Labels, Arc<kube::Error>>>,
    /// The issuers' keys on tokens.
    pub keys: Keys,
}

/// A Secret or ConfigMap.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Object {
    kind: &'static str,
    namespace: String,
    name: String,
}

/// The data of an object; `None` if the object does not exist.
type Content = Option<BTreeMap<String, Vec<u8>>>;

impl Reads {
    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.objects.clear();
        self.chains.clear();
        self.labels.clear();
        self.keys.clear();
    }

    /// Reads the labels of a namespace as they are at `since` or later.
    pub(super) async fn labels(
        &self,
        client: &Client,
        namespace: &str,
        since: Instant,
    ) -> Result<Labels, Arc<kube::Error>> {
        let read = async {
            let read: PartialObjectMeta =
                get::<Namespace, _>(client, None, namespace, Some(METADATA_ALONE)).await?;
            Ok(read.metadata.labels.unwrap_or_default())
        };
        let read = async { read.await.map_err(Arc::new) };
        self.labels.get(namespace.to_owned(), since, read).await
    }

    /// Reads the chain as it is at `since` or later. `namespace` is the namespace of the objects that the issuer names.
    /// Certificates that are the same as one of `earlier` are not parsed again.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub(super) async fn chain(
        &self,
        client: &Client,
        namespace: &str,
        source: &CertificateSource,
        since: Instant,
        earlier: &[&Arc<ParsedChain>],
    ) -> Result<Arc<ParsedChain>, MaterialError> {
        let CertificateSource {
            secret_ref,
            config_map_ref,
            pem,
            root_pem,
        } = source;
        let (kind, at) = match (secret_ref, config_map_ref, pem) {
            (Some(at), None, None) => ("Secret", at),
            (None, Some(at), None) => ("ConfigMap", at),
            (None, None, Some(pem)) => {
                let pem = ChainPem {
                    chain: pem.clone().into_bytes(),
                    root: root_pem.clone().map(String::into_bytes),
                };
                return Ok(parsed(pem, earlier).await);
            }
            (None | Some(_), None | Some(_), None | Some(_)) => return Err(MaterialError::Source),
        };
        let object = Object {
            kind,
            namespace: namespace.to_owned(),
            name: at.name.clone(),
        };
        let content = self.objects.get(object.clone(), since, object.read(client));
        let content = content.await.map_err(|source| object.api(source))?;
        let question = (Same(Arc::clone(&content)), at.clone());
        let read = async {
            let data = content.as_ref().as_ref().ok_or_else(|| object.missing())?;
            Ok(parsed(object.pick(data, at)?, earlier).await)
        };
        self.chains.get(question, since, read).await
    }
}

impl Reads {
    /// Reads one key of an object as it is at `since` or later.
    ///
    /// # Errors
    /// [`MaterialError`].
    pub(super) async fn value(
        &self,
        client: &Client,
        kind: &'static str,
        namespace: &str,
        name: &str,
        key: &str,
        since: Instant,
    ) -> Result<Vec<u8>, MaterialError> {
        let object = Object {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let content = self.objects.get(object.clone(), since, object.read(client));
        let content = content.await.map_err(|source| object.api(source))?;
        let data = content.as_ref().as_ref().ok_or_else(|| object.missing())?;
        data.get(key).cloned().ok_or_else(|| object.no_key(key))
    }
}

async fn parsed(pem: ChainPem, earlier: &[&Arc<ParsedChain>]) -> Arc<ParsedChain> {
    match earlier.iter().find(|earlier| earlier.is_of(&pem)) {
        Some(same) => Arc::clone(same),
        None => Arc::new(ParsedChain::parse(pem).await),
    }
}

/// Reads one object.
async fn get<K: Resource<DynamicType = ()>, T: DeserializeOwned>(
    client: &Client,
    namespace: Option<&str>,
    name: &str,
    accept: Option<&'static str>,
) -> kube::Result<T> {
    let path = Request::new(K::url_path(&(), namespace));
    let request = path.get(name, &GetParams::default());
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    if let Some(accept) = accept {
        request
            .headers_mut()
            .insert(ACCEPT, HeaderValue::from_static(accept));
    }
    call(client, request).await
}

impl Object {
    async fn read(&self, client: &Client) -> Result<Arc<Content>, Arc<kube::Error>> {
        let namespace = Some(&*self.namespace);
        let read = if self.kind == "Secret" {
            let read = get::<Secret, Secret>(client, namespace, &self.name, None).await;
            read.map(|secret| {
                let data = secret.data.unwrap_or_default().into_iter();
                data.map(|(key, value)| (key, value.0)).collect()
            })
        } else {
            let read = get::<ConfigMap, ConfigMap>(client, namespace, &self.name, None).await;
            read.map(|map| {
                let data = map.data.unwrap_or_default().into_iter();
                data.map(|(key, value)| (key, value.into_bytes())).collect()
            })
        };
        match read {
            Ok(data) => Ok(Arc::new(Some(data))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(Arc::new(None)),
            Err(error) => Err(Arc::new(error)),
        }
    }

    fn pick(
        &self,
        data: &BTreeMap<String, Vec<u8>>,
        at: &ChainRef,
    ) -> Result<ChainPem, MaterialError> {
        let root = data.get(&at.root_key).filter(|root| !root.is_empty());
        let chain = data.get(&at.key).ok_or_else(|| self.no_key(&at.key))?;
        Ok(ChainPem {
            chain: chain.clone(),
            root: root.cloned(),
        })
    }

    fn no_key(&self, key: &str) -> MaterialError {
        MaterialError::NoKey {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            key: key.to_owned(),
        }
    }

    fn missing(&self) -> MaterialError {
        MaterialError::Missing {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
        }
    }

    fn api(&self, source: Arc<kube::Error>) -> MaterialError {
        MaterialError::Api {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(keys: &[(&str, &str)]) -> Result<ChainPem, String> {
        let at = ChainRef {
            name: "ca".to_owned(),
            key: "tls.crt".to_owned(),
            root_key: "ca.crt".to_owned(),
        };
        let data = keys
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec()));
        let object = Object {
            kind: "Secret",
            namespace: "shop".to_owned(),
            name: "ca".to_owned(),
        };
        let picked = object.pick(&data.collect(), &at);
        picked.map_err(|error| error.to_string())
    }

    #[test]
    fn the_root_may_be_absent_and_the_chain_may_not() {
        assert_eq!(
            pick(&[("tls.crt", "c")]),
            Ok(ChainPem {
                chain: b"c".to_vec(),
                root: None
            })
        );
        assert_eq!(
            pick(&[("tls.crt", "c"), ("ca.crt", "")]),
            Ok(ChainPem {
                chain: b"c".to_vec(),
                root: None
            })
        );
        let error = pick(&[("ca.crt", "r")]).unwrap_err();
        assert!(
            error.starts_with("Secret shop/ca has no key tls.crt"),
            "{error}"
        );
    }
}
