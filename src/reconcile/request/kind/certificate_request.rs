//! cert-manager's CertificateRequest (docs/reference/cert-manager.md, "Objects and fields" and
//! docs/reference/cert-manager.md, "State machine of a request").

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use kube::ResourceExt as _;

use super::{Answer, Request, Statement, Status, octets, shorten};
use crate::{
    api::{
        GROUP, IssuerName,
        certificate_request::{
            CertificateRequest, CertificateRequestStatus, IssuerRef, RequestCondition,
            condition_type, reason,
        },
        issuer::{IssuerKind as _, PKCS11ClusterIssuer, PKCS11Issuer},
    },
    audit::{self, RequestKind, Requester},
    issuance::{Refusal, csr, pattern::Variables},
    pipeline::{AskedCsr, PodRules, UncheckedRequest},
    reconcile::request::decide::{Approval, Progress, Stage},
};

impl Request for CertificateRequest {
    const KIND: RequestKind = RequestKind::CertificateRequest;
    const ANNOTATIONS: &'static [&'static str] = &[];

    fn issuer(&self) -> Option<IssuerName> {
        issuer_name(&self.spec.issuer_ref, self.namespace())
    }

    fn stage(&self, enforce_approval: bool) -> Stage {
        let status = self.status.as_ref();
        let is_true = |type_| status.is_some_and(|status| status.is_true(type_));
        Stage {
            approval: match (
                is_true(condition_type::DENIED),
                is_true(condition_type::APPROVED) || !enforce_approval,
            ) {
                (true, _) => Approval::Denied,
                (false, true) => Approval::Approved,
                (false, false) => Approval::Awaited,
            },
            invalid: is_true(condition_type::INVALID_REQUEST),
            progress: match status.and_then(CertificateRequestStatus::ready_reason) {
                Some(reason::ISSUED) => Progress::Issued,
                Some(reason::FAILED) => Progress::Failed,
                Some(reason::DENIED) => Progress::Denied,
                Some(_) | None => Progress::Open,
            },
            has_certificate: self.certificate().is_some(),
            waits_since: status.and_then(pending_since),
        }
    }

    fn approved_at(&self) -> Option<Timestamp> {
        let status = self.status.as_ref()?;
        let approved = status.condition(condition_type::APPROVED)?;
        // Somebody else may have written something that is not a time.
        approved.last_transition_time.as_ref()?.parse().ok()
    }

    fn approval(&self) -> Option<audit::LoggedApproval<'_>> {
        let status = self.status.as_ref()?;
        let approved = status.condition(condition_type::APPROVED)?;
        let approval = audit::LoggedApproval {
            reason: approved.reason.as_deref(),
            message: approved.message.as_deref(),
        };
        (approved.status == "True").then_some(approval)
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

    fn tenant_namespace(&self) -> Option<&str> {
        self.metadata.namespace.as_deref()
    }

    fn asked<'a>(&'a self, _: Option<&'a PodRules>) -> Result<UncheckedRequest<'a>, Refusal> {
        let spec = &self.spec;
        Ok(UncheckedRequest {
            csr: AskedCsr::Pem(&spec.request.0),
            usages: &spec.usages,
            is_ca: spec.is_ca,
            by_annotation: false,
            duration: spec.duration.as_deref().map(Cow::Borrowed),
            or_less: false,
            variables: Variables {
                namespace: self.tenant_namespace(),
                name: self.metadata.name.as_deref().unwrap_or_default(),
            },
        })
    }

    /// *Guarantees*: `failureTime` is never set without `Ready` (docs/reference/cert-manager.md, "Times and conditions").
    /// A certificate is set only together with `Ready=True`, reason Issued.
    fn answer(&self, said: &Statement<'_>, message: &str, now: Timestamp) -> Answer {
        let status = match said {
            Statement::Denied => self.ended(reason::DENIED, message, now),
            Statement::Refused(_) => self.ended(reason::FAILED, message, now),
            Statement::Issued {
                certificate,
                publish,
            } => CertificateRequestStatus {
                certificate: Some(ByteString(certificate.certificate_pem().into_bytes())),
                ca: publish
                    .ca_pem(certificate)
                    .map(|pem| ByteString(pem.into_bytes())),
                ..self.with_ready("True", reason::ISSUED, message, now)
            },
            Statement::Pending => {
                let ready = self
                    .status
                    .as_ref()
                    .and_then(|status| status.condition(condition_type::READY));
                let said = ready.is_some_and(|ready| {
                    ready.status == "False"
                        && ready.reason.as_deref() == Some(reason::PENDING)
                        && ready.message.as_deref() == Some(message)
                });
                if said {
                    return Answer::SaidBefore;
                }
                self.with_ready("False", reason::PENDING, message, now)
            }
        };
        Answer::Write(Status::CertificateRequest(status))
    }

    fn certificate(&self) -> Option<&[u8]> {
        octets(self.status.as_ref()?.certificate.as_ref())
    }

    fn as_certificate_request(&self) -> Option<&Self> {
        Some(self)
    }

    fn shorten_certificate(&mut self) {
        let status = self.status.as_mut();
        shorten(status.and_then(|status| status.certificate.as_mut()));
    }

    fn lighten(&mut self) {
        let spec = &mut self.spec;
        spec.request.0 = Vec::new();
        spec.usages = Vec::new();
        spec.duration = None;
        spec.groups = None;
    }

    fn lacks_csr(&self) -> bool {
        self.spec.request.0.is_empty()
    }
}

