//! What a look has found out about an issuer's present CA and the next one, and what follows for the status. Pure.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{
    not_ready::NotReady,
    rollover::{
        self, MAX_ANCHORS_OCTETS, MAX_RETIRING, NamedCas, NextFact, RolloverFacts, RolloverStep,
        SigningSide, complete_at, last_end, retire, still_retiring,
    },
    seen::{Seen, ca_of, certificate_status, key_status},
};
use crate::{
    api::issuer::{
        CaField, IssuerStatus, LifetimesStatus, Reason, RetiringStatus, RolloverState,
        RolloverStatus,
    },
    issuance::{self, IssuerChain},
    message::shown,
    pipeline::{ParsedChain, Proven},
};

/// The CAs of an issuer, as one look has found them.
#[derive(Debug)]
pub(in crate::reconcile) struct FoundRollover {
    /// The chain of `spec.certificate`, if it can be used at some time.
    pub(super) present: Option<Arc<IssuerChain>>,
    /// The chain of `spec.next`, if there is one that can be used at some time.
    pub(super) next: Option<Arc<IssuerChain>>,
    /// Whether the key of `spec.next` is proved; `None` if it was not looked at on its own, because it signs, or is the
    /// present CA, or does not exist.
    pub(in crate::reconcile) proven: Option<Result<Proven, NotReady>>,
    /// Whether the key of the former CA, `spec.certificate`, is proved after the switch; `None` if it was not looked at,
    /// because it still signs, or no CRL needs it.
    pub(super) former: Option<Result<Proven, NotReady>>,
    /// Why the certificates of both CAs are not published; `None` if they are.
    pub(in crate::reconcile) unpublished: Option<String>,
    has_next: bool,
}

/// What the status says about the life of the issuer's CA.
#[derive(Debug, Default)]
pub(super) struct CaLife {
    pub(super) rollover: Option<RolloverStatus>,
    pub(super) retiring: Vec<RetiringStatus>,
    pub(super) lifetimes: Option<LifetimesStatus>,
    /// Whether the issuer is rolling over, the reason and the message; `None` without `spec.next`.
    pub(super) condition: Option<(bool, Reason, String)>,
}

/// Returns the certificates that are published for a CA, each in PEM: its part of `status.ca`, and its trust anchor.
pub(in crate::reconcile) fn published(chain: &IssuerChain, field: CaField) -> Vec<String> {
    let own = chain.ca_pem(field.into());
    let anchor = chain
        .ca_pem(issuance::CaField::Root)
        .or_else(|| chain.ca_pem(issuance::CaField::Issuing));
    let mut all = Vec::new();
    for pem in own.iter().chain(&anchor).flat_map(|text| split(text)) {
        if !all.contains(&pem) {
            all.push(pem);
        }
    }
    all
}

/// Splits PEM that we have encoded into its certificates.
pub(super) fn split(pem: &str) -> impl Iterator<Item = String> {
    pem.split_inclusive("-----END CERTIFICATE-----\n")
        .map(str::to_owned)
}

impl FoundRollover {
    /// Creates the finding from the certificates as they were read. `next` is `None` without `spec.next`.
    pub(super) fn new(
        present: &Result<Arc<ParsedChain>, NotReady>,
        next: Option<&Result<Arc<ParsedChain>, NotReady>>,
    ) -> Self {
        let chain = |read: &Result<Arc<ParsedChain>, NotReady>| read.as_ref().ok()?.chain();
        Self {
            present: chain(present),
            next: next.and_then(chain),
            proven: None,
            former: None,
            unpublished: None,
            has_next: next.is_some(),
        }
    }

    /// Returns the proved key of the issuer that does not sign certificates: of the next CA before the switch, of the former
    /// CA after it.
    pub(super) fn other(&self) -> Option<&Proven> {
        let both = [&self.proven, &self.former];
        both.into_iter().flatten().find_map(|one| one.as_ref().ok())
    }

    /// Returns the chain of the former CA after the switch, if CRLs need its key.
    pub(super) fn former(&self) -> Option<&IssuerChain> {
        self.former.as_ref().and(self.present.as_deref())
    }

    /// Returns which key signs.
    pub(super) fn signing(&self, status: Option<&IssuerStatus>) -> SigningSide {
        let (present, next) = self.cas();
        let named = NamedCas {
            present: present.as_deref(),
            next: self.has_next.then_some(next.as_deref()),
        };
        rollover::signing(status.and_then(|status| status.rollover.as_ref()), named)
    }

    /// Returns whether `spec.next` names the present CA.
    pub(super) fn is_same_ca(&self) -> bool {
        let (present, next) = self.cas();
        present.is_some() && present == next
    }

