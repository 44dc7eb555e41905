//! What to write about a request, and what to tell people: pure.

use jiff::Timestamp;
use k8s_openapi::{ByteString, apimachinery::pkg::apis::meta::v1::Time};
use serde::Serialize;

use super::decide::Waiting;
use crate::{
    api::{
        certificate_request::{CertificateRequestStatus, RequestCondition, condition_type, reason},
        issuer::CaField,
    },
    issuance::{IssuedCertificate, Refusal},
    metrics::RequestResult,
    pipeline::IssuerName,
    reconcile::events::Notice,
};

/// The fields of a request's status that one write sets.
///
/// *Guarantees*: `failureTime` never without `Ready` (cert-manager.md 1.4); `certificate` only together with
/// `Ready=True`, reason Issued.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusPatch {
    conditions: [Ready; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ca: Option<ByteString>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_time: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    #[serde(rename = "type")]
    type_: &'static str,
    status: &'static str,
    reason: &'static str,
    message: String,
    last_transition_time: Time,
}

/// One status write and the Event that goes with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// What to write.
    pub patch: StatusPatch,
    /// What to tell.
    pub notice: Notice,
    /// How to count it.
    pub result: RequestResult,
}

/// Why a request that could be signed is not signed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delay {
    /// The issuer must be mended.
    Issuer(String),
    /// It will pass by itself.
    Passing(String),
    /// An invariant of ours broke.
    Bug,
}

/// What conclusions depend on besides the outcome.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// The status as it was read.
    pub status: Option<&'a CertificateRequestStatus>,
    /// The issuer that the request names.
    pub issuer: &'a IssuerName,
    /// The time.
    pub now: Timestamp,
}

