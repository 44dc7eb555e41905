//! Kubernetes' PodCertificateRequest, which the kubelet creates for a pod's projected volume
//! (docs/reference/cert-manager.md, "PodCertificateRequests").

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::{
    api::certificates::{v1, v1beta1},
    apimachinery::pkg::apis::meta::v1::{Condition, Time},
};
use serde::Serialize;

use super::{Answer, Request, Statement, Status};
use crate::{
    api::IssuerName,
    audit::{RequestKind, Requester},
    issuance::{IssuedCertificate, Refusal, RefusalReason, csr, pattern::Variables, pod::Pod},
    pipeline::{AskedCsr, PodRules, UncheckedRequest},
    reconcile::request::decide::{Approval, Progress, Stage},
};

/// Status of a PodCertificateRequest that has ended. The API server demands all of it in one write.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PodCertificateStatus {
    conditions: [Condition; 1],
    #[serde(flatten)]
    issued: Option<Issued>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Issued {
    certificate_chain: String,
    not_before: Time,
    not_after: Time,
    begin_refresh_at: Time,
}

/// The condition types. A request has at most one of them.
mod condition_type {
    pub(super) const ISSUED: &str = "Issued";
    pub(super) const DENIED: &str = "Denied";
    pub(super) const FAILED: &str = "Failed";
}

/// Implements `Request` for one version of the API.
macro_rules! answered {
    ($version:ident) => {
        impl Request for $version::PodCertificateRequest {
            const KIND: RequestKind = RequestKind::PodCertificateRequest;
            const ANNOTATIONS: &'static [&'static str] = &[];

            fn issuer(&self) -> Option<IssuerName> {
                IssuerName::from_signer_name(&self.spec.signer_name)
            }

            /// This kind has no approval, because the API server vouches for the pod.
            fn stage(&self, _: bool) -> Stage {
                let status = self.status.as_ref();
                let conditions = status.and_then(|status| status.conditions.as_deref());
                Stage {
                    approval: Approval::Approved,
                    invalid: false,
                    progress: progress(conditions.unwrap_or_default()),
                    has_certificate: self.certificate().is_some(),
                    // No approval is needed, so the wait starts when the request is created.
                    waits_since: self.metadata.creation_timestamp.as_ref().map(|made| made.0),
                }
            }

            fn approved_at(&self) -> Option<Timestamp> {
                None
            }

            /// Returns the pod's node. The object has no user name, and the API server admits a request only from that node.
            fn requester(&self) -> Requester<'_> {
                Requester {
                    username: &self.spec.node_name,
                    uid: Some(&self.spec.node_uid),
                    groups: &[],
                }
            }

            fn csr_sha256(&self) -> Option<String> {
                Some(csr::sha256_of_der(&self.spec.stub_pkc_s10_request.0))
            }

            fn tenant_namespace(&self) -> Option<&str> {
                self.metadata.namespace.as_deref()
            }

            fn asked<'a>(&'a self, pods: Option<&'a PodRules>) -> Result<UncheckedRequest<'a>, Refusal> {
                let spec = &self.spec;
                let namespace = self.tenant_namespace().unwrap_or_default();
                let issuer = self.issuer().and_then(|issuer| issuer.namespace);
                let annotations = spec.unverified_user_annotations.as_ref();
                let rules = served(pods, issuer.as_deref(), namespace)?;
                if let Some(name) = annotations.and_then(|annotations| annotations.keys().next()) {
                    return Err(Refusal::new(
                        RefusalReason::UnknownAnnotation,
                        format!("this signer knows no annotation {name:?}; remove userAnnotations from the volume"),
                    ));
                }
                let names = rules.identity.names_of(Pod {
                    namespace,
                    service_account: &spec.service_account_name,
                    name: &spec.pod_name,
                })?;
                Ok(UncheckedRequest {
                    csr: AskedCsr::Key(&spec.stub_pkc_s10_request.0, names),
                    usages: &rules.usages,
                    is_ca: false,
                    by_annotation: false,
                    duration: spec
                        .max_expiration_seconds
                        .map(|seconds| Cow::Owned(format!("{seconds}s"))),
                    or_less: true,
                    variables: Variables {
                        namespace: self.tenant_namespace(),
                        name: self.metadata.name.as_deref().unwrap_or_default(),
                    },
                })
            }

            fn answer(&self, said: &Statement<'_>, message: &str, now: Timestamp) -> Answer {
                answer(said, message, now, self.metadata.generation)
            }

            fn certificate(&self) -> Option<&[u8]> {
                let chain = self.status.as_ref()?.certificate_chain.as_ref()?;
                Some(chain.as_bytes()).filter(|octets| !octets.is_empty())
            }

            fn shorten_certificate(&mut self) {
                let status = self.status.as_mut();
                if let Some(chain) = status.and_then(|status| status.certificate_chain.as_mut()) {
                    chain.truncate(1);
                    chain.shrink_to_fit();
                }
            }

            fn lighten(&mut self) {
                let spec = &mut self.spec;
                spec.stub_pkc_s10_request.0 = Vec::new();
                spec.unverified_user_annotations = None;
            }

            fn lacks_csr(&self) -> bool {
                self.spec.stub_pkc_s10_request.0.is_empty()
            }
        }
    };
}

