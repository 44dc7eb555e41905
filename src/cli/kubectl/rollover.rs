//! Describes the rollover of an issuer: which step it is at, what comes next, and when. Pure.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    pages::{ReasonPage, of_reason},
    snapshot::SeenIssuer,
    step::between,
};
use crate::api::issuer::{
    Reason, ReissueStatus, RetiringStatus, RolloverState, RolloverStatus,
    condition_type::ROLLING_OVER,
};

/// The rollover of an issuer.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolloverRecord {
    pub(super) issuer: String,
    /// Whether the issuer has `spec.next`, or a former CA still retires.
    pub(super) in_progress: bool,
    /// Subject of the issuing certificate that signs now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signs: Option<String>,
    /// As the controller stores it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollover: Option<RolloverStatus>,
    /// Reason and message of the condition `RollingOver`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<String>,
    #[serde(flatten)]
    pub(super) page: Option<ReasonPage>,
    /// The steps, in order.
    pub(super) steps: Vec<RolloverMilestone>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) retiring: Vec<RetiringStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reissue: Option<ReissueStatus>,
}

/// A step of a rollover.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RolloverMilestone {
    pub(super) step: &'static str,
    pub(super) done: bool,
    /// When it was done or is to come, and what it depends on.
    pub(super) says: String,
}

/// Describes the rollover of an issuer at this time.
pub(super) fn of(issuer: &SeenIssuer, now: Timestamp) -> RolloverRecord {
    let status = &issuer.status;
    let condition = status.condition(ROLLING_OVER);
    let reason = condition.map(|condition| condition.reason.clone());
    let rollover = status.rollover.as_ref();
    RolloverRecord {
        issuer: issuer.name.to_string(),
        in_progress: issuer.spec.next.is_some() || !status.retiring.is_empty(),
        signs: status.certificate.as_ref().map(|one| one.subject.clone()),
        rollover: rollover.cloned(),
        page: reason
            .as_deref()
            .and_then(Reason::named)
            .and_then(of_reason),
        reason,
        message: condition.map(|condition| condition.message.clone()),
        steps: rollover.map_or_else(Vec::new, |rollover| steps(issuer, rollover, now)),
        retiring: status.retiring.clone(),
        reissue: status.reissue.clone(),
    }
}

fn steps(issuer: &SeenIssuer, rollover: &RolloverStatus, now: Timestamp) -> Vec<RolloverMilestone> {
    let (trusted, switched, complete) = match rollover.state {
        RolloverState::Proving => (false, false, false),
        RolloverState::Trusted => (true, false, false),
        RolloverState::Switched => (true, true, false),
        RolloverState::Complete => (true, true, true),
    };
    let at = |time: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        time.map(|time| match time.0 <= now {
            true => format!("{} ({} ago)", time.0, between(time.0, now)),
            false => format!("{} (in {})", time.0, between(now, time.0)),
        })
    };
    let switch = issuer
        .spec
        .next
        .as_ref()
        .and_then(|next| next.switch.as_ref());
    let asked = match switch {
        None => {
            "nobody has asked for it; set spec.next.switch once the root has arrived everywhere"
                .to_owned()
        }
        Some(switch) if switch.now => "asked for now".to_owned(),
        Some(switch) => at(switch.at.as_ref()).unwrap_or_else(|| "no time is set".into()),
    };
    let step = |step, done, says: Option<String>, otherwise: &str| RolloverMilestone {
        step,
        done,
        says: says.unwrap_or_else(|| otherwise.to_owned()),
    };
    vec![
        step(
            "trusted",
            trusted,
            at(rollover.trusted_since.as_ref()),
            "the next key is not proved, or its root is not published",
        ),
        step(
            "arrived",
            rollover
                .all_trust_from
                .as_ref()
                .is_some_and(|time| time.0 <= now),
            at(rollover.all_trust_from.as_ref()),
            "counts from the first step on",
        ),
        step(
            "switched",
            switched,
            at(rollover.switched_at.as_ref()),
            &asked,
        ),
        step(
            "complete",
            complete,
            at(rollover.complete_at.as_ref()),
            "counts from the switch on",
        ),
    ]
}
