//! What to do about a request, by what was seen of it and its issuer, what is remembered of it, and the time. No client, no
//! clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// What was seen, reduced to what the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether `issuerRef` names one of our kinds.
    pub ours: bool,
    /// How far it has come, by its status.
    pub stage: Stage,
    /// The issuer.
    pub issuer: IssuerFact,
    /// How long it may wait, where there is an end.
    pub max_pending: Option<Duration>,
    /// Which replica it is for.
    pub share: Share,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// What approvers said.
    pub approval: Approval,
    /// Whether somebody declared it invalid.
    pub invalid: bool,
    /// What we said.
    pub progress: Progress,
    /// Whether its status has a certificate.
    pub has_certificate: bool,
    /// Since when it waits for us: since it is Pending, or was approved, whatever its kind stores.
    pub waits_since: Option<Timestamp>,
}

/// What is remembered, reduced to what the decision depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recalled {
    /// Something was signed for it that is not known to be published.
    pub owed: bool,
    /// It has ended with a write of ours.
    pub settled: bool,
    /// After a failure, when it may be tried again.
    pub not_before: Option<Instant>,
}

/// The time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// The time of day, as the API server stores it.
    pub day: Timestamp,
    /// What pauses are measured by.
    pub steady: Instant,
}

/// The conditions `Approved` and `Denied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Approval {
    /// Neither, and approval is asked for.
    Awaited,
    /// Approved, or approval is not asked for.
    Approved,
    /// Denied, whatever else.
    Denied,
}

/// The reason of the `Ready` condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No `Ready` condition, or Pending, or a reason that is not of the contract.
    Open,
    /// Denied has been acknowledged.
    Denied,
    /// Failed.
    Failed,
    /// Issued.
    Issued,
}

/// What is known of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuerFact {
    /// There is no such object.
    Missing,
    /// It exists, and has not been looked at in its present generation.
    Unknown,
    /// It cannot sign; the reason of its condition.
    NotReady(&'static str),
    /// It can sign.
    Ready,
}

/// Among several replicas, which one acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// This one.
    Own,
    /// Another, or at this moment none.
    Others,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing, and write nothing.
    Leave(Why),
    /// Name what was signed for it: nothing else is due any more.
    Finish,
    /// Acknowledge the denial.
    Deny,
    /// Say what is waited for.
    Wait(Waiting),
    /// Nothing until then: it has failed, and is tried again.
    HoldOff(Instant),
    /// Say that it has waited for too long.
    Refuse,
    /// Sign and publish.
    Sign,
    /// Publish what was signed.
    Publish,
}

/// Why nothing is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Another issuer's.
    NotOurs,
    /// Nobody has approved it yet.
    NotApproved,
    /// Nothing will change it any more.
    Finished,
    /// A write of ours has ended it, which is not seen yet.
    Settled,
    /// What is due is for another replica to do.
    NotOurShare,
}

/// What a request waits for its issuer to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The issuer to be created.
    Missing,
    /// The issuer to be looked at.
    Unknown,
    /// The issuer to become ready.
    NotReady(&'static str),
}

/// The state machine of cert-manager.md 1.11, rows 1 to 5 and 8, for the one replica that acts.
#[must_use]
pub(super) fn decide(facts: &Facts, recalled: &Recalled, time: Time) -> Decision {
    let decision = due(facts, recalled, time);
    match (decision, facts.share) {
        (Decision::Leave(_) | Decision::Finish, _) | (_, Share::Own) => decision,
        (
            Decision::Deny
            | Decision::Wait(_)
            | Decision::HoldOff(_)
            | Decision::Refuse
            | Decision::Sign
            | Decision::Publish,
            Share::Others,
        ) => Decision::Leave(Why::NotOurShare),
    }
}

/// Whether nothing will be done for a request of this stage any more, whatever becomes of its issuer.
#[must_use]
pub(super) const fn is_finished(stage: &Stage) -> bool {
    match (stage.approval, stage.progress) {
        (Approval::Denied, Progress::Open | Progress::Failed | Progress::Issued) => false,
        (Approval::Denied, Progress::Denied)
        | (
            Approval::Awaited | Approval::Approved,
            Progress::Denied | Progress::Failed | Progress::Issued,
        ) => true,
        (Approval::Awaited | Approval::Approved, Progress::Open) => {
            stage.invalid || stage.has_certificate
        }
    }
}

/// When a request may not wait any longer, where there is an end.
#[must_use]
pub(super) fn deadline(facts: &Facts) -> Option<Timestamp> {
    let most = jiff::SignedDuration::try_from(facts.max_pending?).ok()?;
    facts.stage.waits_since?.checked_add(most).ok()
}

/// What is to be done, by whomever.
fn due(facts: &Facts, recalled: &Recalled, time: Time) -> Decision {
    let Facts {
        ours,
        stage,
        issuer,
        max_pending: _,
        share: _,
    } = facts;
    let Recalled {
        owed,
        settled,
        not_before,
    } = *recalled;
    if !ours {
        return Decision::Leave(Why::NotOurs);
    }
    if is_finished(stage) {
        return or_finish(owed, Why::Finished);
    }
    match (stage.approval, stage.progress) {
        (_, Progress::Open) if settled => return Decision::Leave(Why::Settled),
        (Approval::Denied, _) => return Decision::Deny,
        (Approval::Awaited, _) => return or_finish(owed, Why::NotApproved),
        (Approval::Approved, _) => {}
    }
    let held_off = not_before.filter(|until| *until > time.steady);
    let overdue = deadline(facts).is_some_and(|end| end <= time.day);
    match (owed, held_off, issuer, overdue) {
        (true, None, _, _) => Decision::Publish,
        (true, Some(until), _, _) | (false, Some(until), IssuerFact::Ready, false) => {
            Decision::HoldOff(until)
        }
        (false, None, IssuerFact::Ready, _) => Decision::Sign,
        // It takes a moment, and then is known to be ready or not.
        (false, _, IssuerFact::Unknown, _) => Decision::Wait(Waiting::Unknown),
        (false, _, IssuerFact::Missing, false) => Decision::Wait(Waiting::Missing),
        (false, _, IssuerFact::NotReady(reason), false) => {
            Decision::Wait(Waiting::NotReady(reason))
        }
        (false, Some(_), IssuerFact::Ready, true)
        | (false, _, IssuerFact::Missing | IssuerFact::NotReady(_), true) => Decision::Refuse,
    }
}

/// Nothing, but what was signed is named.
const fn or_finish(owed: bool, why: Why) -> Decision {
    match owed {
        true => Decision::Finish,
        false => Decision::Leave(why),
    }
}

#[cfg(test)]
mod tests;
