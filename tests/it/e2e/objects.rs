//! Writes and reads objects of any kind with all rights, as a user of the cluster would.

use anyhow::{Context as _, Result};
use control_plane::until;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams,
    },
};
use rig::{IssuerName, PATIENCE};
use serde_json::{Value, json};

use super::{NAMESPACE, stage};

/// API version and kind of cert-manager's Certificate.
pub(super) const CERTIFICATE: (&str, &str) = ("cert-manager.io/v1", "Certificate");
pub(super) const REQUEST: (&str, &str) = ("cert-manager.io/v1", "CertificateRequest");

/// A Kubernetes client. It belongs to the runtime that created it.
pub(super) struct Objects(kube::Client);

impl Objects {
    pub(super) async fn new() -> Result<Self> {
        Ok(Self(stage().await?.plane().admin().await?))
    }

    /// Returns the API of a kind in a namespace.
    pub(super) fn of(&self, (api, kind): (&str, &str), namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.0.clone(), namespace, &resource(api, kind))
    }

    /// Returns the API of a cluster-scoped kind.
    pub(super) fn of_cluster(&self, (api, kind): (&str, &str)) -> Api<DynamicObject> {
        Api::all_with(self.0.clone(), &resource(api, kind))
    }

    /// Returns the API of a kind in `k8s_openapi`, in a namespace.
    pub(super) fn known<K>(&self, namespace: &str) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.0.clone(), namespace)
    }

    /// Returns the API of a cluster-scoped kind in `k8s_openapi`.
    pub(super) fn known_of_cluster<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::ClusterResourceScope, DynamicType = ()>,
    {
        Api::all(self.0.clone())
    }

    /// Creates an object of any kind, in the namespace that it names.
    pub(super) async fn create(&self, object: Value) -> Result<DynamicObject> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let types = object.types.clone().context("the object has no kind")?;
        let kind = (types.api_version.as_str(), types.kind.as_str());
        let api = match &object.metadata.namespace {
            Some(namespace) => self.of(kind, namespace),
            None => self.of_cluster(kind),
        };
        let created = api.create(&PostParams::default(), &object).await;
        created.with_context(|| {
            format!(
                "create {} {}",
                types.kind,
                object.metadata.name.unwrap_or_default()
            )
        })
    }

    /// Creates a Certificate in [`NAMESPACE`], whose Secret has the same name.
    pub(super) async fn create_certificate(
        &self,
        name: &str,
        issuer: &IssuerName,
        spec: Value,
    ) -> Result<DynamicObject> {
        self.create(certificate(NAMESPACE, name, issuer, spec))
            .await
    }

    /// Changes fields of a Certificate's `spec`.
    pub(super) async fn change_certificate(&self, name: &str, spec: Value) -> Result<()> {
        let change = Patch::Merge(json!({"spec": spec}));
        let certificates = self.of(CERTIFICATE, NAMESPACE);
        certificates
            .patch(name, &PatchParams::default(), &change)
            .await?;
        Ok(())
    }

    /// Waits until a Certificate is ready at its present generation and no issuance is in progress.
    pub(super) async fn certificate_is_ready(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<DynamicObject> {
        self.until(&self.of(CERTIFICATE, namespace), name, is_ready_and_done)
            .await
    }

    /// Waits until an object exists and meets a condition. The error quotes the status that it has instead.
    pub(super) async fn until(
        &self,
        api: &Api<DynamicObject>,
        name: &str,
        wanted: impl Fn(&DynamicObject) -> bool,
    ) -> Result<DynamicObject> {
        let what = format!("{name} to meet the condition");
        let reached = until(&what, PATIENCE, async || {
            Ok(api.get_opt(name).await?.filter(&wanted))
        });
        match reached.await {
            Ok(object) => Ok(object),
            Err(error) => Err(match api.get_opt(name).await {
                Ok(Some(object)) => {
                    error.context(format!("its status is {}", object.data["status"]))
                }
                Ok(None) => error.context(format!("{name} does not exist")),
                Err(_) => error,
            }),
        }
    }

    /// Deletes an object and, in the background, everything that it owns.
    pub(super) async fn delete(&self, api: &Api<DynamicObject>, name: &str) -> Result<()> {
        api.delete(name, &DeleteParams::background()).await?;
        Ok(())
    }

    pub(super) async fn secret(&self, namespace: &str, name: &str) -> Result<Secret> {
        Ok(self.known(namespace).get(name).await?)
    }

    /// Returns the CertificateRequests of a Certificate in the order of their revisions.
    pub(super) async fn requests_of(&self, certificate: &str) -> Result<Vec<DynamicObject>> {
        let all = self
            .of(REQUEST, NAMESPACE)
            .list(&Default::default())
            .await?;
        let mut own: Vec<_> = all
            .items
            .into_iter()
            .filter(|request| {
                annotation(request, "cert-manager.io/certificate-name") == certificate
            })
            .collect();
        own.sort_by_key(revision);
        Ok(own)
    }
}

/// Returns a Certificate whose Secret has the same name.
pub(super) fn certificate(
    namespace: &str,
    name: &str,
    issuer: &IssuerName,
    mut spec: Value,
) -> Value {
    spec["secretName"] = name.into();
    spec["issuerRef"] = issuer.reference();
    json!({
        "apiVersion": CERTIFICATE.0,
        "kind": CERTIFICATE.1,
        "metadata": {"namespace": namespace, "name": name},
        "spec": spec,
    })
}

/// Returns the condition of this type, or `null` if there is none.
pub(super) fn condition<'a>(object: &'a DynamicObject, type_: &str) -> &'a Value {
    let conditions = object.data["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| all.iter().find(|condition| condition["type"] == type_));
    found.unwrap_or(&Value::Null)
}

/// Returns the value of an annotation, or an empty string if there is none.
pub(super) fn annotation<'a>(object: &'a DynamicObject, name: &str) -> &'a str {
    let annotations = object.metadata.annotations.as_ref();
    annotations
        .and_then(|all| all.get(name))
        .map_or("", String::as_str)
}

/// Returns the revision of its Certificate that a request is for.
pub(super) fn revision(request: &DynamicObject) -> u64 {
    annotation(request, "cert-manager.io/certificate-revision")
        .parse()
        .unwrap_or(0)
}

fn is_ready_and_done(certificate: &DynamicObject) -> bool {
    let ready = condition(certificate, "Ready");
    ready["status"] == "True"
        && ready["observedGeneration"].as_i64() == certificate.metadata.generation
        && condition(certificate, "Issuing")["status"] != "True"
        && certificate.data["status"]["nextPrivateKeySecretName"].is_null()
}

fn resource(api: &str, kind: &str) -> ApiResource {
    let (group, version) = api.split_once('/').unwrap_or(("", api));
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}
