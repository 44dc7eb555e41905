//! What the issuance log says about a certificate before it is signed.

use std::sync::Arc;

use super::ReadyIssuer;
use crate::{
    audit::{Certificate, CertificateEntry, LoggedIssuer, LoggedToken, Subject},
    issuance::{CertificateParams, PreparedCertificate, VerifiedCsr},
};

/// Entry of the issuance log about a certificate, made before it is signed.
#[derive(Debug, Default)]
pub struct Announced {
    /// What every line about the certificate says.
    pub entry: CertificateEntry,
    /// Name of the token in the operator's configuration.
    pub token: Arc<str>,
    /// The serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the TBSCertificate, hexadecimal.
    pub tbs_sha256: String,
    /// OIDs of the extensions that the CSR asks for and the certificate does not have.
    pub dropped_extensions: Vec<String>,
}

impl Announced {
    /// Collects what the lines about a certificate will say.
    pub(super) fn new(
        subject: &Subject<'_>,
        csr: &VerifiedCsr,
        params: &CertificateParams<'_>,
        prepared: &PreparedCertificate,
        ready: &ReadyIssuer,
    ) -> Self {
        let (serial, tbs_sha256) = (prepared.serial_hex(), prepared.tbs_sha256());
        let (label, token_serial) = ready.key.token_label_and_serial().unwrap_or_default();
        let contents = params.contents();
        let subject = Subject {
            issuer: LoggedIssuer {
                profile_sha256: Some(&ready.profile_sha256),
                grant_sha256: ready.key.grant_sha256(),
                ..subject.issuer
            },
            ..*subject
        };
        let certificate = Certificate {
            csr_sha256: csr.sha256(),
            token: LoggedToken {
                name: ready.key.token_name(),
                label: &label,
                serial: &token_serial,
            },
            key_id: ready.key.id(),
            issuer_certificate_sha256: &ready.issuer.chain().issuing().sha256_hex(),
            serial: &serial,
            subject: &contents.subject,
            names: &contents.names,
            usages: &contents.usages,
            ca: contents.ca,
            not_before: prepared.not_before(),
            not_after: prepared.not_after(),
            tbs_sha256: &tbs_sha256,
        };
        let dropped = prepared.dropped_extensions().iter();
        Self {
            entry: CertificateEntry::new(&subject, &certificate),
            token: Arc::clone(ready.key.token_name()),
            serial,
            tbs_sha256,
            dropped_extensions: dropped.map(ToString::to_string).collect(),
        }
    }
}
