//! The one status write. What kind of write it is, nobody else knows.

use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::conclude::StatusPatch;
use crate::api::certificate_request::CertificateRequest;

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
#[error("failed to write the status of CertificateRequest {namespace}/{name}")]
pub struct ApplyError {
    namespace: String,
    name: String,
    source: Box<kube::Error>,
}

/// Writes the status by server-side apply, provided that UID and resourceVersion are still those of `request`, so
/// that at most one certificate is ever published for it.
///
/// # Errors
/// The API server, or a webhook behind it, did not answer or refused for now.
pub async fn apply(
    client: &Client,
    request: &CertificateRequest,
    patch: &StatusPatch,
) -> Result<Applied, ApplyError> {
    let namespace = request.namespace().unwrap_or_default();
    let name = request.name_any();
    let body = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "CertificateRequest",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": request.metadata.uid,
            "resourceVersion": request.metadata.resource_version,
        },
        "status": patch,
    });
    let api = Api::<CertificateRequest>::namespaced(client.clone(), &namespace);
    let params = PatchParams::apply(FIELD_MANAGER).force();
    match api.patch_status(&name, &params, &Patch::Apply(body)).await {
        Ok(_) => Ok(Applied::Written),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(Applied::Conflict),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(Applied::Gone),
        Err(source) => Err(ApplyError {
            namespace,
            name,
            source: Box::new(source),
        }),
    }
}
