//! Decides what to do about a request from its observed state, its issuer, its memory and the time. Uses no client and no
//! clock.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::metrics::WaitReason;

/// Observed facts that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether the request names an issuer of one of our kinds.
    pub ours: bool,
    /// Progress of the request, by its status.
    pub stage: Stage,
    /// State of the issuer.
    pub issuer: IssuerFact,
    /// How long the request may wait; `None` if there is no limit.
    pub max_pending: Option<Duration>,
    /// Which replica acts.
    pub share: Share,
}

/// Progress of a request, by its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    /// The approvers' decision.
    pub approval: Approval,
    /// Whether somebody declared the request invalid.
    pub invalid: bool,
    /// What the controller reported.
    pub progress: Progress,
    /// Whether the status has a certificate.
    pub has_certificate: bool,
    /// Since when the request waits for the controller: since it became Pending, was approved or was created, depending on
    /// what its kind stores.
    pub waits_since: Option<Timestamp>,
}

/// Remembered facts that the decision depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Recalled {
    /// Whether a certificate was signed that is not known to be published.
    pub unpublished: bool,
    /// Whether a write of ours has ended the request.
    pub settled: bool,
    /// After a failure, the earliest time of the next try.
    pub not_before: Option<Instant>,
}

/// The time on both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    /// The time of day, as the API server stores it.
    pub day: Timestamp,
    /// The monotonic time, for pauses.
    pub steady: Instant,
}

/// Approvers' decision: the conditions `Approved` and `Denied`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Approval {
    /// Neither condition is set, and approval is required.
    Awaited,
    /// Approved, or approval is not required.
    Approved,
    /// Denied, even if it is also approved.
    Denied,
}

/// Progress that the conditions report: for a CertificateRequest, the reason of `Ready`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No `Ready` condition, or Pending, or a reason that cert-manager does not define.
    Open,
    /// The denial is acknowledged.
    Denied,
    /// Failed.
    Failed,
    /// Issued.
    Issued,
}

/// State of the issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuerFact {
    /// The issuer does not exist.
    Missing,
    /// Another installation of the controller answers the issuer.
    Elsewhere,
    /// The issuer exists, but its present generation has not been looked at yet.
    Unknown,
    /// The issuer cannot sign, for this reason of its condition.
    NotReady(&'static str),
    /// The issuer can sign.
    Ready,
}

/// Replica that acts on a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// This replica.
    Own,
    /// Another replica, or none at the moment.
    Others,
}

/// What to do about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// Do nothing and write nothing.
    Leave(Why),
    /// Record what became of the certificate that was signed; nothing else is due.
    Finish,
    /// Acknowledge the denial.
    Deny,
    /// Report what the request waits for.
    Wait(Waiting),
    /// Do nothing until this time, because a try has failed.
    HoldOff(Instant),
    /// Report that the request has waited too long.
    Refuse,
    /// Sign and publish.
    Sign,
    /// Publish the certificate that was signed.
    Publish,
}

/// Reason to do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The request names an issuer that is not ours.
    NotOurs,
    /// Nobody has approved the request yet.
    NotApproved,
    /// The request has ended for good.
    Finished,
    /// A write of ours has ended the request, but that is not observed yet.
    Settled,
    /// Another replica has to act.
    NotOurShare,
}

/// Change of the issuer that a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    /// The issuer has to be created.
    Missing,
    /// This installation of the controller has to take over the issuer.
    Elsewhere,
    /// The controller has to look at the issuer.
    Unknown,
    /// The issuer has to become ready.
    NotReady(&'static str),
}

impl Waiting {
    /// Returns the reason for the metrics.
    pub(super) const fn reason(self) -> WaitReason {
        match self {
            Self::Missing => WaitReason::IssuerMissing,
            Self::Elsewhere | Self::Unknown => WaitReason::IssuerUnknown,
            Self::NotReady(_) => WaitReason::IssuerNotReady,
        }
    }
}

/// Decides what this replica does about a request (docs/reference/cert-manager.md, "State machine of a request").
#[must_use]
pub(super) fn decide(facts: &Facts, recalled: &Recalled, time: Time) -> Decision {
    let decision = decide_for_any_replica(facts, recalled, time);
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

/// Returns whether a request at this stage has ended for good, whatever happens to its issuer.
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

/// Returns the time after which a request may not wait any longer; `None` if there is no limit.
#[must_use]
pub(super) fn deadline(facts: &Facts) -> Option<Timestamp> {
    let most = jiff::SignedDuration::try_from(facts.max_pending?).ok()?;
    facts.stage.waits_since?.checked_add(most).ok()
}

/// Decides what to do, regardless of which replica does it.
fn decide_for_any_replica(facts: &Facts, recalled: &Recalled, time: Time) -> Decision {
    let Facts {
        ours,
        stage,
        issuer,
        max_pending: _,
        share: _,
    } = facts;
    let Recalled {
        unpublished,
        settled,
        not_before,
    } = *recalled;
    if !ours {
        return Decision::Leave(Why::NotOurs);
    }
    if is_finished(stage) {
        return or_finish(unpublished, Why::Finished);
    }
    if *issuer == IssuerFact::Elsewhere && !unpublished {
        return Decision::Wait(Waiting::Elsewhere);
    }
    match (stage.approval, stage.progress) {
        (_, Progress::Open) if settled => return Decision::Leave(Why::Settled),
        (Approval::Denied, _) => return Decision::Deny,
        (Approval::Awaited, _) => return or_finish(unpublished, Why::NotApproved),
        (Approval::Approved, _) => {}
    }
    let held_off = not_before.filter(|until| *until > time.steady);
    let overdue = deadline(facts).is_some_and(|end| end <= time.day);
    match (unpublished, held_off, issuer, overdue) {
        (true, None, _, _) => Decision::Publish,
        (true, Some(until), _, _) | (false, Some(until), IssuerFact::Ready, false) => {
            Decision::HoldOff(until)
        }
        (false, None, IssuerFact::Ready, _) => Decision::Sign,
        // The look at the issuer takes only a moment, so even an overdue request waits for it.
        (false, _, IssuerFact::Unknown, _) => Decision::Wait(Waiting::Unknown),
        (false, _, IssuerFact::Elsewhere, _) => Decision::Wait(Waiting::Elsewhere),
        (false, _, IssuerFact::Missing, false) => Decision::Wait(Waiting::Missing),
        (false, _, IssuerFact::NotReady(reason), false) => {
            Decision::Wait(Waiting::NotReady(reason))
        }
        (false, Some(_), IssuerFact::Ready, true)
        | (false, _, IssuerFact::Missing | IssuerFact::NotReady(_), true) => Decision::Refuse,
    }
}

/// Leaves the request, or finishes it if it has a certificate that is not known to be published.
const fn or_finish(unpublished: bool, why: Why) -> Decision {
    match unpublished {
        true => Decision::Finish,
        false => Decision::Leave(why),
    }
}

#[cfg(test)]
mod tests;
