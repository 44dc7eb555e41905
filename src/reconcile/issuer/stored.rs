//! Reads the issuers of both kinds, as they are stored, from the caches.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{
    Resource as _,
    runtime::reflector::{ObjectRef, Store},
};

use crate::api::{
    IssuerName,
    issuer::{IssuerKind, IssuerSpec, IssuerStatus, OnDelete, PKCS11ClusterIssuer, PKCS11Issuer},
    tolerant::Tolerant,
};

/// An issuer with `spec.reissue`.
#[derive(Clone, Debug)]
pub(in crate::reconcile) struct Reissuing {
    pub(in crate::reconcile) name: IssuerName,
    pub(in crate::reconcile) uid: String,
    pub(in crate::reconcile) token: String,
    pub(in crate::reconcile) per_second: u16,
}

/// Caches of both kinds.
#[derive(Debug)]
pub struct StoredIssuers {
    /// `PKCS11Issuer`.
    pub namespaced: Store<Tolerant<PKCS11Issuer>>,
    /// `PKCS11ClusterIssuer`.
    pub cluster: Store<Tolerant<PKCS11ClusterIssuer>>,
    /// Namespace of this installation of the controller.
    pub installation: String,
    /// Class of the issuers that this controller answers.
    pub class: String,
}

impl StoredIssuers {
    /// Waits until every issuer that exists is known. Returns `false` if the watches have stopped, as they do when the
    /// controller stops.
    pub(in crate::reconcile) async fn are_known(&self) -> bool {
        let both = tokio::try_join!(
            self.namespaced.wait_until_ready(),
            self.cluster.wait_until_ready(),
        );
        both.is_ok()
    }

    /// Returns the issuer of this name, if it exists.
    pub(in crate::reconcile) fn get(&self, name: &IssuerName) -> Option<Stored> {
        self.read(name, |meta, spec, status| Stored {
            is_ours: self.answers(spec),
            is_elsewhere: self.is_elsewhere(status),
            ..stored(meta, spec)
        })
    }

    /// Returns whether a status names another installation of the controller.
    pub(super) fn is_elsewhere(&self, status: Option<&IssuerStatus>) -> bool {
        let named = status.and_then(|status| status.installation.as_ref());
        named.is_some_and(|named| *named != self.installation)
    }

    /// Returns whether this controller answers an issuer. `spec` is `None` if the issuer cannot be read.
    pub(super) fn answers(&self, spec: Option<&IssuerSpec>) -> bool {
        spec.is_none_or(|spec| spec.class == self.class)
    }

    /// Returns the token that the issuer of this name names, if the issuer exists and can be read.
    pub(in crate::reconcile) fn token(&self, name: &IssuerName) -> Option<String> {
        self.read(name, |_, spec, _| Some(spec?.token.clone()))?
    }

    /// Returns our issuers with `spec.reissue`.
    pub(in crate::reconcile) fn with_reissue(&self) -> Vec<Reissuing> {
        let mut all = self.of_kind(&self.cluster);
        all.extend(self.of_kind(&self.namespaced));
        all
    }

    fn of_kind<K: IssuerKind>(&self, store: &Store<Tolerant<K>>) -> Vec<Reissuing> {
        let all = store.state().into_iter();
        let reissuing = all.filter_map(|issuer| {
            let readable = issuer.0.as_ref().ok()?;
            let spec = readable.issuer_spec();
            let ours = self.answers(Some(spec)) && !self.is_elsewhere(readable.issuer_status());
            let reissue = spec.reissue.filter(|_| ours)?;
            Some(Reissuing {
                name: IssuerName {
                    namespace: readable.namespace(),
                    name: readable.name_any(),
                },
                uid: readable.uid().unwrap_or_default(),
                token: spec.token.clone(),
                per_second: reissue.per_second.get(),
            })
        });
        reissuing.collect()
    }

    fn read<T>(
        &self,
        name: &IssuerName,
        read: impl FnOnce(&ObjectMeta, Option<&IssuerSpec>, Option<&IssuerStatus>) -> T,
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
    /// Whether this controller answers it, by its class.
    pub(in crate::reconcile) is_ours: bool,
    /// Whether its status names another installation of the controller.
    pub(in crate::reconcile) is_elsewhere: bool,
    pub(in crate::reconcile) uid: String,
    pub(in crate::reconcile) generation: i64,
    pub(in crate::reconcile) selector: Option<LabelSelector>,
    pub(in crate::reconcile) max_pending: Option<Duration>,
    pub(in crate::reconcile) serves_pods: bool,
    /// Whether it publishes CRLs.
    pub(in crate::reconcile) publishes_crls: bool,
    /// Whether the certificates of deleted Certificates are revoked.
    pub(in crate::reconcile) revokes_deleted: bool,
}

fn read_from<K: IssuerKind, T>(
    store: &Store<Tolerant<K>>,
    name: &ObjectRef<Tolerant<K>>,
    read: impl FnOnce(&ObjectMeta, Option<&IssuerSpec>, Option<&IssuerStatus>) -> T,
) -> Option<T> {
    let object = store.get(name)?;
    let readable = object.0.as_ref().ok();
    let spec = readable.map(IssuerKind::issuer_spec);
    let status = readable.and_then(IssuerKind::issuer_status);
    Some(read(object.meta(), spec, status))
}

/// `spec` is `None` if the object cannot be read.
fn stored(meta: &ObjectMeta, spec: Option<&IssuerSpec>) -> Stored {
    let crl = spec.and_then(|spec| spec.crl.as_ref());
    Stored {
        is_ours: true,
        is_elsewhere: false,
        uid: meta.uid.clone().unwrap_or_default(),
        generation: meta.generation.unwrap_or_default(),
        selector: spec.and_then(|spec| spec.namespace_selector.clone()),
        max_pending: spec.and_then(IssuerSpec::max_pending),
        // An issuer that cannot be read may serve pods.
        serves_pods: spec.is_none_or(|spec| spec.pod_certificates.is_some()),
        publishes_crls: crl.is_some(),
        revokes_deleted: crl.is_some_and(|crl| crl.on_delete == OnDelete::Revoke),
    }
}
