//! Explains which step holds a request, from what was read of it. Pure.

mod issuer;
mod request;

use jiff::Timestamp;

pub(super) use self::issuer::limits;
use super::{
    read::Read,
    snapshot::{SeenIssuer, SeenRequest, Snapshot},
    step::{Explained, ExplainedStep, Held, Passed, StepName, StepState},
};
use crate::{
    api::pending::PendingCause,
    issuance::RefusalReason,
    reconcile::{Approval, Progress},
};

/// A request with everything that its steps depend on.
#[derive(Clone, Copy)]
struct Case<'a> {
    snapshot: &'a Snapshot,
    request: &'a SeenRequest,
    issuer: Option<&'a SeenIssuer>,
    now: Timestamp,
}

/// A step, as a function of the case.
type Judge = fn(&Case<'_>) -> Result<Passed, Held>;

/// The steps that depend on a request. Before them comes its Certificate.
const STEPS: [(StepName, Judge); 7] = [
    (StepName::Request, request::request),
    (StepName::Approval, request::approval),
    (StepName::Issuer, issuer::issuer),
    (StepName::Token, issuer::token),
    (StepName::Policy, issuer::policy),
    (StepName::Limit, issuer::limit),
    (StepName::Result, request::result),
];

/// Explains where a request is at this time.
pub(super) fn explain(snapshot: &Snapshot, now: Timestamp) -> Explained {
    let mut walk = Walk::default();
    walk.take(StepName::Certificate, request::certificate(snapshot, now));
    let about = match (&snapshot.request, &snapshot.certificate) {
        (Read::Found(request), _) => {
            let case = Case {
                snapshot,
                request,
                issuer: snapshot.issuer.as_ref().and_then(Read::found),
                now,
            };
            for (name, judge) in STEPS {
                if walk.held.is_none() {
                    walk.take(name, judge(&case));
                }
            }
            request.to_string()
        }
        (request, Some(Read::Found(certificate))) => {
            if let Read::Unknown(gap) = request {
                walk.take(StepName::Request, Ok(Passed::Unknown(gap.part.clone())));
            } else if walk.held.is_none() {
                walk.take(StepName::Result, request::without_request(certificate, now));
            }
            format!("Certificate {}/{}", certificate.namespace, certificate.name)
        }
        (_, _) => "the request".to_owned(),
    };
    walk.end(about, snapshot)
}

/// The steps so far.
#[derive(Default)]
struct Walk {
    steps: Vec<ExplainedStep>,
    held: Option<(StepName, Held)>,
}

impl Walk {
    fn take(&mut self, step: StepName, outcome: Result<Passed, Held>) {
        let (state, says) = match outcome {
            Ok(Passed::Done(says)) => (StepState::Done, says),
            Ok(Passed::Unknown(says)) => (StepState::Unknown, says),
            Err(held) => {
                let says = held.says.clone();
                self.held = Some((step, held));
                (StepState::Holds, says)
            }
        };
        self.steps.push(ExplainedStep { step, state, says });
    }

    fn end(mut self, about: String, snapshot: &Snapshot) -> Explained {
        for (step, _) in STEPS {
            if !self.steps.iter().any(|taken| taken.step == step) {
                self.steps.push(ExplainedStep {
                    step,
                    state: match self.held {
                        Some(_) => StepState::NotReached,
                        None => StepState::Unknown,
                    },
                    says: String::new(),
                });
            }
        }
        self.steps.sort_by_key(|step| step.step);
        let (held_by, held) = self.held.unzip();
        let (advice, next) = held.map_or_else(Default::default, |held| (held.advice, held.next));
        Explained {
            about,
            steps: self.steps,
            held_by,
            advice,
            next,
            unknown: snapshot.gaps(),
        }
    }
}

impl Case<'_> {
    /// Returns whether the controller has to answer it, if all is well.
    fn is_open(&self) -> bool {
        let stage = self.request.stage;
        stage.approval == Approval::Approved
            && stage.progress == Progress::Open
            && !stage.invalid
            && !stage.has_certificate
    }

    /// Returns what the controller last said about the request: in its status or, for a kind without a place for it, in an
    /// Event.
    fn said(&self) -> Option<&str> {
        let in_status = self.request.message.as_deref();
        let told = self.snapshot.events.found().and_then(|all| all.first());
        in_status.or_else(|| told.map(|event| event.note.as_str()))
    }

    /// Returns why the request waits although its issuer is ready.
    fn cause(&self) -> Option<PendingCause<&str>> {
        self.is_open()
            .then(|| PendingCause::of_message(self.said()?))?
    }

    /// Returns why the request was refused, with the words of the refusal.
    fn refusal(&self) -> Option<(RefusalReason, &str)> {
        let (slug, why) = self.said()?.split_once(": ")?;
        let mut all = RefusalReason::ALL.iter().copied();
        let reason = all.find(|reason| reason.as_str() == slug)?;
        self.request.has_failed().then_some((reason, why))
    }
}

#[cfg(test)]
mod tests;
