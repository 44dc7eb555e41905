//! An issuer as it was read, and how its status describes its token, key and certificate. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{
    api::issuer::{
        CertificateStatus, IssuerSpec, IssuerStatus, KeyStatus, ReissueStatus, TokenStatus,
    },
    issuance::{IssuerChain, crl::CaId},
    message::shown,
};

/// An issuer as it was read.
#[derive(Clone, Copy, Debug)]
pub(in crate::reconcile) struct Seen<'a> {
    pub(in crate::reconcile) spec: &'a IssuerSpec,
    pub(super) generation: Option<i64>,
    pub(in crate::reconcile) status: Option<&'a IssuerStatus>,
    /// Namespace of this installation of the controller.
    pub(super) installation: &'a str,
    /// Progress of a re-issue.
    pub(super) reissue: Option<&'a ReissueStatus>,
}

/// Returns the identifier of the CA of a chain.
pub(in crate::reconcile) fn ca_of(chain: &IssuerChain) -> String {
    CaId::of(chain.issuing()).to_string()
}

pub(super) fn token_status(token: &hsm::TokenInfo) -> TokenStatus {
    TokenStatus {
        label: token.label.clone(),
        serial: token.serial.clone(),
        manufacturer: token.manufacturer.clone(),
        model: token.model.clone(),
        firmware_version: token.firmware.clone(),
    }
}

pub(super) fn key_status(key: &hsm::Key) -> KeyStatus {
    let name = key.name();
    let attributes = key.attributes();
    KeyStatus {
        algorithm: key.algorithm().to_string(),
        label: name.label,
        id_hex: hex::encode(name.id),
        sensitive: attributes.sensitive,
        extractable: attributes.extractable,
        never_extractable: attributes.never_extractable,
        local: attributes.local,
    }
}

pub(super) fn certificate_status(chain: &IssuerChain) -> CertificateStatus {
    let certificate = chain.issuing();
    let first_end = chain.first_to_end().not_after();
    CertificateStatus {
        ca: ca_of(chain),
        subject: shown(certificate.subject_text()),
        serial_number: shown(certificate.serial_hex()),
        sha256: certificate.sha256_hex(),
        not_before: Some(Time(certificate.not_before())),
        not_after: Some(Time(certificate.not_after())),
        chain_not_after: (first_end < certificate.not_after()).then_some(Time(first_end)),
        subject_key_id: certificate
            .subject_key_id()
            .map(|octets| shown(hex::encode(octets)))
            .unwrap_or_default(),
    }
}
