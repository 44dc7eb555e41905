//! The issuer that the user names in the cluster: its specification, the labels of its namespace, and its certificates.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::{Api, Client, ResourceExt as _};

use super::{
    check::{CheckId, FailedCheck},
    issuer::{GivenIssuer, Source},
};
use crate::{
    api::{
        IssuerName,
        issuer::{
            CertificateSource, ChainRef, IssuerKind, IssuerSpec, PKCS11ClusterIssuer, PKCS11Issuer,
        },
    },
    pipeline::ChainPem,
    telemetry::ErrorChain,
};

/// Returns the name of an issuer in the cluster: `PKCS11ClusterIssuer/NAME` or `PKCS11Issuer/NAMESPACE/NAME`. `None` for
/// everything else, such as the path of a file.
pub(super) fn parse(text: &str) -> Option<IssuerName> {
    let parts: Vec<_> = text.split('/').collect();
    match parts[..] {
        [PKCS11ClusterIssuer::KIND, name] if !name.is_empty() => Some(IssuerName {
            namespace: None,
            name: name.to_owned(),
        }),
        [PKCS11Issuer::KIND, namespace, name] if !namespace.is_empty() && !name.is_empty() => {
            Some(IssuerName {
                namespace: Some(namespace.to_owned()),
                name: name.to_owned(),
            })
        }
        _ => None,
    }
}

/// Reads the issuer with what it names. `own_namespace` has the objects that cluster issuers name.
///
/// # Errors
/// There is no such issuer, or this user may not read it.
pub(super) async fn read(
    client: &Client,
    name: IssuerName,
    own_namespace: &str,
) -> Result<(GivenIssuer, Source), FailedCheck> {
    let spec = match &name.namespace {
        None => spec(Api::<PKCS11ClusterIssuer>::all(client.clone()), &name).await?,
        Some(namespace) => {
            spec(
                Api::<PKCS11Issuer>::namespaced(client.clone(), namespace),
                &name,
            )
            .await?
        }
    };
    let labels = match &name.namespace {
        Some(namespace) => {
            let namespaces = Api::<Namespace>::all(client.clone());
            let read = namespaces.get_metadata(namespace).await;
            // A user who may not read them sees what grants without labels cover.
            read.map_or_else(|_| BTreeMap::new(), |it| it.labels().clone())
        }
        None => BTreeMap::new(),
    };
    let namespace = name.namespace.as_deref().unwrap_or(own_namespace);
    let pem = chain(client, namespace, &spec.certificate).await;
    let given = GivenIssuer { name, labels, spec };
    Ok((given, pem))
}

async fn spec<K: IssuerKind>(
    issuers: Api<K>,
    name: &IssuerName,
) -> Result<IssuerSpec, FailedCheck> {
    let failed = |why: &dyn std::fmt::Display| {
        FailedCheck::new(CheckId::IssuerValid, format_args!("{name}: {why}"))
    };
    match issuers.get_opt(&name.name).await {
        Ok(Some(issuer)) => Ok(issuer.issuer_spec().clone()),
        Ok(None) => Err(failed(&"there is no such issuer")),
        Err(why) => Err(failed(&ErrorChain(&why))),
    }
}

async fn chain(client: &Client, namespace: &str, source: &CertificateSource) -> Source {
    let CertificateSource {
        secret_ref,
        config_map_ref,
        pem,
        root_pem,
    } = source;
    let (kind, at, data) = match (secret_ref, config_map_ref, pem) {
        (Some(at), None, None) => {
            let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
            let read = secrets.get_opt(&at.name).await;
            let data = read.map(|it| {
                it.map(|it| {
                    let data = it.data.unwrap_or_default().into_iter();
                    data.map(|(key, value)| (key, value.0)).collect()
                })
            });
            ("Secret", at, data)
        }
        (None, Some(at), None) => {
            let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
            let read = maps.get_opt(&at.name).await;
            let data = read.map(|it| {
                it.map(|it| {
                    let data = it.data.unwrap_or_default().into_iter();
                    data.map(|(key, value)| (key, value.into_bytes())).collect()
                })
            });
            ("ConfigMap", at, data)
        }
        (None, None, Some(pem)) => {
            return Source::Pem(Ok(ChainPem {
                chain: pem.clone().into_bytes(),
                root: root_pem.clone().map(String::into_bytes),
            }));
        }
        (None | Some(_), None | Some(_), None | Some(_)) => {
            let why = "give exactly one of secretRef, configMapRef and pem";
            return Source::Pem(Err(FailedCheck::new(CheckId::CertificatePresent, why)));
        }
    };
    let place = format!("{kind} {namespace}/{}", at.name);
    match data {
        Ok(data) => Source::Pem(pick(data, at, &place)),
        Err(kube::Error::Api(status)) if status.is_forbidden() => {
            Source::Elsewhere(format!("this user may not read {place}"))
        }
        Err(why) => Source::Elsewhere(format!("{place} cannot be read: {}", ErrorChain(&why))),
    }
}

fn pick(
    data: Option<BTreeMap<String, Vec<u8>>>,
    at: &ChainRef,
    place: &str,
) -> Result<ChainPem, FailedCheck> {
    let failed = |why: std::fmt::Arguments<'_>| FailedCheck::new(CheckId::CertificatePresent, why);
    let mut data = data.ok_or_else(|| failed(format_args!("there is no {place}")))?;
    let chain = data.remove(&at.key);
    let chain = chain.ok_or_else(|| failed(format_args!("{place} has no key {}", at.key)))?;
    let root = data.remove(&at.root_key).filter(|root| !root.is_empty());
    Ok(ChainPem { chain, root })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_of_the_cluster_is_named_by_kind_and_name_and_everything_else_is_a_file() {
        let name = |text| parse(text).map(|name| name.to_string());
        let cluster = name("PKCS11ClusterIssuer/issuing");
        assert_eq!(cluster.as_deref(), Some("PKCS11ClusterIssuer issuing"));
        let namespaced = name("PKCS11Issuer/shop/issuing");
        assert_eq!(namespaced.as_deref(), Some("PKCS11Issuer shop/issuing"));
        for file in [
            "issuer.yaml",
            "PKCS11Issuer/issuing",
            "PKCS11ClusterIssuer/",
            "./PKCS11ClusterIssuer/issuing",
            "PKCS11ClusterIssuer/a/b",
        ] {
            assert_eq!(name(file), None, "{file}");
        }
    }
}
