//! Chooses the Certificates of an issuer that are to be renewed. Pure.

use serde::Serialize;

use super::snapshot::SeenIssuer;
use crate::{api::certificate::Certificate, reconcile::issuer_name};

/// What becomes of a Certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RenewalOutcome {
    /// cert-manager is asked to renew it, or would be.
    Renewed,
    /// cert-manager is issuing it already.
    InProgress,
    /// It could not be written.
    NotWritten,
}

/// A Certificate of the issuer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RenewalRow {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) outcome: RenewalOutcome,
    /// Why it could not be written.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) error: String,
}

/// The Certificates of an issuer, and what becomes of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReissueRecord {
    pub(super) issuer: String,
    /// Whether nothing was written.
    pub(super) dry_run: bool,
    pub(super) certificates: Vec<RenewalRow>,
}

impl ReissueRecord {
    /// Returns how many have this outcome.
    pub(super) fn count(&self, outcome: RenewalOutcome) -> usize {
        let all = self.certificates.iter();
        all.filter(|row| row.outcome == outcome).count()
    }
}

/// Returns whether a Certificate names this issuer.
pub(super) fn is_of(certificate: &Certificate, issuer: &SeenIssuer) -> bool {
    let namespace = certificate.metadata.namespace.clone();
    issuer_name(&certificate.spec.issuer_ref, namespace).as_ref() == Some(&issuer.name)
}

/// Returns the row of a Certificate that has not been written yet.
pub(super) fn row(certificate: &Certificate) -> RenewalRow {
    RenewalRow {
        namespace: certificate.metadata.namespace.clone().unwrap_or_default(),
        name: certificate.metadata.name.clone().unwrap_or_default(),
        outcome: match certificate.is_issuing() {
            true => RenewalOutcome::InProgress,
            false => RenewalOutcome::Renewed,
        },
        error: String::new(),
    }
}
