//! cert-manager's Certificate, as far as its renewal and its deletion matter to an issuer (`docs/reference/cert-manager.md`).
//!
//! Every field is optional or has a default, as in `certificate_request`.

use std::collections::BTreeMap;

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::certificate_request::{IssuerRef, RequestCondition};

/// Annotation of a CertificateRequest with the revision of its Certificate.
pub const REVISION_ANNOTATION: &str = "cert-manager.io/certificate-revision";

/// Type of the condition that makes cert-manager issue a Certificate anew.
pub const ISSUING: &str = "Issuing";

/// Specification of a Certificate.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "Certificate",
    namespaced,
    status = "ManagedStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateSpec {
    /// Issuer that signs.
    pub issuer_ref: IssuerRef,
    /// Requested lifetime in Go's notation; cert-manager's default is 90 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
}

/// Status of a Certificate, whose conditions other controllers manage. A status write sends all of it back unchanged, except
/// for one condition.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedStatus {
    /// At most one condition of each type.
    pub conditions: Vec<RequestCondition>,
    /// Number of the certificate that is in the Secret; the next one has the next number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// Fields that no decision reads.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

impl Certificate {
    /// Returns the number of the certificate that is in the Secret; `None` if there is none yet.
    #[must_use]
    pub fn revision(&self) -> Option<i64> {
        self.status.as_ref()?.revision
    }

    /// Returns whether its last renewal failed, so that cert-manager pauses before the next one.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        let status = self.status.iter();
        status
            .map(|status| &status.others)
            .any(|others| others.contains_key("lastFailureTime"))
    }

    /// Returns whether cert-manager is issuing it at present.
    #[must_use]
    pub fn is_issuing(&self) -> bool {
        let conditions = self.status.iter().flat_map(|status| &status.conditions);
        let mut issuing = conditions.filter(|condition| condition.type_ == ISSUING);
        issuing.any(|condition| condition.status == "True")
    }

    /// Returns the status with which cert-manager issues the Certificate anew, as `cmctl renew` writes it. `time` is the
    /// present time in RFC 3339.
    #[must_use]
    pub fn to_be_renewed(&self, reason: &str, message: &str, time: &str) -> ManagedStatus {
        let mut status = self.status.clone().unwrap_or_default();
        status
            .conditions
            .retain(|condition| condition.type_ != ISSUING);
        let generation = self.metadata.generation.map(Value::from);
        let others = generation.map(|generation| ("observedGeneration".to_owned(), generation));
        status.conditions.push(RequestCondition {
            type_: ISSUING.to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: Some(time.to_owned()),
            others: others.into_iter().collect(),
        });
        status
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_renewal_changes_one_condition_and_keeps_everything_else() {
        let ready = json!({"type": "Ready", "status": "True", "reason": "Ready", "observedGeneration": 2, "new": 1});
        let certificate: Certificate = serde_json::from_value(json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
            "metadata": {"name": "web", "namespace": "shop", "generation": 3},
            "spec": {"issuerRef": {"name": "issuing"}},
            "status": {
                "conditions": [{"type": "Issuing", "status": "False", "reason": "Failed"}, ready],
                "revision": 7, "notAfter": "2026-12-01T00:00:00Z", "failedIssuanceAttempts": 1,
            },
        }))
        .unwrap();
        assert!(!certificate.is_issuing());
        assert_eq!(certificate.revision(), Some(7));
        let time = "2026-11-30T00:00:00Z";
        let status = certificate.to_be_renewed("Revocation", "why", time);
        assert_eq!(
            serde_json::to_value(&status).unwrap(),
            json!({
                "conditions": [ready, {
                    "type": "Issuing", "status": "True", "reason": "Revocation", "message": "why",
                    "lastTransitionTime": time, "observedGeneration": 3,
                }],
                "revision": 7, "notAfter": "2026-12-01T00:00:00Z", "failedIssuanceAttempts": 1,
            })
        );
        let renewed = Certificate {
            status: Some(status),
            ..certificate
        };
        assert!(renewed.is_issuing());
    }
}
