//! Tells the register which CA an issuer has proved, and shows the state of the CRLs in the issuer's status.

use std::{iter, sync::Arc, time::Instant};

use jiff::Timestamp;

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
            CrlRef, CrlRefKind, CrlSpec, IssuerKind, IssuerStatus, Reason,
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

/// State of an issuer's CRLs, for its status.
#[derive(Debug)]
pub(super) struct CrlReport {
    ca: CaId,
    state: CrlState,
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
    Some(CrlReport { ca, state, bundle })
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
    /// Adds the conditions about CRLs to a status.
    pub(super) fn show(&self, seen: Seen<'_>, status: &mut IssuerStatus, now: Timestamp) {
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
