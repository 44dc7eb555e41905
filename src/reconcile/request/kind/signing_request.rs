//! Kubernetes' CertificateSigningRequest
//! (docs/reference/cert-manager.md, "Kubernetes CertificateSigningRequests").

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        authorization::v1::{ResourceAttributes, SubjectAccessReviewSpec},
        certificates::v1::{
            CertificateSigningRequest, CertificateSigningRequestCondition,
            CertificateSigningRequestStatus,
        },
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{Answer, Request, Statement, Status, octets, shorten};
use crate::{
    api::IssuerName,
    audit::{self, RequestKind, Requester},
    duration::GoDuration,
    issuance::{CaField, Refusal, RefusalReason, csr, pattern::Variables},
    pipeline::{AskedCsr, PodRules, UncheckedRequest},
    reconcile::request::decide::{Approval, Progress, Stage},
};

/// Annotation with a duration in Go's notation. It takes precedence over `spec.expirationSeconds`.
const DURATION: &str = "experimental.cert-manager.io/request-duration";
/// Annotation that asks for a CA certificate if it is `true`.
const IS_CA: &str = "experimental.cert-manager.io/request-is-ca";

/// The usage of a certificate authority. Unlike an annotation, it cannot be changed after the request was created.
const CERT_SIGN: &str = "cert sign";

/// The condition types of a CertificateSigningRequest.
mod condition_type {
    pub(super) const APPROVED: &str = "Approved";
    pub(super) const DENIED: &str = "Denied";
    pub(super) const FAILED: &str = "Failed";
}

/// The reasons of `Failed`, the same as cert-manager's.
mod reason {
    pub(super) const DENIED_REFERENCE: &str = "DeniedReference";
    pub(super) const PARSE_DURATION: &str = "ErrorParseDuration";
    pub(super) const INVALID_DURATION: &str = "InvalidDuration";
    pub(super) const SIGNING: &str = "SigningError";
}

