//! Writes the status of a request. Only this module knows which HTTP method each kind needs.

use kube::{
    Client, Resource, ResourceExt as _,
    api::{Patch, PatchParams, PostParams, Request as Call},
};
use serde::{Serialize, de::IgnoredAny};

use super::{
    RequestError,
    kind::{Request, Status},
};
use crate::{
    api::FIELD_MANAGER,
    reconcile::{
        Context,
        call::{METADATA_ALONE, call},
    },
};

/// Outcome of a status write that reached the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// The status is stored.
    Written,
    /// The object has changed since it was read.
    Conflict,
    /// The object is gone.
    Gone,
}

/// Failure to write a status, which may succeed later.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status of {kind} {name}")]
pub(crate) struct ApplyError {
    pub(super) kind: String,
    /// Name, with the namespace if the kind has one.
    pub(super) name: String,
    pub(super) source: Box<kube::Error>,
}

/// Body of the write.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Precondition<'a>,
    status: &'a Status,
}

/// Metadata that must still match the stored object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Precondition<'a> {
    name: Option<&'a str>,
    namespace: Option<&'a str>,
    uid: Option<&'a str>,
    resource_version: Option<&'a str>,
}

/// Returns an object's name, with its namespace if its kind has one.
pub(in crate::reconcile) fn full_name(object: &impl Resource) -> String {
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    match &meta.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// Stores `status` if UID and resourceVersion are still those of `object`, so that at most one certificate is ever published
/// for a request. Leaves everything that others wrote unchanged (see `write`).
///
/// # Errors
/// The API server, or a webhook behind it, did not answer or rejected the write for now.
pub(super) async fn apply<K: Resource<DynamicType = ()>>(
    client: &Client,
    object: &K,
    status: &Status,
) -> Result<Applied, ApplyError> {
    match write(client, object, status).await {
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

/// Writes a status. `metadata` in the body contains only the precondition, because the caches drop every field that no
/// decision reads.
///
/// A CertificateRequest is replaced, which is the fastest method: for a custom resource, the API server takes only the
/// status from a write to the status subresource. For a CertificateSigningRequest it also takes labels, annotations,
/// finalizers and owner references. So Kubernetes' own kinds are patched by server-side apply, which leaves unnamed fields
/// unchanged.
async fn write<K: Resource<DynamicType = ()>>(
    client: &Client,
    object: &K,
    status: &Status,
) -> kube::Result<()> {
    let meta = object.meta();
    let body = Body {
        api_version: &K::api_version(&()),
        kind: &K::kind(&()),
        metadata: Precondition {
            name: meta.name.as_deref(),
            namespace: meta.namespace.as_deref(),
            uid: meta.uid.as_deref(),
            resource_version: meta.resource_version.as_deref(),
        },
        status,
    };
    let name = meta.name.as_deref().unwrap_or_default();
    // This builds paths for both scopes; the typed client supports only one of them per type.
    let path = Call::new(K::url_path(&(), meta.namespace.as_deref()));
    let request = match status {
        Status::CertificateRequest(_) => {
            let body = serde_json::to_vec(&body).map_err(kube::Error::SerdeError)?;
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            path.replace_subresource("status", name, &params, body)
        }
        Status::SigningRequest(_) | Status::PodCertificate(_) => {
            let params = PatchParams::apply(FIELD_MANAGER).force();
            path.patch_subresource("status", name, &params, &Patch::Apply(&body))
        }
    };
    let mut request = request.map_err(kube::Error::BuildRequest)?;
    // Without this header the only difference is a longer response.
    if let Ok(accept) = METADATA_ALONE.parse() {
        request.headers_mut().insert("accept", accept);
    }
    call::<IgnoredAny>(client, request).await.map(drop)
}

/// Reads the object as it is stored now; `None` if it is gone.
///
/// # Errors
/// The object could not be read.
pub(super) async fn read_again<R: Request>(
    request: &R,
    context: &Context,
) -> Result<Option<R>, RequestError> {
    let path = R::url_path(&(), request.namespace().as_deref());
    let get = Call::new(path).get(&request.name_any(), &Default::default());
    let read = match get.map_err(kube::Error::BuildRequest) {
        Ok(get) => context.client.request::<R>(get).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(read) => Ok(Some(read)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(source) => Err(RequestError::Read {
            kind: R::kind(&()).into_owned(),
            name: full_name(request),
            source: Box::new(source),
        }),
    }
}