    /// Returns the certificates of the CAs that are trusted beside the one that signs: of the next CA from `Trusted` on, and
    /// of those that retire.
    pub(super) fn beside(&self, seen: Seen<'_>, now: Timestamp) -> Vec<String> {
        let Some(status) = seen.status else {
            return Vec::new();
        };
        let next = self.next.as_ref();
        let next = next.filter(|_| self.is_trusted(seen.status));
        let next = next.map(|chain| published(chain, seen.spec.ca));
        let retiring = still_retiring(&status.retiring, None, now);
        let retiring = retiring.iter().flat_map(|known| split(&known.pem));
        next.into_iter().flatten().chain(retiring).collect()
    }

    /// Returns the trust anchor of the next CA in PEM, if it is to be trusted: from `Trusted` on, and before that once its key
    /// is proved.
    pub(in crate::reconcile) fn next_anchors(&self, seen: Seen<'_>) -> Vec<String> {
        let proved = matches!(self.proven, Some(Ok(_)));
        let next = self.next.as_ref();
        let next = next.filter(|_| proved || self.is_trusted(seen.status));
        next.map_or_else(Vec::new, |chain| published(chain, CaField::None))
    }

    /// Returns whether the status says that the next CA is trusted and does not sign yet.
    fn is_trusted(&self, status: Option<&IssuerStatus>) -> bool {
        let (_, next) = self.cas();
        let stored = status.and_then(|status| status.rollover.as_ref());
        stored.is_some_and(|stored| {
            stored.state == RolloverState::Trusted && Some(&stored.ca) == next.as_ref()
        })
    }

    /// Decides the next step of the rollover and what the status says from then on. `is_ready` tells whether the key that
    /// signs is proved; `lifetimes` are those of the CA that signs.
    pub(super) fn life(
        &self,
        seen: Seen<'_>,
        is_ready: bool,
        lifetimes: Option<LifetimesStatus>,
        now: Timestamp,
    ) -> CaLife {
        let known = seen.status.cloned().unwrap_or_default();
        let (present, next) = self.cas();
        let why = self.why_not(is_ready);
        let unpublished = self.why_unpublished(seen, &known, now);
        let facts = RolloverFacts {
            stored: known.rollover.as_ref(),
            present: present.as_deref(),
            next: match (self.has_next, next.as_deref(), why.as_deref()) {
                (false, _, _) => NextFact::Absent,
                (true, None, why) => NextFact::Unusable(why.unwrap_or_default()),
                (true, Some(_), _) if self.is_same_ca() => NextFact::SameCa,
                (true, Some(ca), Some(why)) => NextFact::Unproved { ca, why },
                (true, Some(ca), None) => NextFact::Proved(ca),
            },
            unpublished: unpublished.as_deref(),
            switch: seen
                .spec
                .next
                .as_ref()
                .and_then(|next| next.switch.as_ref()),
            now,
        };
        let step = facts.step();
        let end = lifetimes.as_ref().map_or(now, |known| last_end(known, now));
        let rollover = self.stored_after(&step, known.rollover.as_ref(), end, now);
        let mut retiring = known.retiring;
        if let (RolloverStep::Switch, Some(former), Some(rollover)) =
            (&step, &self.present, &rollover)
        {
            let until = rollover.complete_at.clone().unwrap_or(Time(now));
            let former = RetiringStatus {
                ca: rollover.from.clone(),
                subject: shown(former.issuing().subject_text()),
                until,
                pem: published(former, seen.spec.ca).concat(),
            };
            retiring = retire(&retiring, former);
        }
        let signing = match self.signing(seen.status) {
            SigningSide::Present => present.as_deref(),
            SigningSide::Next => next.as_deref(),
            SigningSide::Undone => None,
        };
        let signing = signing.filter(|_| step != RolloverStep::Switch);
        CaLife {
            retiring: still_retiring(&retiring, signing, now),
            condition: condition(&step, rollover.as_ref(), seen),
            rollover,
            lifetimes,
        }
    }

    fn cas(&self) -> (Option<String>, Option<String>) {
        let ca = |chain: &Option<Arc<IssuerChain>>| chain.as_deref().map(ca_of);
        (ca(&self.present), ca(&self.next))
    }

    /// Returns why the next key is not proved; `None` if it is.
    fn why_not(&self, is_ready: bool) -> Option<String> {
        match &self.proven {
            Some(Ok(_)) => None,
            Some(Err(why)) => Some(format!("{}: {}", why.reason(), why.message())),
            None if is_ready => None,
            None => Some("the condition Ready has the reason".to_owned()),
        }
    }

