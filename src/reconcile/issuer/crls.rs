//! Tells the register which CA an issuer has proved, and shows the state of the CRLs in the issuer's status.

use std::{iter, sync::Arc, time::Instant};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    establish::{Found, namespace_of},
    found_rollover::FoundRollover,
    material::Reads,
    not_ready::NotReady,
    seen::Seen,
};
use crate::{
    api::{
        IssuerName,
        issuer::{
            CrlRef, CrlRefKind, CrlSpec, CrlStatus, IssuerKind, IssuerStatus, Reason,
            condition_type::{CRL_BUNDLE_COMPLETE, CRL_PUBLISHED},
        },
    },
    issuance::{
        IssuerChain,
        crl::{CaId, CrlRules},
    },
    pipeline::{Proven, aside, now},
    reconcile::Context,
    revocation::{BundleInputs, BundleState, ChainCrls, CrlState, OthersCrl, Sponsor},
    telemetry::ErrorChain,
};

/// How old the CRLs in the status may be beside newer ones.
const SHOWN_WITHIN: SignedDuration = SignedDuration::from_hours(1);

/// State of an issuer's CRLs, for its status.
#[derive(Debug)]
pub(super) struct CrlReport {
    ca: CaId,
    state: CrlState,
    /// The CRLs of the present CA, as they are served.
    served: Option<CrlStatus>,
    /// `None` if the issuer wants no bundle.
    bundle: Option<BundleState>,
}

/// Offers the CA of an issuer to the register, and the CRLs of other CAs for its bundle. An issuer that contradicts an earlier
/// one is not ready. Returns `None` if the issuer has no CRLs, or none that are known.
pub(super) async fn offer<K: IssuerKind>(
    issuer: &K,
    name: &IssuerName,
    found: &mut Found,
    since: Instant,
    reads: &Reads,
    context: &Context,
) -> Option<CrlReport> {
    let register = &context.register;
    let wanted = issuer.issuer_spec().crl.as_ref();
    let wanted = wanted.filter(|_| register.is_enabled());
    let Some((spec, rules)) = wanted.and_then(|spec| Some((spec, CrlRules::try_from(spec).ok()?)))
    else {
        register.withdraw(name);
        return None;
    };
    let meta = issuer.meta();
    let rollover = found.rollover.as_ref();
    let other = rollover.and_then(FoundRollover::other);
    match &found.proven {
        Ok(signing) => {
            let created = meta.creation_timestamp.as_ref();
            let sponsor = |proven: &Proven| {
                let sponsor = Sponsor {
                    created: created.map_or(Timestamp::MAX, |created| created.0),
                    uid: meta.uid.clone().unwrap_or_default(),
                    rules: rules.clone(),
                    ready: Some(Arc::clone(&proven.ready)),
                };
                (ca_of(proven), sponsor)
            };
            let cas = iter::once(signing).chain(other).map(sponsor).collect();
            if let Err(conflict) = register.offer(name, cas) {
                found.proven = Err(NotReady::CrlConflict(conflict));
                return None;
            }
        }
        Err(_) => register.rest(name),
    }
    let chain = found.chain.clone()?;
    let ca = CaId::of(chain.issuing());
    let bundle = if spec.parents.is_empty() && spec.children.is_empty() {
        register.want_bundle(name, None)
    } else if rules.shards().are_partitions() {
        register.want_bundle(name, None);
        Some(BundleState::Incomplete(
            "a bundle needs spec.crl.shards: 1".to_owned(),
        ))
    } else {
        let crls = others(spec, namespace_of(name, context), since, reads, context).await;
        let inputs = BundleInputs::new(&chain, &crls.0, &crls.1);
        let known = register.known_bundle(name, &inputs);
        let verified = match known {
            Some(known) => known,
            None => verified(chain, inputs, crls).await,
        };
        register.want_bundle(name, Some((ca, verified)))
    };
    let served = register.served(&ca);
    let served = served.map(|(this_update, next_update, entries)| CrlStatus {
        ca: ca.to_string(),
        this_update: Time(this_update),
        next_due: Time(
            this_update
                .saturating_add(rules.refresh())
                .unwrap_or(next_update),
        ),
        next_update: Time(next_update),
        entries: entries.try_into().unwrap_or(u32::MAX),
    });
    let former = rollover.and_then(FoundRollover::former);
    let former = former.map(|chain| CaId::of(chain.issuing()));
    let states = iter::once(ca)
        .chain(former.or_else(|| other.map(ca_of)))
        .map(|ca| {
            let state = register.state(&ca, &rules, now());
            (ca, state)
        });
    let is_well = |(_, state): &(CaId, CrlState)| matches!(state, CrlState::Published { .. });
    let (ca, state) = states.min_by_key(is_well)?;
    Some(CrlReport {
        ca,
        state,
        served,
        bundle,
    })
}

