//! What the issuance log says about a revocation.

use jiff::Timestamp;
use kube::ResourceExt as _;

use super::claim::{ClaimedCertificate, Way};
use crate::{
    api::{IssuerName, certificate_request::CertificateRequest, revocation::CertificateRevocation},
    audit::{LoggedIssuer, LoggedRequest, LoggedRevocation, RevocationObject},
    reconcile::request::Request as _,
    revocation::Entry,
};

/// The facts of a line of the issuance log about a revocation.
pub(super) struct LoggedFacts<'a> {
    revocation: &'a CertificateRevocation,
    issuer: IssuerName,
    by: Option<&'static str>,
    ca: Option<String>,
    serial: Option<String>,
    not_after: Option<Timestamp>,
    request: Option<&'a CertificateRequest>,
}

impl<'a> LoggedFacts<'a> {
    /// Collects the facts about an answer.
    pub(super) fn of(
        revocation: &'a CertificateRevocation,
        issuer: &IssuerName,
        claimed: Option<&ClaimedCertificate>,
        request: Option<&'a CertificateRequest>,
    ) -> Self {
        // The end of a certificate that is only known by its serial number is not known.
        let read = claimed.filter(|claimed| claimed.way != Way::Serial);
        Self {
            revocation,
            issuer: issuer.clone(),
            by: claimed.map(|claimed| claimed.way.as_str()),
            ca: claimed.map(|claimed| claimed.ca.to_string()),
            serial: claimed.map(|claimed| claimed.serial.to_string()),
            not_after: read.map(|claimed| claimed.not_after),
            request,
        }
    }

    /// Collects the facts about a revocation whose entry is stored.
    pub(super) fn stored(revocation: &'a CertificateRevocation, entry: &Entry) -> Self {
        let namespace = revocation.namespace().unwrap_or_default();
        let status = revocation.status.as_ref();
        Self {
            revocation,
            issuer: revocation.spec.0.issuer_ref.of(&namespace),
            by: None,
            ca: status.and_then(|status| status.ca.clone()),
            serial: Some(entry.revoked.serial().to_string()),
            not_after: entry.not_after,
            request: None,
        }
    }

    /// Calls `write` with the facts.
    pub(super) fn write<T>(&self, write: impl FnOnce(LoggedRevocation<'_>) -> T) -> T {
        let meta = &self.revocation.metadata;
        let invalidity = self.revocation.spec.0.invalidity_date.as_ref();
        write(LoggedRevocation {
            object: RevocationObject {
                namespace: meta.namespace.as_deref().unwrap_or_default(),
                name: meta.name.as_deref().unwrap_or_default(),
                uid: meta.uid.as_deref().unwrap_or_default(),
                by: self.by,
                ca: self.ca.as_deref(),
                invalidity_date: invalidity.map(|date| date.0),
            },
            issuer: LoggedIssuer {
                kind: self.issuer.kind(),
                namespace: self.issuer.namespace.as_deref(),
                name: &self.issuer.name,
                uid: None,
                generation: None,
                profile_sha256: None,
                grant_sha256: None,
            },
            request: self.request.map(|request| LoggedRequest {
                kind: CertificateRequest::KIND,
                namespace: request.metadata.namespace.as_deref(),
                name: request.metadata.name.as_deref().unwrap_or_default(),
                uid: request.metadata.uid.as_deref().unwrap_or_default(),
                certificate: request.certificate_name(),
            }),
            serial: self.serial.as_deref(),
            not_after: self.not_after,
        })
    }
}
