//! Notes in the issuance log which issuers can sign, and with which CA.

use super::not_ready::NotReady;
use crate::{
    api::{
        IssuerName,
        issuer::{IssuerKind, IssuerStatus, Reason},
    },
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

/// Notes a change in the life of an issuer's CA.
pub(super) fn ca_changed<K: IssuerKind>(
    issuer: &K,
    name: &IssuerName,
    change: &str,
    status: &IssuerStatus,
    context: &Context,
) {
    let uid = issuer.uid();
    let issuer = LoggedIssuer {
        kind: name.kind(),
        namespace: name.namespace.as_deref(),
        name: &name.name,
        uid: uid.as_deref(),
        generation: issuer.meta().generation,
        profile_sha256: None,
        grant_sha256: None,
    };
    let next = status
        .rollover
        .as_ref()
        .and_then(|rollover| rollover.certificate.as_ref());
    // Until the switch, the line is about the CA that will sign.
    let about = next.or(status.certificate.as_ref());
    let (ca, sha256) = about.map_or(("", ""), |known| (&known.ca, &known.sha256));
    context.log.ca_changed(&issuer, change, ca, sha256);
}
