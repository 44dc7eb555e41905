//! Decides how far an issuer's rollover to `spec.next` is, and which key signs. Pure.
//!
//! All that must outlive a process is in the issuer's status, so that every replica follows the same steps. Only the replica
//! that owns the issuer takes a step, by one write of the status; the others see the write.

mod retiring;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::issuer::{RolloverState, RolloverStatus, SwitchSpec};

pub(super) use self::retiring::{MAX_ANCHORS_OCTETS, MAX_RETIRING, lifetimes, retire};
pub(in crate::reconcile) use self::retiring::{last_end, still_retiring};

/// How long after the switch a replica may still sign with the former key: its watch may be silent for 20 s before that is
/// noticed, and a signature may be in flight. The rest is for clocks that differ.
const SETTLED_WITHIN: SignedDuration = SignedDuration::from_mins(5);

/// Which part of an issuer's specification signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SigningSide {
    /// `spec.key` and `spec.certificate`.
    Present,
    /// `spec.next`.
    Next,
    /// Neither: `spec.next` is gone after the switch, and `spec.certificate` is still the former one.
    Undone,
}

/// The CAs that an issuer's specification names, as far as their certificates can be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NamedCas<'a> {
    /// Of `spec.certificate`.
    pub(super) present: Option<&'a str>,
    /// Of `spec.next`; `None` if there is no `spec.next`.
    pub(super) next: Option<Option<&'a str>>,
}

/// What a look has found out about `spec.next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NextFact<'a> {
    /// There is no `spec.next`.
    Absent,
    /// Its certificates cannot be used, for this reason.
    Unusable(&'a str),
    /// It is the CA of `spec.certificate`.
    SameCa,
    /// This CA can be trusted, but the token has not signed with its key, for this reason.
    Unproved {
        /// The CA.
        ca: &'a str,
        /// Why the key is not proved.
        why: &'a str,
    },
    /// The token has signed with the key of this CA.
    Proved(&'a str),
}

/// Everything that the next step of a rollover depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct RolloverFacts<'a> {
    /// The rollover as it is stored.
    pub(super) stored: Option<&'a RolloverStatus>,
    /// CA of `spec.certificate`, if its certificates can be used.
    pub(super) present: Option<&'a str>,
    /// What was found out about `spec.next`.
    pub(super) next: NextFact<'a>,
    /// Why the root of `spec.next` is not published beside the present one; `None` if it is.
    pub(super) unpublished: Option<&'a str>,
    /// When to switch.
    pub(super) switch: Option<&'a SwitchSpec>,
    /// The present time.
    pub(super) now: Timestamp,
}

/// The next step of a rollover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RolloverStep {
    /// There is no rollover.
    None,
    /// `spec.next` was removed before the switch.
    Withdrawn,
    /// `spec.next` has become `spec.certificate`.
    Moved,
    /// `spec.next` was removed after the switch, and `spec.certificate` is still the former one.
    Undone,
    /// `spec.next` names the CA that the issuer has.
    Pointless,
    /// The next key cannot be proved, or its root not be published, for this reason.
    Prove(String),
    /// From now on, both roots are trusted.
    Trust,
    /// Both roots are trusted. `Some` is the reason why the switch, which is due, does not happen.
    Wait(Option<String>),
    /// From now on, the next key signs.
    Switch,
    /// The next key signs, and both roots are trusted.
    Settle,
    /// The next key signs, and only its root is trusted.
    Complete,
}

/// State of a stored rollover, as far as it still fits the specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stored {
    /// There is none, or it was to another CA and had not switched.
    Idle,
    Trusted,
    /// `spec.next` signs.
    Switched,
    /// It has switched, and `spec.certificate` is the CA that signs.
    Moved,
    /// It has switched, and nothing in the specification is the CA that signs.
    Lost,
}

/// Returns what signs. The answer depends only on what is stored and what is named, so all replicas agree on it.
pub(super) fn signing(stored: Option<&RolloverStatus>, named: NamedCas<'_>) -> SigningSide {
    match stored_state(stored, named) {
        Stored::Idle | Stored::Trusted | Stored::Moved => SigningSide::Present,
        Stored::Switched => SigningSide::Next,
        Stored::Lost => SigningSide::Undone,
    }
}

fn stored_state(stored: Option<&RolloverStatus>, named: NamedCas<'_>) -> Stored {
    let Some(stored) = stored else {
        return Stored::Idle;
    };
    let is_target = |ca: &str| ca == stored.ca;
    match (stored.state, named.next, named.present) {
        (RolloverState::Proving, _, _) => Stored::Idle,
        (RolloverState::Trusted, Some(Some(next)), _) if !is_target(next) => Stored::Idle,
        (RolloverState::Trusted, Some(None), _) => Stored::Idle,
        (RolloverState::Trusted, Some(Some(_)) | None, _) => Stored::Trusted,
        (RolloverState::Switched | RolloverState::Complete, Some(Some(next)), _)
            if is_target(next) =>
        {
            Stored::Switched
        }
        (RolloverState::Switched | RolloverState::Complete, _, Some(present))
            if is_target(present) =>
        {
            Stored::Moved
        }
        // The certificates of `spec.next` cannot be used at present. The former key must not sign instead.
        (RolloverState::Switched | RolloverState::Complete, Some(None), _) => Stored::Switched,
        // A third CA replaces both, as without a rollover.
        (RolloverState::Switched | RolloverState::Complete, _, Some(present))
            if present != stored.from =>
        {
            Stored::Idle
        }
        (RolloverState::Switched | RolloverState::Complete, Some(Some(_)) | None, _) => {
            Stored::Lost
        }
    }
}

