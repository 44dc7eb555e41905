//! A request that is due, and what the issuance record says of it.

use std::time::Instant;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::{conclude::Known, kind::Request};
use crate::{
    api::IssuerName,
    audit::{self, Issuer, Subject},
};

/// A request that is due, with the issuer that it names.
pub(super) struct Due<'a, R, S> {
    pub(super) known: &'a Known<'a, R>,
    pub(super) issuer: &'a S,
    pub(super) selector: Option<&'a LabelSelector>,
    /// When it may not wait any longer.
    pub(super) end: Option<Instant>,
}

/// What the issuance record says of a request and the issuer that it names.
pub(super) fn subject<'a, R: Request>(request: &'a R, issuer: &'a IssuerName) -> Subject<'a> {
    let meta = request.meta();
    Subject {
        request: audit::Request {
            kind: R::KIND,
            namespace: meta.namespace.as_deref(),
            name: meta.name.as_deref().unwrap_or_default(),
            uid: meta.uid.as_deref().unwrap_or_default(),
        },
        requester: request.requester(),
        issuer: Issuer {
            kind: issuer.kind(),
            namespace: issuer.namespace.as_deref(),
            name: &issuer.name,
        },
    }
}