impl Request for CertificateSigningRequest {
    const KIND: RequestKind = RequestKind::CertificateSigningRequest;
    const ANNOTATIONS: &'static [&'static str] = &[DURATION, IS_CA];

    fn issuer(&self) -> Option<IssuerName> {
        IssuerName::from_signer_name(&self.spec.signer_name)
    }

    /// Approval is part of this API, whatever the operator's setting for CertificateRequests is.
    fn stage(&self, _: bool) -> Stage {
        let status = self.status.as_ref();
        let is_true = |type_| status.is_some_and(|status| is_true(status, type_));
        let denied = is_true(condition_type::DENIED);
        Stage {
            approval: match (denied, is_true(condition_type::APPROVED)) {
                (true, _) => Approval::Denied,
                (false, true) => Approval::Approved,
                (false, false) => Approval::Awaited,
            },
            invalid: false,
            progress: if is_true(condition_type::FAILED) {
                Progress::Failed
            } else if denied {
                // A denial needs no acknowledgement.
                Progress::Denied
            } else {
                Progress::Open
            },
            has_certificate: self.certificate().is_some(),
            waits_since: status.and_then(approved_at),
        }
    }

    fn approved_at(&self) -> Option<Timestamp> {
        self.status.as_ref().and_then(approved_at)
    }

    fn approval(&self) -> Option<audit::LoggedApproval<'_>> {
        let conditions = self.status.as_ref()?.conditions.as_deref()?;
        let approved = conditions.iter().find(|condition| {
            condition.type_ == condition_type::APPROVED && condition.status == "True"
        })?;
        Some(audit::LoggedApproval {
            reason: approved.reason.as_deref(),
            message: approved.message.as_deref(),
        })
    }

    fn csr_sha256(&self) -> Option<String> {
        csr::sha256_of_pem(&self.spec.request.0)
    }

    fn requester(&self) -> Requester<'_> {
        Requester {
            username: self.spec.username.as_deref().unwrap_or_default(),
            uid: self.spec.uid.as_deref().filter(|uid| !uid.is_empty()),
            groups: self.spec.groups.as_deref().unwrap_or_default(),
        }
    }

    fn reference(&self) -> Option<SubjectAccessReviewSpec> {
        let issuer = self.issuer()?;
        let spec = &self.spec;
        Some(SubjectAccessReviewSpec {
            user: spec.username.clone(),
            uid: spec.uid.clone(),
            groups: spec.groups.clone(),
            extra: spec.extra.clone(),
            resource_attributes: Some(ResourceAttributes {
                group: Some("cert-manager.io".to_owned()),
                resource: Some("signers".to_owned()),
                verb: Some("reference".to_owned()),
                namespace: Some(issuer.namespace?),
                name: Some(issuer.name),
                version: Some("*".to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SubjectAccessReviewSpec::default()
        })
    }

    fn tenant_namespace(&self) -> Option<&str> {
        service_account_namespace(self.spec.username.as_deref().unwrap_or_default())
    }

    fn asked<'a>(&'a self, _: Option<&'a PodRules>) -> Result<UncheckedRequest<'a>, Refusal> {
        let spec = &self.spec;
        let usages = spec.usages.as_deref().unwrap_or_default();
        Ok(UncheckedRequest {
            csr: AskedCsr::Pem(&spec.request.0),
            usages,
            is_ca: self.annotation(IS_CA) == Some("true"),
            by_annotation: !usages.iter().any(|usage| usage == CERT_SIGN),
            duration: match (self.annotation(DURATION), spec.expiration_seconds) {
                (Some(text), _) => Some(Cow::Borrowed(text)),
                (None, Some(seconds)) => Some(Cow::Owned(format!("{seconds}s"))),
                (None, None) => None,
            },
            or_less: false,
            variables: Variables {
                namespace: self.tenant_namespace(),
                name: self.metadata.name.as_deref().unwrap_or_default(),
            },
        })
    }

    /// The status contains only our part, without the approver's conditions.
    fn answer(&self, said: &Statement<'_>, message: &str, now: Timestamp) -> Answer {
        let status = match said {
            // A denial is already in the approver's condition, and the API has no condition for a request that waits.
            Statement::Denied | Statement::Pending => return Answer::Tell,
            Statement::Refused(refusal) => {
                let failed = CertificateSigningRequestCondition {
                    type_: condition_type::FAILED.to_owned(),
                    status: "True".to_owned(),
                    reason: Some(self.reason(refusal).to_owned()),
                    message: Some(message.to_owned()),
                    last_update_time: Some(Time(now)),
                    last_transition_time: Some(Time(now)),
                };
                CertificateSigningRequestStatus {
                    conditions: Some(vec![failed]),
                    certificate: None,
                }
            }
            Statement::Issued {
                certificate,
                publish,
            } => {
                let mut pem = certificate.certificate_pem();
                if publish.append_root {
                    pem.extend(certificate.ca_pem(CaField::Root));
                }
                CertificateSigningRequestStatus {
                    certificate: Some(ByteString(pem.into_bytes())),
                    conditions: None,
                }
            }
        };
        Answer::Write(Status::SigningRequest(status))
    }

    fn certificate(&self) -> Option<&[u8]> {
        octets(self.status.as_ref()?.certificate.as_ref())
    }

    fn shorten_certificate(&mut self) {
        let status = self.status.as_mut();
        shorten(status.and_then(|status| status.certificate.as_mut()));
    }

    fn lighten(&mut self) {
        let spec = &mut self.spec;
        spec.request.0 = Vec::new();
        spec.usages = None;
        spec.groups = None;
        spec.extra = None;
    }

    fn lacks_csr(&self) -> bool {
        self.spec.request.0.is_empty()
    }
}

/// Helpers that only this kind needs.
trait Annotated {
    fn annotation(&self, name: &str) -> Option<&str>;
    fn reason(&self, refusal: &Refusal) -> &'static str;
}

impl Annotated for CertificateSigningRequest {
    fn annotation(&self, name: &str) -> Option<&str> {
        let annotations: &BTreeMap<String, String> = self.metadata.annotations.as_ref()?;
        annotations.get(name).map(String::as_str)
    }

    fn reason(&self, refusal: &Refusal) -> &'static str {
        let duration = self.annotation(DURATION);
        let unreadable = duration.is_some_and(|text| text.parse::<GoDuration>().is_err());
        let of_duration = [
            RefusalReason::DurationInvalid,
            RefusalReason::DurationTooLong,
        ];
        if refusal.reason() == RefusalReason::ReferenceDenied {
            reason::DENIED_REFERENCE
        } else if !of_duration.contains(&refusal.reason()) {
            reason::SIGNING
        } else if unreadable {
            reason::PARSE_DURATION
        } else {
            reason::INVALID_DURATION
        }
    }
}

/// Returns when the request was approved.
fn approved_at(status: &CertificateSigningRequestStatus) -> Option<Timestamp> {
    let mut conditions = status.conditions.iter().flatten();
    let approved = conditions.find(|condition| condition.type_ == condition_type::APPROVED)?;
    let changed = approved.last_transition_time.as_ref();
    changed
        .or(approved.last_update_time.as_ref())
        .map(|at| at.0)
}

fn is_true(status: &CertificateSigningRequestStatus, type_: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Returns the namespace of a service account from its user name.
fn service_account_namespace(username: &str) -> Option<&str> {
    let (namespace, name) = username
        .strip_prefix("system:serviceaccount:")?
        .split_once(':')?;
    (!namespace.is_empty() && !name.is_empty()).then_some(namespace)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(spec: &Value, annotations: &Value) -> CertificateSigningRequest {
        let mut object = json!({
            "metadata": {"name": "web", "annotations": annotations},
            "spec": {
                "request": "Y3Ny",
                "signerName": "pkcs11issuers.pkcs11-issuer.dev/shop.issuing",
                "username": "system:serviceaccount:tenant:builder",
            },
            "status": {"conditions": [{"type": "Approved", "status": "True"}]},
        });
        let spec = spec.as_object().cloned().unwrap_or_default();
        object["spec"].as_object_mut().unwrap().extend(spec);
        serde_json::from_value(object).unwrap()
    }

    fn refused(request: &CertificateSigningRequest, reason: RefusalReason) -> Value {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let refusal = Refusal::new(reason, "why");
        match request.answer(&Statement::Refused(&refusal), "slug: why", now) {
            Answer::Write(status) => serde_json::to_value(status).unwrap(),
            Answer::Tell | Answer::SaidBefore => panic!("{request:?}"),
        }
    }

    #[test]
    fn the_duration_comes_from_the_annotation_else_expiration_seconds_else_the_profile() {
        let seconds = json!({"expirationSeconds": 3333});
        let both = request(&seconds, &json!({DURATION: "896h"}));
        assert_eq!(both.asked(None).unwrap().duration.as_deref(), Some("896h"));
        let one = request(&seconds, &json!({}));
        assert_eq!(one.asked(None).unwrap().duration.as_deref(), Some("3333s"));
        let none = request(&json!({}), &json!({}));
        assert_eq!(none.asked(None).unwrap().duration, None);
    }

    #[test]
    fn only_the_annotation_value_true_asks_for_a_ca_certificate() {
        for (value, is_ca) in [("true", true), ("True", false), ("", false)] {
            let request = request(&json!({}), &json!({IS_CA: value}));
            assert_eq!(request.asked(None).unwrap().is_ca, is_ca, "{value:?}");
        }
    }

    #[test]
    fn a_request_belongs_to_the_namespace_of_its_service_account_or_to_none() {
        for (username, namespace) in [
            ("system:serviceaccount:tenant:builder", Some("tenant")),
            ("system:serviceaccount:tenant", None),
            ("system:serviceaccount::builder", None),
            ("system:node:one", None),
            ("system:serviceaccounts:tenant:x", None),
        ] {
            let request = request(&json!({"username": username}), &json!({}));
            assert_eq!(request.tenant_namespace(), namespace, "{username}");
        }
    }

    #[test]
    fn a_namespaced_issuer_needs_permission_to_reference_it_and_a_cluster_issuer_does_not() {
        let request_ = request(&json!({"groups": ["g"], "uid": "u"}), &json!({}));
        let asked = request_.reference().unwrap();
        assert_eq!(
            (asked.user.as_deref(), asked.uid.as_deref()),
            (Some("system:serviceaccount:tenant:builder"), Some("u"))
        );
        let wanted = asked.resource_attributes.unwrap();
        assert_eq!(wanted.verb.as_deref(), Some("reference"));
        assert_eq!(wanted.namespace.as_deref(), Some("shop"));
        assert_eq!(wanted.name.as_deref(), Some("issuing"));
        let cluster = json!({"signerName": "pkcs11clusterissuers.pkcs11-issuer.dev/shop.issuing"});
        assert_eq!(request(&cluster, &json!({})).reference(), None);
    }

    #[test]
    fn a_refusal_sets_failed_with_the_same_reason_as_cert_manager() {
        let plain = request(&json!({}), &json!({}));
        let odd = request(&json!({}), &json!({DURATION: "soon"}));
        for (request, slug, reason) in [
            (&plain, RefusalReason::ReferenceDenied, "DeniedReference"),
            (&plain, RefusalReason::DurationInvalid, "InvalidDuration"),
            (&odd, RefusalReason::DurationInvalid, "ErrorParseDuration"),
            (&plain, RefusalReason::BadSan, "SigningError"),
        ] {
            let now = "2026-01-02T00:00:00Z";
            let failed = json!({
                "type": "Failed", "status": "True", "reason": reason, "message": "slug: why",
                "lastUpdateTime": now, "lastTransitionTime": now,
            });
            assert_eq!(refused(request, slug), json!({"conditions": [failed]}));
        }
    }

    #[test]
    fn a_wait_is_reported_by_an_event_only() {
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let request = request(&json!({}), &json!({}));
        assert_eq!(
            request.answer(&Statement::Pending, "later", now),
            Answer::Tell
        );
    }
}