impl Known<'_> {
    /// An approver denied the request.
    #[must_use]
    pub fn denied(&self) -> Conclusion {
        let message = "The CertificateRequest was denied by an approver".to_owned();
        Conclusion {
            notice: Notice::warning("Denied", message.clone()),
            patch: self.final_without_certificate(reason::DENIED, message),
            result: RequestResult::Denied,
        }
    }

    /// Only a new request can help.
    #[must_use]
    pub fn refused(&self, refusal: &Refusal) -> Conclusion {
        let message = format!("{}: {refusal}", refusal.reason().as_str());
        Conclusion {
            notice: Notice::warning("Refused", message.clone()),
            patch: self.final_without_certificate(reason::FAILED, message),
            result: RequestResult::Failed,
        }
    }

    /// The certificate, its chain and `ca` in one write.
    #[must_use]
    pub fn issued(&self, certificate: &IssuedCertificate, ca: CaField) -> Conclusion {
        let message = format!(
            "Signed by {}, serial {}",
            self.issuer,
            certificate.serial_hex()
        );
        let ca = certificate.ca_pem(ca.into());
        Conclusion {
            notice: Notice::normal("Issued", message.clone()),
            patch: StatusPatch {
                conditions: [self.ready("True", reason::ISSUED, message)],
                certificate: Some(ByteString(certificate.certificate_pem().into_bytes())),
                ca: ca.map(|pem| ByteString(pem.into_bytes())),
                failure_time: None,
            },
            result: RequestResult::Issued,
        }
    }

    /// The issuer cannot sign yet. `None` if the status says so already, and for an issuer that is just being checked:
    /// that takes a moment, and after a restart it is true of every issuer and so of every open request.
    #[must_use]
    pub fn waiting(&self, waiting: Waiting) -> Option<Conclusion> {
        let issuer = self.issuer;
        let (event, message) = match waiting {
            Waiting::IssuerMissing => (
                "IssuerNotFound",
                format!("Waiting for {issuer} to be created"),
            ),
            Waiting::IssuerUnknown => return None,
            Waiting::IssuerNotReady(reason) => (
                "IssuerNotReady",
                format!("Waiting for {issuer} to become ready; its status says {reason}"),
            ),
        };
        self.pending(event, message)
    }

    /// Signing did not work out this time. `None` if the status says so already.
    #[must_use]
    pub fn delayed(&self, delay: &Delay) -> Option<Conclusion> {
        let issuer = self.issuer;
        let message = match delay {
            Delay::Issuer(why) => format!("Waiting for {issuer} to be mended: {why}"),
            Delay::Passing(why) => format!("Signing is tried again until it succeeds: {why}"),
            Delay::Bug => format!(
                "The controller refused to use what it made with {issuer}; see its log, and report it"
            ),
        };
        self.pending("SigningDelayed", message)
    }

    fn pending(&self, event: &'static str, message: String) -> Option<Conclusion> {
        let said = self.before().is_some_and(|ready| {
            ready.status == "False" && ready.reason == reason::PENDING && ready.message == message
        });
        (!said).then(|| Conclusion {
            notice: Notice::warning(event, message.clone()),
            patch: StatusPatch {
                conditions: [self.ready("False", reason::PENDING, message)],
                certificate: None,
                ca: None,
                failure_time: None,
            },
            result: RequestResult::Pending,
        })
    }

    fn final_without_certificate(&self, reason: &'static str, message: String) -> StatusPatch {
        let failed_before = self.status.and_then(|status| status.failure_time.clone());
        StatusPatch {
            conditions: [self.ready("False", reason, message)],
            certificate: None,
            ca: None,
            failure_time: Some(failed_before.unwrap_or(Time(self.now))),
        }
    }

    /// The time of transition stays while `status` stays, as everywhere in Kubernetes.
    fn ready(&self, status: &'static str, reason: &'static str, message: String) -> Ready {
        let unchanged = self.before().filter(|ready| ready.status == status);
        Ready {
            type_: condition_type::READY,
            status,
            reason,
            message,
            last_transition_time: unchanged
                .and_then(|ready| ready.last_transition_time.clone())
                .unwrap_or(Time(self.now)),
        }
    }

    fn before(&self) -> Option<&RequestCondition> {
        self.status?.condition(condition_type::READY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THEN: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-01-02T00:00:00Z";

    fn status(json: serde_json::Value) -> CertificateRequestStatus {
        serde_json::from_value(json).unwrap()
    }

    fn known<'a>(
        status: Option<&'a CertificateRequestStatus>,
        issuer: &'a IssuerName,
    ) -> Known<'a> {
        Known {
            status,
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

    #[test]
    fn a_denial_carries_ready_and_failure_time_in_one_write() {
        let patch = serde_json::to_value(known(None, &issuer()).denied().patch).unwrap();
        assert_eq!(
            patch,
            serde_json::json!({
                "conditions": [{
                    "type": "Ready", "status": "False", "reason": "Denied",
                    "message": "The CertificateRequest was denied by an approver", "lastTransitionTime": NOW,
                }],
                "failureTime": NOW,
            })
        );
    }

    #[test]
    fn the_first_failure_time_stays() {
        let failed = status(serde_json::json!({"failureTime": THEN}));
        let patch = known(Some(&failed), &issuer()).denied().patch;
        assert_eq!(patch.failure_time, Some(Time(THEN.parse().unwrap())));
    }

    #[test]
    fn waiting_is_pending_without_failure_time_and_said_once() {
        let first = known(None, &issuer())
            .waiting(Waiting::IssuerMissing)
            .unwrap();
        assert_eq!(first.patch.failure_time, None);
        let [ready] = &first.patch.conditions;
        assert_eq!((ready.status, ready.reason), ("False", reason::PENDING));
        let written = status(serde_json::to_value(&first.patch).unwrap());
        assert_eq!(
            known(Some(&written), &issuer()).waiting(Waiting::IssuerMissing),
            None
        );
        assert!(
            known(Some(&written), &issuer())
                .waiting(Waiting::IssuerNotReady("KeyNotFound"))
                .is_some()
        );
    }

    #[test]
    fn the_time_of_transition_stays_while_the_status_stays() {
        let pending = status(serde_json::json!({"conditions": [{
            "type": "Ready", "status": "False", "reason": "Pending", "message": "-", "lastTransitionTime": THEN,
        }]}));
        let conclusion = known(Some(&pending), &issuer())
            .waiting(Waiting::IssuerMissing)
            .unwrap();
        let [ready] = &conclusion.patch.conditions;
        assert_eq!(ready.last_transition_time, Time(THEN.parse().unwrap()));
    }
}