answered!(v1);
answered!(v1beta1);

fn progress(conditions: &[Condition]) -> Progress {
    conditions
        .iter()
        .find_map(|condition| match condition.type_.as_str() {
            condition_type::ISSUED => Some(Progress::Issued),
            condition_type::DENIED => Some(Progress::Denied),
            condition_type::FAILED => Some(Progress::Failed),
            _ => None,
        })
        .unwrap_or(Progress::Open)
}

/// Returns the issuer's rules for pods, if it serves pods of this namespace.
fn served<'a>(
    pods: Option<&'a PodRules>,
    issuer_namespace: Option<&str>,
    namespace: &str,
) -> Result<&'a PodRules, Refusal> {
    if issuer_namespace.is_some_and(|own| own != namespace) {
        return Err(Refusal::new(
            RefusalReason::PodsNotServed,
            "the issuer serves pods of its own namespace only",
        ));
    }
    pods.ok_or_else(|| {
        Refusal::new(
            RefusalReason::PodsNotServed,
            "the issuer does not issue certificates to pods: it has no spec.podCertificates",
        )
    })
}

fn answer(said: &Statement<'_>, message: &str, now: Timestamp, generation: Option<i64>) -> Answer {
    let (type_, reason, issued) = match said {
        // This kind has no approver who could deny a request, and the API has no condition for a request that waits.
        Statement::Denied | Statement::Pending => return Answer::Tell,
        Statement::Refused(refusal) => {
            let (type_, reason) = refused(refusal.reason());
            (type_, reason, None)
        }
        Statement::Issued { certificate, .. } => {
            (condition_type::ISSUED, "Issued", Some(issued(certificate)))
        }
    };
    Answer::Write(Status::PodCertificate(PodCertificateStatus {
        conditions: [Condition {
            type_: type_.to_owned(),
            status: "True".to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Time(now),
            observed_generation: generation,
        }],
        issued,
    }))
}

fn issued(certificate: &IssuedCertificate) -> Issued {
    let (start, end) = (certificate.not_before(), certificate.not_after());
    // Like cert-manager, renew with a third of the lifetime left.
    let refresh = start + start.duration_until(end) * 2 / 3;
    Issued {
        certificate_chain: certificate.certificate_pem(),
        not_before: Time(start),
        not_after: Time(end),
        begin_refresh_at: Time(whole_seconds(refresh)),
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

/// Returns the condition type and reason for a refusal: `Denied` for the key type and for the issuer's rules, else `Failed`.
fn refused(reason: RefusalReason) -> (&'static str, &'static str) {
    let key = [
        RefusalReason::UnsupportedKey,
        RefusalReason::WeakKey,
        RefusalReason::KeyTooLarge,
    ];
    let rules = [
        RefusalReason::PodsNotServed,
        RefusalReason::UnknownAnnotation,
        RefusalReason::NamespaceNotSelected,
    ];
    if key.contains(&reason) {
        // The only reason that the API defines.
        (condition_type::DENIED, "UnsupportedKeyType")
    } else if rules.contains(&reason) {
        (condition_type::DENIED, "NotServed")
    } else {
        (condition_type::FAILED, "SigningError")
    }
}
