//! Writes the status of a revocation.

use std::time::Instant;

use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde::de::IgnoredAny;
use serde_json::json;

use super::{AFTER_CONFLICT, KIND, RevocationError, standing::RevocationStanding};
use crate::{
    api::{
        FIELD_MANAGER, GROUP,
        revocation::{CertificateRevocation, RevocationStatus},
    },
    pipeline::now,
    reconcile::{Context, call::call, request::Next},
};

/// Writes a status, unless the object has it already, on the condition that nobody has changed the object meanwhile. Returns
/// what follows.
///
/// # Errors
/// The API server did not accept the write.
pub(super) async fn write(
    revocation: &CertificateRevocation,
    status: &RevocationStatus,
    context: &Context,
) -> Result<Next, RevocationError> {
    let written = CertificateRevocation {
        status: Some(status.clone()),
        ..revocation.clone()
    };
    let next = match super::standing(&written, now()) {
        RevocationStanding::Settled => Next::Ended,
        RevocationStanding::Open | RevocationStanding::Stored => Next::OnChange,
    };
    if revocation.status.as_ref() == Some(status) {
        return Ok(next);
    }
    let (namespace, name) = (
        revocation.namespace().unwrap_or_default(),
        revocation.name_any(),
    );
    let body = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": KIND,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": revocation.metadata.uid,
            "resourceVersion": revocation.metadata.resource_version,
        },
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let failed = |source| RevocationError::write(KIND, &namespace, &name, source);
    let api = Api::<CertificateRevocation>::namespaced(context.client.clone(), &namespace);
    let request = kube::api::Request::new(api.resource_url())
        .patch_subresource("status", &name, &params, &Patch::Apply(body))
        .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
    match call::<IgnoredAny>(&context.client, request).await {
        Ok(_) => Ok(next),
        Err(kube::Error::Api(error)) if error.code == 404 => Ok(Next::Ended),
        Err(kube::Error::Api(error)) if error.code == 409 => {
            Ok(Next::At(Instant::now() + AFTER_CONFLICT))
        }
        Err(source) => Err(failed(source)),
    }
}
