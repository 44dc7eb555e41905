//! What the kinds of requests have in common, so that all are answered in one way.

mod certificate_request;
mod pod_certificate;
mod signing_request;

use std::fmt::Debug;

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        authorization::v1::SubjectAccessReviewSpec,
        certificates::v1::CertificateSigningRequestStatus,
    },
};
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use super::decide::Stage;
use crate::{
    api::{IssuerName, certificate_request::CertificateRequestStatus},
    audit::{RequestKind, Requester},
    issuance::{IssuedCertificate, Refusal},
    pipeline::{Asked, PodRules, Publish},
};

pub(super) use self::pod_certificate::PodCertificateStatus;

/// A request for a certificate of any kind.
pub(crate) trait Request:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static
{
    /// Its name in metrics and in the issuance record.
    const KIND: RequestKind;
    /// The annotations that are looked at; others are not kept.
    const ANNOTATIONS: &'static [&'static str];

    /// The issuer that it names, if that is of one of our kinds.
    fn issuer(&self) -> Option<IssuerName>;

    /// How far it has come, by its status; `enforce_approval` is the operator's word on CertificateRequests.
    fn stage(&self, enforce_approval: bool) -> Stage;

    /// Who created it, as the API server says.
    fn requester(&self) -> Requester<'_>;

    /// What its creator must be allowed before it is looked into, where there is such a thing.
    fn reference(&self) -> Option<SubjectAccessReviewSpec> {
        None
    }

    /// The namespace that it belongs to where namespaces are fenced off from each other, if there is one.
    fn fenced_in(&self) -> Option<&str>;

    /// Who takes turns with others: the namespace that it is fenced in, else the user who made it.
    fn tenant(&self) -> &str {
        self.fenced_in()
            .unwrap_or_else(|| self.requester().username)
    }

    /// What it asks for, not looked into. `pods` is what the issuer gives pods.
    ///
    /// # Errors
    /// The issuer gives such requests nothing.
    fn asked<'a>(&'a self, pods: Option<&'a PodRules>) -> Result<Asked<'a>, Refusal>;

    /// The status that says `said`, and `message` where the kind has room for it. [`Status`] tells what of it others wrote.
    fn answer(&self, said: &Said<'_>, message: &str, now: Timestamp) -> Answer;

    /// The certificate that its status has, as it stands there.
    fn certificate(&self) -> Option<&[u8]>;

    /// Drops the octets that a finished request is not looked at for.
    fn shed(&mut self);
}

/// What is to be said of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Said<'a> {
    /// An approver denied it.
    Denied,
    /// Only a new request can help.
    Refused(&'a Refusal),
    /// Here is the certificate.
    Issued {
        /// The certificate and its chain.
        certificate: &'a IssuedCertificate,
        /// How the issuer wants chains published.
        publish: Publish,
    },
    /// It waits.
    Pending,
}

/// How a kind of request says it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// By this status.
    Write(Status),
    /// Its status has no place for it: by an Event alone.
    Tell,
    /// Its status says so already.
    SaidBefore,
}

/// What one write says in the status of a request.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Status {
    /// The whole status of cert-manager's CertificateRequest: what others have written as it was read, and ours.
    CertificateRequest(CertificateRequestStatus),
    /// Our part of the status of a Kubernetes CSR.
    SigningRequest(CertificateSigningRequestStatus),
    /// Our part of the status of a pod's request.
    PodCertificate(PodCertificateStatus),
}

/// The octets of a certificate, where there are any.
fn octets(certificate: Option<&ByteString>) -> Option<&[u8]> {
    let octets = certificate?.0.as_slice();
    (!octets.is_empty()).then_some(octets)
}

/// Drops the octets of a certificate. That there is one is part of what was decided.
fn shed(certificate: Option<&mut ByteString>) {
    if let Some(ByteString(octets)) = certificate {
        octets.truncate(1);
        octets.shrink_to_fit();
    }
}
