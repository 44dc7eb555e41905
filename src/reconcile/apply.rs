//! The one status write. What kind of write it is, nobody else knows.

use kube::{
    Client, Resource,
    api::{PostParams, Request},
};
use serde::{Serialize, de::IgnoredAny};
use serde_json::json;

/// Our name in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "pkcs11-issuer";

/// How a status write ended, when the API server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is stored.
    Written,
    /// The object has changed since it was read.
    Conflict,
    /// The object is gone.
    Gone,
}

/// The API server did not do it, and may later.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status of {kind} {name}")]
pub struct ApplyError {
    kind: String,
    /// With its namespace, where the kind has one.
    name: String,
    source: Box<kube::Error>,
}

/// An object's name with its namespace, where its kind has one.
pub(super) fn full_name(object: &impl Resource) -> String {
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    match &meta.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// Stores `status` whole, by PUT, provided that UID and resourceVersion are still those of `object`, so that at most one
/// certificate is ever published for a request, and nothing that another has said meanwhile is lost. What else of the
/// object is sent or left out, the API server does not look at.
///
/// # Errors
/// The API server, or a webhook behind it, did not answer or refused for now.
pub async fn apply<K: Resource<DynamicType = ()>>(
    client: &Client,
    object: &K,
    status: &impl Serialize,
) -> Result<Applied, ApplyError> {
    let meta = object.meta();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {
            "name": meta.name,
            "namespace": meta.namespace,
            "uid": meta.uid,
            "resourceVersion": meta.resource_version,
        },
        "status": status,
    });
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let name = meta.name.as_deref().unwrap_or_default();
    // The path of either scope; the typed client knows one at a time.
    let request = Request::new(K::url_path(&(), meta.namespace.as_deref()))
        .replace_subresource("status", name, &params, body.to_string().into_bytes())
        .map_err(kube::Error::BuildRequest);
    let answer = match request {
        Ok(request) => client.request::<IgnoredAny>(request).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(_) => Ok(Applied::Written),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Applied::Conflict),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Applied::Gone),
        Err(source) => Err(ApplyError {
            kind: K::kind(&()).into_owned(),
            name: full_name(object),
            source: Box::new(source),
        }),
    }
}
