//! The one status write. What kind of write it is, nobody else knows.

use kube::{
    Client, Resource,
    api::{PostParams, Request},
};
use serde::{Serialize, de::IgnoredAny};

/// Our name in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "pkcs11-issuer";

/// Asks that the answer be without what was just sent; a twentieth more requests per second for it.
const METADATA_ALONE: &str =
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

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

/// What is sent of an object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a, S> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Precondition<'a>,
    status: &'a S,
}

/// What must still be true of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Precondition<'a> {
    name: Option<&'a str>,
    namespace: Option<&'a str>,
    uid: Option<&'a str>,
    resource_version: Option<&'a str>,
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
    match put(client, object, status).await {
        Ok(()) => Ok(Applied::Written),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Applied::Conflict),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Applied::Gone),
        Err(source) => Err(ApplyError {
            kind: K::kind(&()).into_owned(),
            name: full_name(object),
            source: Box::new(source),
        }),
    }
}

async fn put<K: Resource<DynamicType = ()>>(
    client: &Client,
    object: &K,
    status: &impl Serialize,
) -> kube::Result<()> {
    let meta = object.meta();
    let body = serde_json::to_vec(&Body {
        api_version: &K::api_version(&()),
        kind: &K::kind(&()),
        metadata: Precondition {
            name: meta.name.as_deref(),
            namespace: meta.namespace.as_deref(),
            uid: meta.uid.as_deref(),
            resource_version: meta.resource_version.as_deref(),
        },
        status,
    })
    .map_err(kube::Error::SerdeError)?;
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let name = meta.name.as_deref().unwrap_or_default();
    // The path of either scope; the typed client knows one at a time.
    let mut request = Request::new(K::url_path(&(), meta.namespace.as_deref()))
        .replace_subresource("status", name, &params, body)
        .map_err(kube::Error::BuildRequest)?;
    // Without it the answer would be longer, and nothing else.
    if let Ok(accept) = METADATA_ALONE.parse() {
        request.headers_mut().insert("accept", accept);
    }
    client.request::<IgnoredAny>(request).await.map(drop)
}
