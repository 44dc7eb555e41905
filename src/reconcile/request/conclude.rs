//! Composes the status to write and the Event to emit for a request. Pure.

use jiff::Timestamp;

use super::{
    decide::Waiting,
    kind::{Answer, Request, Statement},
};
use crate::{
    api::{IssuerName, pending::PendingCause},
    issuance::{IssuedCertificate, Refusal},
    message::shown,
    metrics::{RequestResult, WaitReason},
    pipeline::Publish,
    reconcile::events::{EventReason, Notice},
};

/// Status write, if the kind has a place for it, and the Event that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Conclusion {
    /// The status to write.
    pub answer: Answer,
    /// The Event to emit.
    pub notice: Notice,
    /// The result to count in the metrics.
    pub result: RequestResult,
}

/// Reason why a request that is ready to be signed is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Delay {
    /// Somebody must fix the issuer.
    Issuer(String),
    /// The failure will pass by itself.
    Passing(String),
    /// The issuer has a limit, and other requests come first.
    Turn,
    /// An invariant of the controller broke.
    Bug,
}

impl Delay {
    /// Returns the reason for the metrics.
    pub(super) const fn reason(&self) -> WaitReason {
        match self {
            Self::Issuer(_) => WaitReason::IssuerFailed,
            Self::Passing(_) => WaitReason::Retry,
            Self::Turn => WaitReason::Limit,
            Self::Bug => WaitReason::Bug,
        }
    }
}

/// Facts that every conclusion depends on, besides the outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Basis<'a, R> {
    /// The request as it was read.
    pub request: &'a R,
    /// The issuer that it names.
    pub issuer: &'a IssuerName,
    /// The present time.
    pub now: Timestamp,
}

