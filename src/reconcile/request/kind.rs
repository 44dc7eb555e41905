//! The common interface of all kinds of requests.

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
    api::{
        IssuerName,
        certificate_request::{CertificateRequest, CertificateRequestStatus},
    },
    audit::{self, RequestKind, Requester},
    issuance::{IssuedCertificate, Refusal},
    pipeline::{PodRules, Publish, UncheckedRequest},
};

pub(crate) use self::certificate_request::issuer_name;
pub(super) use self::pod_certificate::PodCertificateStatus;

/// cert-manager's kind that owns the requests that are made for it.
pub(in crate::reconcile) const CERTIFICATE: &str = "Certificate";

/// Request for a certificate, of any kind.
pub(crate) trait Request:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize + Send + Sync + 'static
{
    /// The kind's name in metrics and in the issuance log.
    const KIND: RequestKind;
    /// The annotations that a decision reads; all others are dropped.
    const ANNOTATIONS: &'static [&'static str];

    /// Returns the issuer that the request names, if it is of one of our kinds.
    fn issuer(&self) -> Option<IssuerName>;

    /// Returns the progress of the request, by its status. `enforce_approval` is the operator's setting for
    /// CertificateRequests.
    fn stage(&self, enforce_approval: bool) -> Stage;

    /// Returns when the request was approved, if its status tells.
    fn approved_at(&self) -> Option<Timestamp>;

    /// Returns the name of the Certificate that the request was made for, according to its owner references.
    fn certificate_name(&self) -> Option<&str> {
        let owners = self.meta().owner_references.as_deref();
        let owner = owners.unwrap_or_default().iter().find(|owner| {
            owner.kind == CERTIFICATE && owner.api_version.starts_with("cert-manager.io/")
        });
        owner.map(|owner| owner.name.as_str())
    }

    /// Returns the approval of the request, if it has one.
    fn approval(&self) -> Option<audit::LoggedApproval<'_>> {
        None
    }

    /// Returns the SHA-256 of the DER of the CSR, hexadecimal; `None` if it cannot be read.
    fn csr_sha256(&self) -> Option<String>;

    /// Returns who created the request, according to the API server.
    fn requester(&self) -> Requester<'_>;

    /// Returns the permission that the requester must have before the request is processed, if the kind needs one.
    fn reference(&self) -> Option<SubjectAccessReviewSpec> {
        None
    }

    /// Returns the namespace that the request belongs to, if there is one. Namespace selectors, the variables of profiles
    /// and fair turns use it.
    fn tenant_namespace(&self) -> Option<&str>;

    /// Returns the tenant for fair turns: the namespace that the request belongs to, else the user who created it.
    fn tenant(&self) -> &str {
        self.tenant_namespace()
            .unwrap_or_else(|| self.requester().username)
    }

    /// Returns what the request asks for, not yet validated. `pods` are the issuer's rules for pods.
    ///
    /// # Errors
    /// The issuer does not serve such requests.
    fn asked<'a>(&'a self, pods: Option<&'a PodRules>) -> Result<UncheckedRequest<'a>, Refusal>;

    /// Returns how to report `said`, with `message` if the kind has a field for it. [`Status`] tells which parts of the
    /// status are included.
    fn answer(&self, said: &Statement<'_>, message: &str, now: Timestamp) -> Answer;

    /// Returns the octets of the certificate in the status.
    fn certificate(&self) -> Option<&[u8]>;

    /// Returns the request itself, if it is one of cert-manager's.
    fn as_certificate_request(&self) -> Option<&CertificateRequest> {
        None
    }

    /// Drops the octets of the certificate except the first, because decisions depend on whether there is one.
    fn shorten_certificate(&mut self);

    /// Drops the CSR and all else in the specification that only signing or refusing needs and that may be long.
    fn lighten(&mut self);

    /// Returns whether the object has no CSR, as after [`lighten`](Self::lighten).
    fn lacks_csr(&self) -> bool;
}

/// Message to report about a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Statement<'a> {
    /// An approver denied the request.
    Denied,
    /// The request is refused; only a new request can help.
    Refused(&'a Refusal),
    /// The certificate is issued.
    Issued {
        /// The certificate and its chain.
        certificate: &'a IssuedCertificate,
        /// What to publish as its CA.
        publish: &'a Publish,
    },
    /// The request waits.
    Pending,
}

/// How a kind of request reports a message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    /// Write this status.
    Write(Status),
    /// Emit an Event only, because the status has no place for the message.
    Tell,
    /// Do nothing, because the status already says so.
    SaidBefore,
}

/// Content of one status write.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Status {
    /// The whole status of a cert-manager CertificateRequest: the parts of others as they were read, and our own.
    CertificateRequest(CertificateRequestStatus),
    /// Our part of the status of a Kubernetes CSR.
    SigningRequest(CertificateSigningRequestStatus),
    /// Our part of the status of a PodCertificateRequest.
    PodCertificate(PodCertificateStatus),
}

/// Returns the octets of a certificate, if there are any.
fn octets(certificate: Option<&ByteString>) -> Option<&[u8]> {
    let octets = certificate?.0.as_slice();
    (!octets.is_empty()).then_some(octets)
}

/// Drops the octets of a certificate except the first.
fn shorten(certificate: Option<&mut ByteString>) {
    if let Some(ByteString(octets)) = certificate {
        octets.truncate(1);
        octets.shrink_to_fit();
    }
}
