//! Notes in the issuance log which issuers can sign.

use super::establish::NotReady;
use crate::{
    api::{IssuerName, issuer::Reason},
    audit::LoggedIssuer,
    pipeline::Proven,
    reconcile::Context,
};

/// Notes whether an issuer can sign from now on.
pub(super) fn change(
    name: &IssuerName,
    uid: &str,
    generation: i64,
    found: &Result<Proven, NotReady>,
    context: &Context,
) {
    let ready = found.as_ref().ok().map(|proven| &proven.ready);
    let issuer = LoggedIssuer {
        kind: name.kind(),
        namespace: name.namespace.as_deref(),
        name: &name.name,
        uid: Some(uid),
        generation: Some(generation),
        profile_sha256: ready.map(|ready| &*ready.profile_sha256),
        grant_sha256: ready.and_then(|ready| ready.key.grant_sha256()),
    };
    let reason = found
        .as_ref()
        .map_or_else(NotReady::reason, |_| Reason::Verified);
    context.log.issuer(&issuer, found.is_ok(), reason.as_str());
}
