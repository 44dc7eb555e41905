//! Collects the trust anchors to publish for an issuer from the result of a look.

use super::{
    establish::Found,
    found_rollover::published,
    rollover::{last_end, still_retiring},
    seen::Seen,
};
use crate::{
    api::issuer::CaField,
    pipeline::{Proven, now},
    reconcile::trust,
};

/// Returns the trust anchors to publish for an issuer, once one of its keys is proved. During a rollover those of the next CA are
/// among them as soon as its key is proved.
pub(super) fn anchors(found: &Found, seen: Seen<'_>) -> Option<trust::NewAnchors> {
    let rollover = found.rollover.as_ref();
    let next = rollover.and_then(|known| known.proven.as_ref());
    let proven = [Some(&found.proven), next].into_iter().flatten().flatten();
    let ready = proven.map(|Proven { ready, .. }| ready).next()?;
    let time = now();
    let status = seen.status;
    let lifetimes = status.and_then(|status| status.lifetimes.as_ref());
    let granted = lifetimes.map(|known| last_end(known, time).duration_since(time));
    let longest = ready.issuer.profile().longest();
    let next = rollover.map(|known| known.next_anchors(seen));
    let own = published(found.chain.as_deref()?, CaField::None);
    let retiring = status.map(|status| status.retiring.as_slice());
    Some(trust::NewAnchors {
        current: own.into_iter().chain(next.into_iter().flatten()).collect(),
        retiring: still_retiring(retiring.unwrap_or_default(), None, time),
        longest: granted.map_or(longest, |granted| granted.max(longest)),
        serves_pods: ready.pods.is_some(),
    })
}