impl<R: Request> Basis<'_, R> {
    /// Acknowledges that an approver denied the request.
    #[must_use]
    pub(super) fn denied(&self) -> Conclusion {
        let message = format!("The {} was denied by an approver", R::kind(&()));
        Conclusion {
            answer: self.request.answer(&Statement::Denied, &message, self.now),
            notice: Notice::new(EventReason::Denied, message),
            result: RequestResult::Denied,
        }
    }

    /// Ends the request with a refusal: only a new request can help.
    #[must_use]
    pub(super) fn refused(&self, refusal: &Refusal) -> Conclusion {
        let message = shown(format_args!("{}: {refusal}", refusal.reason().as_str()));
        Conclusion {
            answer: self
                .request
                .answer(&Statement::Refused(refusal), &message, self.now),
            notice: Notice::new(EventReason::Refused, message),
            result: RequestResult::Failed,
        }
    }

    /// Publishes the certificate, with the published part of its chain, in one write.
    #[must_use]
    pub(super) fn issued(&self, certificate: &IssuedCertificate, publish: &Publish) -> Conclusion {
        let message = shown(format_args!(
            "Signed by {}, serial {}",
            self.issuer,
            certificate.serial_hex()
        ));
        let said = Statement::Issued {
            certificate,
            publish,
        };
        Conclusion {
            answer: self.request.answer(&said, &message, self.now),
            notice: Notice::new(EventReason::Issued, message),
            result: RequestResult::Issued,
        }
    }

    /// Says that the issuer cannot sign yet. `None` if the status already says so. Also `None` if the issuer has not been
    /// looked at yet: the look comes in a moment, and after a restart every open request would get such a status.
    #[must_use]
    pub(super) fn waiting(&self, waiting: Waiting) -> Option<Conclusion> {
        let (event, cause) = match waiting {
            Waiting::Missing => (EventReason::IssuerNotFound, PendingCause::IssuerMissing),
            Waiting::Elsewhere | Waiting::Unknown => return None,
            Waiting::NotReady(reason) => {
                (EventReason::IssuerNotReady, PendingCause::NotReady(reason))
            }
        };
        let message = cause.message(self.issuer);
        self.pending(event, message)
    }

    /// Says that signing failed this time. `None` if the status already says so.
    #[must_use]
    pub(super) fn delayed(&self, delay: &Delay) -> Option<Conclusion> {
        let cause = match delay {
            Delay::Issuer(why) => PendingCause::ToBeFixed(why),
            Delay::Passing(why) => PendingCause::TriedAgain(why),
            Delay::Turn => PendingCause::Turn,
            Delay::Bug => PendingCause::Bug,
        };
        let message = cause.message(self.issuer);
        let mut conclusion = self.pending(EventReason::SigningDelayed, message)?;
        if *delay == Delay::Turn {
            conclusion.notice = conclusion.notice.wanted();
        }
        Some(conclusion)
    }

    fn pending(&self, event: EventReason, message: String) -> Option<Conclusion> {
        let message = shown(message);
        let answer = self.request.answer(&Statement::Pending, &message, self.now);
        (answer != Answer::SaidBefore).then(|| Conclusion {
            answer,
            notice: Notice::new(event, message),
            result: RequestResult::Pending,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::certificate_request::CertificateRequest, issuance::RefusalReason, message::MAX,
    };

    const THEN: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-01-02T00:00:00Z";

    fn request(status: &Value) -> CertificateRequest {
        serde_json::from_value(json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {},
            "status": status,
        }))
        .unwrap()
    }

    fn known<'a>(
        request: &'a CertificateRequest,
        issuer: &'a IssuerName,
    ) -> Basis<'a, CertificateRequest> {
        Basis {
            request,
            issuer,
            now: NOW.parse().unwrap(),
        }
    }

    fn issuer() -> IssuerName {
        IssuerName {
            namespace: None,
            name: "issuing".to_owned(),
        }
    }

    fn status(conclusion: Conclusion) -> Value {
        match conclusion.answer {
            Answer::Write(status) => serde_json::to_value(status).unwrap(),
            other @ (Answer::Tell | Answer::SaidBefore) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_denial_carries_ready_and_failure_time_in_one_write() {
        assert_eq!(
            status(known(&request(&json!({})), &issuer()).denied()),
            json!({
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "Denied",
                    "message": "The CertificateRequest was denied by an approver", "lastTransitionTime": NOW,
                }],
                "failureTime": NOW,
            })
        );
    }

    #[test]
    fn a_denial_leaves_no_certificate_in_the_status() {
        let issued = request(&json!({
            "conditions": [{"type": "Ready", "status": "True", "reason": "Issued"}],
            "certificate": "YQ==",
            "ca": "Yg==",
        }));
        let written = status(known(&issued, &issuer()).denied());
        assert_eq!(
            (written.get("certificate"), written.get("ca")),
            (None, None)
        );
    }

    #[test]
    fn a_request_that_waits_for_its_turn_waits_for_what_somebody_has_configured() {
        let (request, issuer) = (request(&json!({})), issuer());
        let known = known(&request, &issuer);
        let is_wanted = |delay| known.delayed(&delay).unwrap().notice.is_wanted();
        assert!(is_wanted(Delay::Turn));
        for delay in [
            Delay::Passing("x".to_owned()),
            Delay::Issuer("x".to_owned()),
            Delay::Bug,
        ] {
            assert!(!is_wanted(delay));
        }
    }

    #[test]
    fn conditions_and_events_of_a_request_are_short_whatever_the_request_contains() {
        let request = request(&json!({}));
        let issuer = IssuerName {
            namespace: Some("shop".to_owned()),
            name: "\u{202e}\n".repeat(100_000),
        };
        let known = known(&request, &issuer);
        let refusal = Refusal::new(RefusalReason::BadSan, "\0".repeat(48 * 1024));
        let conclusions = [
            Some(known.refused(&refusal)),
            known.waiting(Waiting::Missing),
            known.waiting(Waiting::NotReady("KeyNotFound")),
            known.delayed(&Delay::Turn),
            known.delayed(&Delay::Passing("x".repeat(1 << 20))),
        ];
        for conclusion in conclusions.into_iter().flatten() {
            let note = conclusion.notice.note().to_owned();
            let written = status(conclusion).to_string();
            assert!(written.len() < 2 * MAX, "{}", written.len());
            assert!(note.len() <= MAX && !note.contains(['\n', '\0', '\u{202e}']));
        }
    }

    #[test]
    fn the_first_failure_time_stays() {
        let failed = request(&json!({"failureTime": THEN}));
        let written = status(known(&failed, &issuer()).denied());
        assert_eq!(written["failureTime"], THEN);
    }

    #[test]
    fn a_wait_is_reported_once_as_pending_without_failure_time() {
        let new = request(&json!({}));
        let first = known(&new, &issuer()).waiting(Waiting::Missing);
        let written = status(first.unwrap());
        assert_eq!(written.get("failureTime"), None);
        let ready = &written["conditions"][0];
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!("False"), &json!("Pending"))
        );
        let waits = request(&written);
        let issuer = issuer();
        let waits = known(&waits, &issuer);
        assert_eq!(waits.waiting(Waiting::Missing), None);
        assert!(waits.waiting(Waiting::NotReady("KeyNotFound")).is_some());
    }

    #[test]
    fn conditions_of_others_are_kept_and_ready_appears_once() {
        let approved = json!({"type": "Approved", "status": "True", "reason": "policy", "message": "-", "new": 1});
        let pending = json!({"type": "Ready", "status": "False", "reason": "Pending"});
        let before = request(&json!({"conditions": [pending, approved], "later": {"field": true}}));
        let written = status(known(&before, &issuer()).denied());
        let conditions = written["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2, "{written}");
        assert_eq!(conditions[0], approved);
        assert_eq!(conditions[1]["reason"], "Denied");
        assert_eq!(written["later"], json!({"field": true}));
    }

    #[test]
    fn the_transition_time_stays_while_the_status_stays() {
        let pending = request(&json!({"conditions": [{
            "type": "Ready", "status": "False", "reason": "Pending", "message": "-", "lastTransitionTime": THEN,
        }]}));
        let waiting = known(&pending, &issuer()).waiting(Waiting::Missing);
        let ready = &status(waiting.unwrap())["conditions"][0];
        assert_eq!(ready["lastTransitionTime"], THEN);
    }
}
