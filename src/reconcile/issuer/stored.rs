//! Reads the issuers of both kinds, as they are stored, from the caches.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{
    Resource as _,
    runtime::reflector::{ObjectRef, Store},
};

use crate::api::{
    IssuerName,
    issuer::{IssuerKind, IssuerSpec, PKCS11ClusterIssuer, PKCS11Issuer},
    tolerant::Tolerant,
};

/// Caches of both kinds.
#[derive(Debug)]
pub struct StoredIssuers {
    /// `PKCS11Issuer`.
    pub namespaced: Store<Tolerant<PKCS11Issuer>>,
    /// `PKCS11ClusterIssuer`.
    pub cluster: Store<Tolerant<PKCS11ClusterIssuer>>,
}

impl StoredIssuers {
    /// Returns the issuer of this name, if it exists.
    pub(in crate::reconcile) fn get(&self, name: &IssuerName) -> Option<Stored> {
        self.read(name, stored)
    }

    /// Returns the token that the issuer of this name names, if the issuer exists and can be read.
    pub(in crate::reconcile) fn token(&self, name: &IssuerName) -> Option<String> {
        self.read(name, |_, spec| Some(spec?.token.clone()))?
    }

    fn read<T>(
        &self,
        name: &IssuerName,
        read: impl FnOnce(&ObjectMeta, Option<&IssuerSpec>) -> T,
    ) -> Option<T> {
        let object = &name.name;
        match &name.namespace {
            Some(namespace) => {
                let at = ObjectRef::new(object).within(namespace);
                read_from(&self.namespaced, &at, read)
            }
            None => read_from(&self.cluster, &ObjectRef::new(object), read),
        }
    }
}

/// The facts about a stored issuer that a decision about a request or a trust bundle depends on.
pub(in crate::reconcile) struct Stored {
    pub(in crate::reconcile) uid: String,
    pub(in crate::reconcile) generation: i64,
    pub(in crate::reconcile) selector: Option<LabelSelector>,
    pub(in crate::reconcile) max_pending: Option<Duration>,
    pub(in crate::reconcile) serves_pods: bool,
}

fn read_from<K: IssuerKind, T>(
    store: &Store<Tolerant<K>>,
    name: &ObjectRef<Tolerant<K>>,
    read: impl FnOnce(&ObjectMeta, Option<&IssuerSpec>) -> T,
) -> Option<T> {
    let object = store.get(name)?;
    let spec = object.0.as_ref().ok().map(IssuerKind::issuer_spec);
    Some(read(object.meta(), spec))
}

/// `spec` is `None` if the object cannot be read.
fn stored(meta: &ObjectMeta, spec: Option<&IssuerSpec>) -> Stored {
    Stored {
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        selector: spec.and_then(|spec| spec.namespace_selector.clone()),
        max_pending: spec.and_then(IssuerSpec::max_pending),
        // An issuer that cannot be read may serve pods.
        serves_pods: spec.is_none_or(|spec| spec.pod_certificates.is_some()),
    }
}