impl RolloverFacts<'_> {
    /// Decides the next step.
    pub(super) fn step(&self) -> RolloverStep {
        let next = match self.next {
            NextFact::Absent => None,
            NextFact::Unusable(_) => Some(None),
            NextFact::SameCa => Some(self.present),
            NextFact::Unproved { ca, .. } | NextFact::Proved(ca) => Some(Some(ca)),
        };
        let named = NamedCas {
            present: self.present,
            next,
        };
        match (stored_state(self.stored, named), self.next) {
            (Stored::Idle, NextFact::Absent) => match self.stored {
                Some(RolloverStatus {
                    state: RolloverState::Proving,
                    ..
                }) => RolloverStep::Withdrawn,
                Some(_) | None => RolloverStep::None,
            },
            (Stored::Trusted, NextFact::Absent) if self.is_target_present() => RolloverStep::Moved,
            (Stored::Trusted, NextFact::Absent) => RolloverStep::Withdrawn,
            (Stored::Moved, NextFact::Absent) => RolloverStep::Moved,
            (
                Stored::Lost,
                NextFact::Absent
                | NextFact::SameCa
                | NextFact::Unproved { .. }
                | NextFact::Proved(_),
            ) => RolloverStep::Undone,
            (Stored::Switched, NextFact::SameCa | NextFact::Absent)
            | (Stored::Idle | Stored::Trusted | Stored::Moved, NextFact::SameCa) => {
                RolloverStep::Pointless
            }
            (Stored::Idle | Stored::Trusted | Stored::Moved, NextFact::Unusable(why))
            | (Stored::Idle | Stored::Moved, NextFact::Unproved { why, .. }) => {
                RolloverStep::Prove(why.to_owned())
            }
            (Stored::Idle | Stored::Moved, NextFact::Proved(_)) => match self.unpublished {
                Some(why) => RolloverStep::Prove(why.to_owned()),
                None => RolloverStep::Trust,
            },
            (Stored::Trusted, NextFact::Unproved { why, .. }) => {
                RolloverStep::Wait(self.is_switch_due().then(|| why.to_owned()))
            }
            (Stored::Trusted, NextFact::Proved(_)) => {
                match (self.is_switch_due(), self.unpublished) {
                    (false, _) => RolloverStep::Wait(None),
                    (true, Some(why)) => RolloverStep::Wait(Some(why.to_owned())),
                    (true, None) => RolloverStep::Switch,
                }
            }
            (
                Stored::Switched | Stored::Lost,
                NextFact::Unusable(_) | NextFact::Unproved { .. } | NextFact::Proved(_),
            ) => match self.is_over() {
                true => RolloverStep::Complete,
                false => RolloverStep::Settle,
            },
        }
    }

    fn is_target_present(&self) -> bool {
        self.stored.map(|stored| &*stored.ca) == self.present
    }

    fn is_switch_due(&self) -> bool {
        self.switch.is_some_and(|switch| {
            switch.now || switch.at.as_ref().is_some_and(|at| at.0 <= self.now)
        })
    }

    /// Returns whether every certificate under the former key has ended.
    fn is_over(&self) -> bool {
        self.stored.is_none_or(|stored| {
            let end = stored.complete_at.as_ref();
            // A clock that is set back begins nothing anew.
            stored.state == RolloverState::Complete || end.is_none_or(|end| end.0 <= self.now)
        })
    }
}

/// Returns the end of a rollover that switches `now`, when certificates under the former key end at `last_end` at the latest.
pub(super) fn complete_at(last_end: Timestamp) -> Time {
    Time(
        last_end
            .checked_add(SETTLED_WITHIN)
            .unwrap_or(Timestamp::MAX),
    )
}

/// Returns the next time after `now` at which a rollover goes on by the passing of time alone.
pub(super) fn next_step_at(
    stored: Option<&RolloverStatus>,
    switch: Option<&SwitchSpec>,
    now: Timestamp,
) -> Option<Timestamp> {
    let stored = stored?;
    let at = match stored.state {
        RolloverState::Proving | RolloverState::Trusted => switch?.at.as_ref(),
        RolloverState::Switched => stored.complete_at.as_ref(),
        RolloverState::Complete => None,
    };
    at.map(|at| at.0).filter(|at| *at > now)
}

#[cfg(test)]
mod tests;
