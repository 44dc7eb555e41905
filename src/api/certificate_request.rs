//! cert-manager's CertificateRequest, as far as an external issuer reads it (`docs/reference/cert-manager.md`, "Objects and
//! fields").
//!
//! Every field is optional or has a default: cert-manager's schema admitted the object, and one malformed object must not
//! stop the controller for all.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Specification of a request. cert-manager's webhook makes it immutable after creation.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize)]
#[kube(
    group = "cert-manager.io",
    version = "v1",
    kind = "CertificateRequest",
    namespaced,
    status = "CertificateRequestStatus",
    schema = "disabled"
)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateRequestSpec {
    /// PKCS#10 CSR in PEM.
    pub request: ByteString,
    /// Whether the request is for a CA certificate.
    #[serde(rename = "isCA")]
    pub is_ca: bool,
    /// Key usages and extended key usages by cert-manager's names.
    pub usages: Vec<String>,
    /// Lifetime in Go's notation. cert-manager does not validate it, so it may be zero, negative or absurd.
    pub duration: Option<String>,
    /// Issuer that should sign.
    pub issuer_ref: IssuerRef,
    /// Creator of the object, set by cert-manager's webhook.
    pub username: Option<String>,
    /// UID of the creator, set by cert-manager's webhook.
    pub uid: Option<String>,
    /// Groups of the creator, set by cert-manager's webhook.
    pub groups: Option<Vec<String>>,
}

/// A reference to an issuer. Only controllers default `kind` and `group`; the CRD does not.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct IssuerRef {
    /// Name of the issuer.
    pub name: String,
    /// Kind of the issuer; empty means cert-manager's own `Issuer`.
    pub kind: String,
    /// API group of the issuer; empty means `cert-manager.io`.
    pub group: String,
}

/// Status that issuers and approvers have written.
///
/// A status write sends all of it back, so every value that the API server may store survives reading and writing octet
/// for octet: unknown fields, times as their authors wrote them, and empty texts.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateRequestStatus {
    /// At most one condition of each type.
    pub conditions: Vec<RequestCondition>,
    /// The PEM chain, leaf first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ByteString>,
    /// The PEM of the certificate authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<ByteString>,
    /// When the request failed or was denied, in RFC 3339. Never set it without `Ready`: cert-manager <= 1.21.1 crashes on
    /// that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure_time: Option<String>,
    /// Fields of a later cert-manager.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// A condition of a CertificateRequest. It has no `observedGeneration`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestCondition {
    /// One of [`condition_type`].
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// For `Ready` one of [`reason`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Text for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When `status` last changed, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<String>,
    /// Fields of a later cert-manager.
    #[serde(flatten)]
    pub others: BTreeMap<String, Value>,
}

/// Types of conditions on a CertificateRequest.
pub mod condition_type {
    /// Set by the issuer.
    pub const READY: &str = "Ready";
    /// Set by an approver.
    pub const APPROVED: &str = "Approved";
    /// Set by an approver.
    pub const DENIED: &str = "Denied";
    /// Set by any controller that finds the request invalid.
    pub const INVALID_REQUEST: &str = "InvalidRequest";
}

/// Reasons of the `Ready` condition on a CertificateRequest. Consumers look only at the reason.
pub mod reason {
    /// The request is not signed yet.
    pub const PENDING: &str = "Pending";
    /// The request failed for good; only a new request can succeed.
    pub const FAILED: &str = "Failed";
    /// The request is signed.
    pub const ISSUED: &str = "Issued";
    /// An approver denied the request.
    pub const DENIED: &str = "Denied";
}

impl CertificateRequestStatus {
    /// Returns the condition with this type, if there is one.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&RequestCondition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    /// Returns whether the condition with this type is `True`.
    #[must_use]
    pub fn is_true(&self, type_: &str) -> bool {
        self.condition(type_)
            .is_some_and(|condition| condition.status == "True")
    }

    /// Returns the reason of the `Ready` condition.
    #[must_use]
    pub fn ready_reason(&self) -> Option<&str> {
        self.condition(condition_type::READY)?.reason.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_written_back_as_it_was_read() {
        let status = serde_json::json!({
            "conditions": [
                {"type": "Approved", "status": "True", "reason": "x", "message": "y",
                    "lastTransitionTime": "2026-01-01T02:00:00.123456789+02:00", "observedGeneration": 3},
                {"type": "Audited", "status": "Unknown", "reason": "", "message": "", "lastTransitionTime": ""},
                {"type": "Bare", "status": "False"},
            ],
            "certificate": "YQ==",
            "ca": "Yg==",
            "failureTime": "2026-01-01T00:00:00.5Z",
            "renewal": {"after": [1, u64::MAX, i64::MIN, null, "", {}, []]},
        });
        let read: CertificateRequestStatus = serde_json::from_value(status.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), status);
    }

    #[test]
    fn numbers_in_unknown_fields_keep_every_digit() {
        for text in [
            "1.7976931348623157e308",
            "5e-324",
            "1.2345678901234567",
            "2.2250738585072011e-308",
        ] {
            let read: CertificateRequestStatus =
                serde_json::from_str(&format!(r#"{{"later":{text}}}"#)).unwrap();
            assert_eq!(
                read.others["later"].as_f64(),
                Some(text.parse().unwrap()),
                "{text}"
            );
        }
    }

    #[test]
    fn an_object_with_only_required_fields_is_read() {
        let request: CertificateRequest = serde_json::from_value(serde_json::json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "CertificateRequest",
            "metadata": {"name": "web", "namespace": "shop"},
            "spec": {"request": "", "issuerRef": {"name": "issuing"}},
        }))
        .unwrap();
        assert_eq!(request.spec.issuer_ref.kind, "");
        assert!(!request.spec.is_ca);
        assert!(request.status.is_none());
    }
}
