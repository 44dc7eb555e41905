//! The one status write. Only this module knows which kind of write it is.

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
pub(crate) struct ApplyError {
    pub(super) kind: String,
    /// With its namespace, where the kind has one.
    pub(super) name: String,
    pub(super) source: Box<kube::Error>,
}

/// What is sent of an object.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Precondition<'a>,
    status: &'a Status,
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
pub(in crate::reconcile) fn full_name(object: &impl Resource) -> String {
    let meta = object.meta();
    let name = meta.name.as_deref().unwrap_or_default();
    match &meta.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

/// Stores `status`, provided that UID and resourceVersion are still those of `object`, so that at most one certificate is
/// ever published for a request. Nothing of the object that others wrote is changed (`write` says how).
///
/// # Errors
/// The API server, or a webhook behind it, did not answer or refused for now.
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

/// Writes a status. `metadata` in the body is the precondition alone, for we do not have the rest: caches drop what no
/// decision reads.
///
/// A CertificateRequest is replaced, which is the fastest: of a custom resource the API server takes nothing but the
/// status from such a write. Of a CertificateSigningRequest it takes labels, annotations, finalizers and owner references
/// too. Kinds of Kubernetes are therefore patched, by server-side apply, which leaves alone whatever it does not name.
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
    // The path of either scope; the typed client knows one at a time.
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
    // Without it the answer would be longer, and nothing else.
    if let Ok(accept) = METADATA_ALONE.parse() {
        request.headers_mut().insert("accept", accept);
    }
    call::<IgnoredAny>(client, request).await.map(drop)
}

/// The object as it is stored now; `None` when it is gone.
///
/// # Errors
/// It could not be read.
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
