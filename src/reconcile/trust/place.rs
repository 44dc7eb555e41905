//! The objects that trust anchors are published in.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use super::{BundleAnchors, TrustBundles};
use crate::{api::IssuerName, reconcile::Context};

/// Label that marks our bundles, with the value [`MANAGER`].
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const MANAGER: &str = "pkcs11-issuer";
/// Label that marks our ConfigMaps with trust anchors.
const TRUST: &str = "pkcs11-issuer.dev/trust";
/// Annotation of a ConfigMap with the name of its cluster issuer.
const ISSUER: &str = "pkcs11-issuer.dev/issuer";
/// Annotation with the retiring anchors: JSON that maps the SHA-256 of an anchor's DER to the time of its removal.
const RETIRING: &str = "pkcs11-issuer.dev/retiring";
/// Key of the anchors in a ConfigMap.
const KEY: &str = "ca.crt";
/// The longest name of an object.
const LONGEST_NAME: usize = 253;

/// An object that holds trust anchors.
#[derive(Clone, Debug)]
pub(super) enum TrustPlace {
    /// A ClusterTrustBundle of this kind, for a signer name.
    Bundle { kind: ApiResource, signer: String },
    /// A ConfigMap in the controller's namespace, for a cluster issuer.
    Map {
        namespace: String,
        name: String,
        issuer: String,
    },
}

impl TrustPlace {
    /// Returns where to publish the anchors of an issuer.
    pub(super) fn of(name: &IssuerName, serves_pods: bool, context: &Context) -> Vec<Self> {
        let kind = context.trust.as_ref().and_then(TrustBundles::kind);
        let kind = kind.filter(|_| serves_pods);
        let bundle = kind.map(|kind| Self::bundle(&kind, &name.signer_name()));
        let map = match &name.namespace {
            None if context.settings.trust_config_maps => map_name(&name.name),
            None | Some(_) => None,
        };
        let map = map.map(|object| Self::Map {
            namespace: context.settings.cluster_resource_namespace.clone(),
            name: object,
            issuer: name.name.clone(),
        });
        bundle.into_iter().chain(map).collect()
    }

    /// Returns the bundle of a signer.
    pub(super) fn bundle(kind: &ApiResource, signer: &str) -> Self {
        Self::Bundle {
            kind: kind.clone(),
            signer: signer.to_owned(),
        }
    }

    /// Returns a place that stands for all bundles.
    pub(super) fn any_bundle(kind: &ApiResource) -> Self {
        Self::bundle(kind, "")
    }

    /// Returns a place that stands for all ConfigMaps.
    pub(super) fn any_map(context: &Context) -> Self {
        Self::Map {
            namespace: context.settings.cluster_resource_namespace.clone(),
            name: String::new(),
            issuer: String::new(),
        }
    }

    /// Returns the place of a ConfigMap that exists.
    pub(super) fn existing_map(map: &DynamicObject) -> Self {
        Self::Map {
            namespace: map.namespace().unwrap_or_default(),
            name: map.name_any(),
            issuer: issuer_of_map(map).unwrap_or_default().to_owned(),
        }
    }

    /// Returns the API of the object.
    pub(super) fn api(&self, context: &Context) -> Api<DynamicObject> {
        match self {
            Self::Bundle { kind, .. } => Api::all_with(context.client.clone(), kind),
            Self::Map { namespace, .. } => {
                let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap"));
                Api::namespaced_with(context.client.clone(), namespace, &kind)
            }
        }
    }

    /// Returns the name of the object. That of a bundle must begin with the signer's name, with colons for slashes.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Bundle { signer, .. } => {
                format!("{}:trust-anchors", signer.replace('/', ":"))
            }
            Self::Map { name, .. } => name.clone(),
        }
    }

    /// Returns the selector of our objects of this kind.
    pub(super) const fn labels(&self) -> &'static str {
        match self {
            Self::Bundle { .. } => "app.kubernetes.io/managed-by=pkcs11-issuer",
            Self::Map { .. } => "pkcs11-issuer.dev/trust",
        }
    }

    /// Returns whether an object of this name is ours. Only the controller may write a ClusterTrustBundle of our signer names.
    pub(super) fn is_ours(&self, object: &DynamicObject) -> bool {
        match self {
            Self::Bundle { .. } => true,
            Self::Map { .. } => object.labels().contains_key(TRUST),
        }
    }

    /// Reads the anchors of the object.
    pub(super) fn read(&self, object: &DynamicObject) -> BundleAnchors {
        let text = match self {
            Self::Bundle { .. } => object.data.pointer("/spec/trustBundle"),
            Self::Map { .. } => object.data.get("data").and_then(|data| data.get(KEY)),
        };
        let retiring: BTreeMap<String, Timestamp> = object
            .annotations()
            .get(RETIRING)
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        BundleAnchors::read(text.and_then(Value::as_str).unwrap_or_default(), &retiring)
    }

    /// Returns the object with these anchors.
    pub(super) fn body(&self, version: Option<String>, anchors: &BundleAnchors) -> Value {
        let retiring = json!(anchors.retiring()).to_string();
        match self {
            Self::Bundle { kind, signer } => json!({
                "apiVersion": kind.api_version,
                "kind": kind.kind,
                "metadata": {
                    "name": self.name(),
                    "resourceVersion": version,
                    "labels": {MANAGED_BY: MANAGER},
                    "annotations": {RETIRING: retiring},
                },
                "spec": {"signerName": signer, "trustBundle": anchors.pem()},
            }),
            Self::Map {
                namespace,
                name,
                issuer,
            } => json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "resourceVersion": version,
                    "labels": {MANAGED_BY: MANAGER, TRUST: "roots"},
                    "annotations": {RETIRING: retiring, ISSUER: issuer},
                },
                "data": {KEY: anchors.pem()},
            }),
        }
    }
}

impl fmt::Display for TrustPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bundle { .. } => write!(f, "ClusterTrustBundle {}", self.name()),
            Self::Map {
                namespace, name, ..
            } => write!(f, "ConfigMap {namespace}/{name}"),
        }
    }
}

/// Returns the name of the cluster issuer of a ConfigMap.
pub(super) fn issuer_of_map(map: &DynamicObject) -> Option<&str> {
    map.annotations().get(ISSUER).map(String::as_str)
}

/// Returns the name of the ConfigMap of a cluster issuer; `None` if it would be too long.
fn map_name(issuer: &str) -> Option<String> {
    let name = format!("pkcs11-issuer-trust-{issuer}");
    (name.len() <= LONGEST_NAME).then_some(name)
}
