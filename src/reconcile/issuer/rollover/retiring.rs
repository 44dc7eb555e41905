//! CAs that no longer sign: how long certificates under them may be valid, and what is published for them meanwhile. Pure.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::issuer::{LifetimesStatus, RetiringStatus};

/// The most CAs of one issuer that retire at the same time. A further rollover waits until one of them has ended.
pub(in crate::reconcile::issuer) const MAX_RETIRING: usize = 4;

/// The most octets of PEM that are kept for one CA. All of them together fit into an object of Kubernetes, and into a bundle
/// that cert-manager reads.
pub(in crate::reconcile::issuer) const MAX_ANCHORS_OCTETS: usize = 32 * 1024;

/// Returns how long certificates of `ca` may live, when it may grant `longest` from `now` on. What was granted before a
/// change of profile or grant stays on record until it has ended.
pub(in crate::reconcile::issuer) fn lifetimes(
    known: Option<&LifetimesStatus>,
    ca: &str,
    longest: SignedDuration,
    now: Timestamp,
) -> LifetimesStatus {
    let known = known.filter(|known| known.ca == ca);
    let is_ahead = |end: &Timestamp| *end > after(now, longest);
    let earlier = known.and_then(|known| {
        let shortened = longest.as_secs() < known.longest_seconds;
        let before = SignedDuration::from_secs(known.longest_seconds);
        let granted = shortened.then(|| whole_seconds(after(now, before)));
        let earlier = known.earlier_until.as_ref().map(|end| end.0);
        granted.max(earlier).filter(is_ahead)
    });
    LifetimesStatus {
        ca: ca.to_owned(),
        longest_seconds: longest.as_secs(),
        earlier_until: earlier.map(Time),
    }
}

/// Returns the latest time at which a certificate that is issued until `now` ends.
pub(in crate::reconcile) fn last_end(lifetimes: &LifetimesStatus, now: Timestamp) -> Timestamp {
    let granted = after(now, SignedDuration::from_secs(lifetimes.longest_seconds));
    let earlier = lifetimes.earlier_until.as_ref().map(|end| end.0);
    whole_seconds(earlier.map_or(granted, |earlier| granted.max(earlier)))
}

/// Adds a CA to those that retire, or changes its end if it retires already.
pub(in crate::reconcile::issuer) fn retire(
    retiring: &[RetiringStatus],
    new: RetiringStatus,
) -> Vec<RetiringStatus> {
    let others = retiring.iter().filter(|known| known.ca != new.ca);
    let mut all: Vec<_> = others.cloned().collect();
    all.push(new);
    all
}

/// Returns the CAs that still retire at `now`. A CA that signs again (`signing`) does not retire.
pub(in crate::reconcile) fn still_retiring(
    retiring: &[RetiringStatus],
    signing: Option<&str>,
    now: Timestamp,
) -> Vec<RetiringStatus> {
    let still = |known: &&RetiringStatus| known.until.0 > now && Some(&*known.ca) != signing;
    retiring.iter().filter(still).cloned().collect()
}

/// An end that cannot be represented is so far in the future that the latest time stands for it.
fn after(now: Timestamp, duration: SignedDuration) -> Timestamp {
    now.checked_add(duration).unwrap_or(Timestamp::MAX)
}

/// Returns the next whole second, as a status holds it.
fn whole_seconds(time: Timestamp) -> Timestamp {
    let up = i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(time.as_second().saturating_add(up)).unwrap_or(time)
}
