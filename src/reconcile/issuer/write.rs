//! Writes the status of an issuer, and tells of its changes.

use std::collections::BTreeMap;

use kube::api::{Patch, PatchParams, Request};
use serde::de::IgnoredAny;
use serde_json::json;
use tracing::{info, warn};

use super::logged;
use crate::{
    api::{
        FIELD_MANAGER, GROUP, IssuerName,
        issuer::{IssuerKind, IssuerStatus},
    },
    pipeline::now,
    reconcile::{Context, call::call, events::Notice},
};

/// Failure to write an issuer's status.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status of {issuer}{}", cure(source))]
pub(in crate::reconcile) struct IssuerStatusError {
    issuer: IssuerName,
    source: Box<kube::Error>,
}

/// Returns what to do about an error, or nothing if that is unknown. Server-side apply refuses a status with a field that
/// the CRD lacks.
fn cure(error: &kube::Error) -> &'static str {
    if let kube::Error::Api(status) = error
        && status.message.contains("field not declared in schema")
    {
        return " (the CRDs are older than this controller: apply those of its version, which `pkcs11-issuer crds` prints)";
    }
    ""
}

/// Outcome of a write that the API server has answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatusWrite {
    /// The status is stored.
    Stored,
    /// The issuer is gone, or has changed since it was read.
    Outdated,
}

/// Writes the status of an issuer. A status of a rollover is written only if nobody has changed the issuer since it was read:
/// two replicas that both take themselves for its owner must not undo each other's steps.
///
/// # Errors
/// The API server did not accept the write.
pub(super) async fn write<K: IssuerKind>(
    issuer: &K,
    name: &IssuerName,
    status: &IssuerStatus,
    context: &Context,
) -> Result<StatusWrite, IssuerStatusError> {
    let stored = issuer.issuer_status();
    let rolls = [stored, Some(status)]
        .into_iter()
        .flatten()
        .any(|status| status.rollover.is_some() || !status.retiring.is_empty());
    let version = issuer.resource_version().filter(|_| rolls);
    // The API server takes a null version for an invalid one.
    let version = version.map(|version| ("resourceVersion", version));
    let mut metadata = BTreeMap::from([("name", name.name.clone())]);
    metadata.extend(name.namespace.clone().map(|of| ("namespace", of)));
    metadata.extend(issuer.uid().map(|uid| ("uid", uid)));
    metadata.extend(version);
    let body = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": K::KIND,
        "metadata": metadata,
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let failed = |source| IssuerStatusError {
        issuer: name.clone(),
        source: Box::new(source),
    };
    // This builds paths for both scopes; the typed client supports only one of them per type.
    let request = Request::new(K::url_path(&(), name.namespace.as_deref()))
        .patch_subresource("status", &name.name, &params, &Patch::Apply(body))
        .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
    match call::<IgnoredAny>(&context.client, request).await {
        Ok(_) => Ok(StatusWrite::Stored),
        // The issuer was deleted, or another object of the same name replaced it: there is no status to write. Or it has
        // changed since it was read, and the watch is about to say how.
        Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => {
            Ok(StatusWrite::Outdated)
        }
        Err(source) => Err(failed(source)),
    }
}

/// Writes one log line and one Event for each transition, and a line in the issuance log if it is about the CA.
pub(super) fn tell<K: IssuerKind>(
    issuer: &K,
    name: &IssuerName,
    notices: Vec<Notice>,
    status: &IssuerStatus,
    context: &Context,
) {
    for notice in notices {
        if let Some(change) = notice.reason().ca_change() {
            logged::ca_changed(issuer, name, change, status, context);
        }
        let (reason, why) = (notice.reason().as_str(), notice.note());
        if notice.reason().is_warning() {
            warn!(issuer = %name, reason, why, "a condition has changed");
        } else {
            info!(issuer = %name, reason, why, "a condition has changed");
        }
        context
            .events
            .publish(notice, issuer.object_ref(&()), now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_status_that_an_older_crd_refuses_says_what_to_do() {
        let refused = |message: &str| IssuerStatusError {
            issuer: IssuerName {
                namespace: None,
                name: "issuing".to_owned(),
            },
            source: Box::new(kube::Error::Api(Box::new(
                kube::core::Status::failure(message, "InternalError").with_code(500),
            ))),
        };
        let old = refused(
            "failed to create typed patch object: .status.class: field not declared in schema",
        );
        assert!(
            old.to_string()
                .ends_with("which `pkcs11-issuer crds` prints)")
        );
        assert!(!refused("etcd is away").to_string().contains("CRDs"));
    }
}