    /// Returns why the rollover cannot go on although the next key is proved; `None` if it can.
    fn why_unpublished(
        &self,
        seen: Seen<'_>,
        known: &IssuerStatus,
        now: Timestamp,
    ) -> Option<String> {
        let Some(present) = &self.present else {
            return Some(
                "the present certificate cannot be read, so its root could not be trusted after the switch; restore spec.certificate"
                    .to_owned(),
            );
        };
        let size = |chain: &IssuerChain| published(chain, seen.spec.ca).concat().len();
        let largest = [Some(present), self.next.as_ref()];
        let largest = largest.into_iter().flatten().map(|chain| size(chain)).max();
        if largest.is_some_and(|size| size > MAX_ANCHORS_OCTETS) {
            return Some(format!(
                "the published certificates of a CA have more than {MAX_ANCHORS_OCTETS} octets; set spec.ca to Root, or use smaller certificates"
            ));
        }
        if still_retiring(&known.retiring, None, now).len() >= MAX_RETIRING {
            return Some(format!(
                "{MAX_RETIRING} former CAs are still trusted; wait until the first of status.retiring has ended"
            ));
        }
        self.unpublished.clone()
    }

    /// Returns the rollover as the status keeps it after a step. Certificates under the present CA end at `end` at the latest.
    fn stored_after(
        &self,
        step: &RolloverStep,
        stored: Option<&RolloverStatus>,
        end: Timestamp,
        now: Timestamp,
    ) -> Option<RolloverStatus> {
        let before = stored.cloned().unwrap_or_default();
        let found = |state, before: RolloverStatus| RolloverStatus {
            state,
            ca: self.cas().1.unwrap_or(before.ca),
            certificate: match &self.next {
                Some(chain) => Some(certificate_status(chain)),
                None => before.certificate,
            },
            key: match &self.proven {
                Some(Ok(proven)) => Some(key_status(proven.ready.key.key())),
                Some(Err(_)) | None => before.key,
            },
            ..before
        };
        let fresh = || RolloverStatus::default();
        match step {
            RolloverStep::None
            | RolloverStep::Withdrawn
            | RolloverStep::Moved
            | RolloverStep::Pointless => None,
            RolloverStep::Undone => stored.cloned(),
            RolloverStep::Prove(_) => Some(found(RolloverState::Proving, fresh())),
            RolloverStep::Trust => Some(RolloverStatus {
                trusted_since: Some(whole(now)),
                all_trust_from: Some(Time(end)),
                ..found(RolloverState::Trusted, fresh())
            }),
            RolloverStep::Wait(_) => Some(found(RolloverState::Trusted, before)),
            RolloverStep::Switch => Some(RolloverStatus {
                from: self.cas().0.unwrap_or_default(),
                switched_at: Some(whole(now)),
                complete_at: Some(complete_at(end)),
                ..found(RolloverState::Switched, before)
            }),
            RolloverStep::Settle => Some(found(RolloverState::Switched, before)),
            RolloverStep::Complete => Some(found(RolloverState::Complete, before)),
        }
    }
}

/// Returns a time in whole seconds, as the API server stores it.
fn whole(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}

fn condition(
    step: &RolloverStep,
    rollover: Option<&RolloverStatus>,
    seen: Seen<'_>,
) -> Option<(bool, Reason, String)> {
    let time = |time: Option<&Time>| time.map(|time| time.0.to_string()).unwrap_or_default();
    let of = |pick: fn(&RolloverStatus) -> Option<&Time>| time(rollover.and_then(pick));
    let said = match step {
        RolloverStep::None | RolloverStep::Withdrawn | RolloverStep::Moved => return None,
        RolloverStep::Undone | RolloverStep::Switch | RolloverStep::Settle => (
            true,
            Reason::SwitchedToNext,
            format!(
                "spec.next signs since {}; the former CA is trusted until {}",
                of(|rollover| rollover.switched_at.as_ref()),
                of(|rollover| rollover.complete_at.as_ref()),
            ),
        ),
        RolloverStep::Prove(why) => (true, Reason::NextNotProved, why.clone()),
        RolloverStep::Wait(Some(why)) => (true, Reason::SwitchDelayed, why.clone()),
        RolloverStep::Trust | RolloverStep::Wait(None) => {
            let switch = seen
                .spec
                .next
                .as_ref()
                .and_then(|next| next.switch.as_ref());
            let at = switch.and_then(|switch| switch.at.as_ref());
            let then = match (switch, at) {
                (_, Some(at)) => format!("the switch is at {}", at.0),
                (Some(_), None) => "the switch follows".to_owned(),
                (None, None) => "set spec.next.switch to switch".to_owned(),
            };
            (
                true,
                Reason::NextTrusted,
                format!(
                    "The key of spec.next is proved, and both CAs are published since {}; {then}. Certificates that came without the next CA end by {}",
                    of(|rollover| rollover.trusted_since.as_ref()),
                    of(|rollover| rollover.all_trust_from.as_ref()),
                ),
            )
        }
        RolloverStep::Complete => (
            false,
            Reason::RolloverComplete,
            "Only spec.next is trusted; move it into spec.key and spec.certificate".to_owned(),
        ),
        RolloverStep::Pointless => (
            false,
            Reason::RolloverComplete,
            "spec.next is the CA of spec.certificate; remove spec.next".to_owned(),
        ),
    };
    let (is_true, reason, message) = said;
    Some((is_true, reason, shown(message)))
}

#[cfg(test)]
mod tests;
