//! Reads the certificate chain that an issuer names. By name, at every look: no watch, no cache of Secrets.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use crate::{
    api::issuer::{CertificateSource, ChainRef},
    pipeline::ChainPem,
};

/// Why there is no PEM.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// None or several sources. The API server refuses such objects where CEL validation is on.
    #[error("spec.certificate must have exactly one of secretRef, configMapRef and pem")]
    Source,
    /// The object is not there.
    #[error("{kind} {namespace}/{name} does not exist; create it with the certificate chain")]
    Missing {
        /// `Secret` or `ConfigMap`.
        kind: &'static str,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// The object lacks the key.
    #[error(
        "{kind} {namespace}/{name} has no key {key}; put the certificate chain there or name another key"
    )]
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
        /// Why not.
        source: Box<kube::Error>,
    },
}

/// Reads the chain; `namespace` is where the objects lie that the issuer names.
///
/// # Errors
/// [`MaterialError`].
pub async fn read(
    client: &Client,
    namespace: &str,
    source: &CertificateSource,
) -> Result<ChainPem, MaterialError> {
    let CertificateSource {
        secret_ref,
        config_map_ref,
        pem,
        root_pem,
    } = source;
    match (secret_ref, config_map_ref, pem) {
        (Some(at), None, None) => {
            let place = Place {
                kind: "Secret",
                namespace,
                at,
            };
            let secret = Api::<Secret>::namespaced(client.clone(), namespace)
                .get_opt(&at.name)
                .await;
            let secret = secret
                .map_err(|error| place.api(error))?
                .ok_or_else(|| place.missing())?;
            let data = secret
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.0));
            place.pick(data.collect())
        }
        (None, Some(at), None) => {
            let place = Place {
                kind: "ConfigMap",
                namespace,
                at,
            };
            let map = Api::<ConfigMap>::namespaced(client.clone(), namespace)
                .get_opt(&at.name)
                .await;
            let map = map
                .map_err(|error| place.api(error))?
                .ok_or_else(|| place.missing())?;
            let data = map
                .data
                .unwrap_or_default()
                .into_iter()
                .map(|(key, value)| (key, value.into_bytes()));
            place.pick(data.collect())
        }
        (None, None, Some(pem)) => Ok(ChainPem {
            chain: pem.clone().into_bytes(),
            root: root_pem.clone().map(String::into_bytes),
        }),
        (None | Some(_), None | Some(_), None | Some(_)) => Err(MaterialError::Source),
    }
}

struct Place<'a> {
    kind: &'static str,
    namespace: &'a str,
    at: &'a ChainRef,
}

impl Place<'_> {
    fn pick(&self, mut data: BTreeMap<String, Vec<u8>>) -> Result<ChainPem, MaterialError> {
        let root = data
            .get(&self.at.root_key)
            .filter(|root| !root.is_empty())
            .cloned();
        let chain = data
            .remove(&self.at.key)
            .ok_or_else(|| MaterialError::NoKey {
                kind: self.kind,
                namespace: self.namespace.to_owned(),
                name: self.at.name.clone(),
                key: self.at.key.clone(),
            })?;
        Ok(ChainPem { chain, root })
    }

    fn missing(&self) -> MaterialError {
        MaterialError::Missing {
            kind: self.kind,
            namespace: self.namespace.to_owned(),
            name: self.at.name.clone(),
        }
    }

    fn api(&self, source: kube::Error) -> MaterialError {
        MaterialError::Api {
            kind: self.kind,
            namespace: self.namespace.to_owned(),
            name: self.at.name.clone(),
            source: Box::new(source),
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
        Place {
            kind: "Secret",
            namespace: "shop",
            at: &at,
        }
        .pick(data.collect())
        .map_err(|error| error.to_string())
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
