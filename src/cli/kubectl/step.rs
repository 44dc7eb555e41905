//! The steps of a request on its way to a certificate, and what holds it.

use jiff::Timestamp;
use serde::Serialize;

use super::read::Gap;

/// A step, in the order in which a request takes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepName {
    /// A Certificate asks for it.
    Certificate,
    /// The request exists, and names one of our issuers.
    Request,
    /// An approver approves it.
    Approval,
    /// The issuer exists, and a controller answers it.
    Issuer,
    /// The token has the key and signs.
    Token,
    /// Profile and grant allow the request.
    Policy,
    /// The limits of the issuer leave room.
    Limit,
    /// The certificate is stored and valid.
    Result,
}

impl StepName {
    /// Returns the word of the step.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Request => "request",
            Self::Approval => "approval",
            Self::Issuer => "issuer",
            Self::Token => "token",
            Self::Policy => "policy",
            Self::Limit => "limit",
            Self::Result => "result",
        }
    }
}

/// How far a step is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum StepState {
    /// The request has passed it.
    Done,
    /// The request is held here.
    Holds,
    /// It could not be read.
    Unknown,
    /// An earlier step holds the request.
    NotReached,
}

impl StepState {
    /// Returns the word for people.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Holds => "HOLDS",
            Self::Unknown => "unknown",
            Self::NotReached => "-",
        }
    }
}

/// A step that does not hold the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// What is the case.
    Done(String),
    /// What is not known.
    Unknown(String),
}

/// What holds a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// What is the case.
    pub(super) says: String,
    /// Who has to do what.
    pub(super) advice: String,
    /// Commands that help.
    pub(super) next: Vec<String>,
}

impl Held {
    /// Returns what is the case, who has to do what, and one command that helps.
    pub(super) fn new(
        says: impl Into<String>,
        advice: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            says: says.into(),
            advice: advice.into(),
            next: vec![next.into()],
        }
    }

    /// Adds another command.
    pub(super) fn or(mut self, next: impl Into<String>) -> Self {
        self.next.push(next.into());
        self
    }
}

/// One line of an explanation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ExplainedStep {
    pub(super) step: StepName,
    pub(super) state: StepState,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) says: String,
}

/// Where a request is on its way to a certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Explained {
    /// The request, or the Certificate if it has none.
    pub(super) about: String,
    /// The steps, in order.
    pub(super) steps: Vec<ExplainedStep>,
    /// The step that holds the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) held_by: Option<StepName>,
    /// Who has to do what.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) advice: String,
    /// Commands that help.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) next: Vec<String>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<Gap>,
}

impl Explained {
    /// Returns whether the request has its certificate, and that is valid.
    pub(super) fn is_done(&self) -> bool {
        let mut steps = self.steps.iter();
        steps.any(|step| (step.step, step.state) == (StepName::Result, StepState::Done))
    }

    /// Returns what the step says that holds the request, or else the last one.
    pub(super) fn why(&self) -> &str {
        let held = self
            .steps
            .iter()
            .find(|step| step.state == StepState::Holds);
        held.or_else(|| self.steps.last())
            .map_or("", |step| step.says.as_str())
    }
}

/// Returns the time between two moments as people say it: `5s`, `3m`, `2h`, `4d`.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_said_in_its_largest_fitting_unit() {
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (seconds, said) in [
            (-5, "0s"),
            (119, "119s"),
            (120, "2m"),
            (7_200, "2h"),
            (172_800, "2d"),
        ] {
            let end = start + jiff::SignedDuration::from_secs(seconds);
            assert_eq!(between(start, end), said);
        }
    }
}
