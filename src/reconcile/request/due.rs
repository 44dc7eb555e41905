//! A request that is ready to be signed, and its entry in the issuance log.

use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{conclude::Basis, kind::Request};
use crate::{
    api::IssuerName,
    audit::{self, LoggedIssuer, Subject},
};

/// Request that is ready to be signed, with the issuer that it names.
pub(super) struct DueRequest<'a, R, S> {
    pub(super) known: &'a Basis<'a, R>,
    pub(super) issuer: &'a S,
    pub(super) version: Option<&'a IssuerVersion>,
    pub(super) selector: Option<&'a LabelSelector>,
    /// When the request may not wait any longer.
    pub(super) end: Option<Instant>,
}

/// Version of an issuer object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IssuerVersion {
    pub(super) uid: String,
    pub(super) generation: i64,
}

/// Returns how the issuance log identifies a request and the issuer that it names.
pub(super) fn subject<'a, R: Request>(
    request: &'a R,
    issuer: &'a IssuerName,
    version: Option<&'a IssuerVersion>,
) -> Subject<'a> {
    let meta = request.meta();
    Subject {
        request: audit::LoggedRequest {
            kind: R::KIND,
            namespace: meta.namespace.as_deref(),
            name: meta.name.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
            certificate: request.certificate_name(),
        },
        requester: request.requester(),
        approval: request.approval(),
        issuer: LoggedIssuer {
            kind: issuer.kind(),
            namespace: issuer.namespace.as_deref(),
            name: &issuer.name,
            uid: version.map(|version| version.uid.as_str()),
            generation: version.map(|version| version.generation),
            profile_sha256: None,
            grant_sha256: None,
        },
    }
}
