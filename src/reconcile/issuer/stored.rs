//! The issuers of both kinds as they are stored, from the caches.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{
    Resource as _,
    runtime::reflector::{ObjectRef, Store},
};

use crate::api::{
    IssuerName,
    issuer::{IssuerKind, PKCS11ClusterIssuer, PKCS11Issuer},
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
    /// The issuer of this name, if there is one.
    pub(in crate::reconcile) fn get(&self, name: &IssuerName) -> Option<Stored> {
        let object = &name.name;
        match &name.namespace {
            Some(namespace) => from(&self.namespaced, ObjectRef::new(object).within(namespace)),
            None => from(&self.cluster, ObjectRef::new(object)),
        }
    }
}

/// What a decision about a request needs of an issuer as stored.
pub(in crate::reconcile) struct Stored {
    pub(in crate::reconcile) uid: String,
    pub(in crate::reconcile) generation: i64,
    /// `None` where the object cannot be read.
    pub(in crate::reconcile) token: Option<String>,
    pub(in crate::reconcile) selector: Option<LabelSelector>,
    pub(in crate::reconcile) max_pending: Option<Duration>,
    pub(in crate::reconcile) serves_pods: bool,
}

fn from<K: IssuerKind>(store: &Store<Tolerant<K>>, name: ObjectRef<Tolerant<K>>) -> Option<Stored> {
    let object = store.get(&name)?;
    let meta = object.meta();
    let spec = object.0.as_ref().ok().map(IssuerKind::issuer_spec);
    Some(Stored {
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        token: spec.map(|spec| spec.token.clone()),
        selector: spec.and_then(|spec| spec.namespace_selector.clone()),
        max_pending: spec.and_then(|spec| spec.max_pending()),
        // One that cannot be read may serve them.
        serves_pods: spec.is_none_or(|spec| spec.pod_certificates.is_some()),
    })
}