impl CertificateRequest {
    /// Returns the status of a request that ends without a certificate. An existing `failureTime` is kept.
    fn ended(
        &self,
        reason: &'static str,
        message: &str,
        now: Timestamp,
    ) -> CertificateRequestStatus {
        let mut status = self.with_ready("False", reason, message, now);
        status.failure_time.get_or_insert_with(|| rfc_3339(now));
        status.certificate = None;
        status.ca = None;
        status
    }

    /// Returns the status as it was read, with this `Ready` condition. As everywhere in Kubernetes, the transition time
    /// stays while `status` stays.
    fn with_ready(
        &self,
        status: &'static str,
        reason: &'static str,
        message: &str,
        now: Timestamp,
    ) -> CertificateRequestStatus {
        let mut written = self.status.clone().unwrap_or_default();
        let is_ready = |condition: &RequestCondition| condition.type_ == condition_type::READY;
        let before = written.conditions.iter().position(is_ready);
        let before = before.map(|index| written.conditions.remove(index));
        let unchanged = before.filter(|ready| ready.status == status);
        written.conditions.push(RequestCondition {
            type_: condition_type::READY.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            last_transition_time: unchanged
                .and_then(|ready| ready.last_transition_time)
                .or_else(|| Some(rfc_3339(now))),
            others: BTreeMap::new(),
        });
        written
    }
}

/// Formats a time as Kubernetes does: in UTC, in whole seconds.
fn rfc_3339(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns the issuer that a reference names, if it is of our group and one of our kinds. Both must be spelled out, because
/// empty values mean cert-manager's own issuers (docs/reference/cert-manager.md, "Objects and fields").
pub(crate) fn issuer_name(reference: &IssuerRef, namespace: Option<String>) -> Option<IssuerName> {
    let name = reference.name.clone();
    match (reference.group.as_str(), reference.kind.as_str()) {
        (GROUP, PKCS11Issuer::KIND) => Some(IssuerName {
            namespace: Some(namespace?),
            name,
        }),
        (GROUP, PKCS11ClusterIssuer::KIND) => Some(IssuerName {
            namespace: None,
            name,
        }),
        (_, _) => None,
    }
}

/// Returns since when the `Ready` condition has been Pending.
fn pending_since(status: &CertificateRequestStatus) -> Option<Timestamp> {
    let ready = status.condition(condition_type::READY)?;
    let pending = ready.reason.as_deref() == Some(reason::PENDING);
    // Somebody else may have written something that is not a time.
    ready
        .last_transition_time
        .as_ref()
        .filter(|_| pending)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(group: &str, kind: &str) -> IssuerRef {
        IssuerRef {
            name: "issuing".to_owned(),
            kind: kind.to_owned(),
            group: group.to_owned(),
        }
    }

    #[test]
    fn an_issuer_is_ours_only_if_our_group_and_kind_are_spelled_out() {
        let shop = || Some("shop".to_owned());
        assert!(issuer_name(&reference(GROUP, "PKCS11Issuer"), shop()).is_some());
        assert!(issuer_name(&reference(GROUP, "PKCS11ClusterIssuer"), shop()).is_some());
        for (group, kind) in [
            ("", "PKCS11Issuer"),
            (GROUP, ""),
            (GROUP, "Issuer"),
            ("cert-manager.io", "PKCS11Issuer"),
        ] {
            assert_eq!(
                issuer_name(&reference(group, kind), shop()),
                None,
                "{group:?} {kind:?}"
            );
        }
    }

    #[test]
    fn a_namespaced_issuer_is_looked_up_only_in_the_namespace_of_the_request() {
        let name = issuer_name(&reference(GROUP, "PKCS11Issuer"), Some("shop".to_owned())).unwrap();
        assert_eq!(name.namespace.as_deref(), Some("shop"));
    }
}