/// Returns the CRLs to show in the status. Each change is a write, so CRLs that revocations have brought soon after those of
/// `before` are not worth one.
fn shown<'a>(
    before: Option<&'a CrlStatus>,
    served: Option<&'a CrlStatus>,
    now: Timestamp,
) -> Option<&'a CrlStatus> {
    let is_recent = |before: &&CrlStatus| {
        served.is_some_and(|served| {
            let age = served.this_update.0.duration_since(before.this_update.0);
            served.ca == before.ca && age < SHOWN_WITHIN && now < before.next_due.0
        })
    };
    before.filter(is_recent).or(served)
}

fn ca_of(proven: &Proven) -> CaId {
    CaId::of(proven.ready.issuer.chain().issuing())
}

async fn verified(
    chain: Arc<IssuerChain>,
    inputs: BundleInputs,
    (parents, children): (Vec<OthersCrl>, Vec<OthersCrl>),
) -> Arc<ChainCrls> {
    let verify = move || ChainCrls::verify(inputs, &chain, &parents, &children);
    Arc::new(aside(verify).await)
}

/// Reads the CRLs that others make: of the CAs above, and of those below.
async fn others(
    spec: &CrlSpec,
    namespace: &str,
    since: Instant,
    reads: &Reads,
    context: &Context,
) -> (Vec<OthersCrl>, Vec<OthersCrl>) {
    let read = async |refs: &[CrlRef]| {
        let mut crls = Vec::with_capacity(refs.len());
        for CrlRef { kind, name, key } in refs {
            let kind = match kind {
                CrlRefKind::Secret => "Secret",
                CrlRefKind::ConfigMap => "ConfigMap",
            };
            let content = reads.value(&context.client, kind, namespace, name, key, since);
            crls.push(OthersCrl {
                place: format!("{kind} {namespace}/{name}"),
                content: content
                    .await
                    .map_err(|error| ErrorChain(&error).to_string()),
            });
        }
        crls
    };
    (read(&spec.parents).await, read(&spec.children).await)
}

impl CrlReport {
    /// Adds the CRLs, and the conditions about them, to a status.
    pub(super) fn show(&self, seen: Seen<'_>, status: &mut IssuerStatus, now: Timestamp) {
        let before = seen.status.and_then(|status| status.crl.as_ref());
        status.crl = shown(before, self.served.as_ref(), now).cloned();
        let ca = self.ca;
        let (published, reason, message) = match &self.state {
            CrlState::Published { .. } => (
                true,
                Reason::CrlPublished,
                format!("Every CRL of CA {ca} is published"),
            ),
            CrlState::Missing { shard } => (
                false,
                Reason::CrlMissing,
                format!("CRL {shard} of CA {ca} has not been published yet, or has ended"),
            ),
            CrlState::Older(why) => (false, Reason::StateOlderThanPublished, why.clone()),
            CrlState::Failing(why) => (
                false,
                Reason::CrlNotRenewed,
                format!("The CRLs of CA {ca} are not renewed: {why}"),
            ),
        };
        let condition = seen.condition(CRL_PUBLISHED, published, reason, message, now);
        status.conditions.push(condition);
        let (complete, reason, message) = match &self.bundle {
            None => return,
            Some(BundleState::Complete) => (
                true,
                Reason::CrlBundleComplete,
                format!("ConfigMap pkcs11-issuer-crl-bundle-{ca} has the CRL of every CA"),
            ),
            Some(BundleState::Incomplete(why)) => (
                false,
                Reason::CrlBundleIncomplete,
                format!("The bundle of CRLs is not published: {why}"),
            ),
        };
        let condition = seen.condition(CRL_BUNDLE_COMPLETE, complete, reason, message, now);
        status.conditions.push(condition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crl(ca: &str, this_update: &str) -> CrlStatus {
        let this_update: Timestamp = this_update.parse().unwrap();
        let after = |hours| Time(this_update + SignedDuration::from_hours(hours));
        CrlStatus {
            ca: ca.to_owned(),
            this_update: Time(this_update),
            next_due: after(24),
            next_update: after(168),
            entries: 1,
        }
    }

    #[test]
    fn crls_that_revocations_bring_are_shown_once_an_hour_and_renewed_ones_at_once() {
        let before = crl("a", "2026-06-01T00:00:00Z");
        let soon = crl("a", "2026-06-01T00:59:59Z");
        let later = crl("a", "2026-06-01T01:00:00Z");
        let of_other = crl("b", "2026-06-01T00:00:01Z");
        let [on_time, overdue] = ["2026-06-01T23:59:59Z", "2026-06-02T00:00:00Z"]
            .map(|now| now.parse::<Timestamp>().unwrap());
        for (known, served, now, expected) in [
            (None, None, on_time, None),
            (None, Some(&soon), on_time, Some(&soon)),
            (Some(&before), Some(&before), on_time, Some(&before)),
            (Some(&before), Some(&soon), on_time, Some(&before)),
            (Some(&before), Some(&soon), overdue, Some(&soon)),
            (Some(&before), Some(&later), on_time, Some(&later)),
            (Some(&before), Some(&of_other), on_time, Some(&of_other)),
            (Some(&before), None, on_time, None),
        ] {
            assert_eq!(shown(known, served, now), expected, "{served:?} at {now}");
        }
    }
}
