//! Composes the status of a revocation. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::claim::{ClaimedCertificate, Way};
use crate::{
    api::revocation::{
        AcceptedReason, CertificateRevocation, PublishedReason, RenewalStatus, RevocationCrl,
        RevocationStatus,
        condition_type::{ACCEPTED, PUBLISHED},
    },
    message::shown,
};

/// The first CRL that has a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstCrl {
    /// Its number.
    pub(super) number: u64,
    /// Its shard.
    pub(super) shard: u16,
    /// Its thisUpdate.
    pub(super) this_update: Timestamp,
}

/// A revocation as it was read, and the present time.
#[derive(Clone, Copy, Debug)]
pub(super) struct RevocationReport<'a> {
    pub(super) revocation: &'a CertificateRevocation,
    pub(super) now: Timestamp,
}

impl RevocationReport<'_> {
    /// Says that the revocation waits.
    pub(super) fn waiting(self, reason: AcceptedReason, why: &str) -> RevocationStatus {
        self.status(
            (reason, why.to_owned()),
            (
                PublishedReason::NotRevoked,
                "The certificate is not revoked yet".to_owned(),
            ),
        )
    }

    /// Says that the Certificate is renewed first.
    pub(super) fn renewing(self, renewal: RenewalStatus) -> RevocationStatus {
        let why = format!(
            "Certificate {} is being renewed; the old certificate is revoked when the new one is in place",
            renewal.certificate_name
        );
        let mut status = self.waiting(AcceptedReason::Renewing, &why);
        status.renewal = Some(renewal);
        status
    }

    /// Says that the controller cannot renew the Certificate.
    pub(super) fn cannot_renew(self) -> RevocationStatus {
        self.waiting(
            AcceptedReason::Renewing,
            "the controller may not renew Certificates: the operator has to set crl.renew in the chart. After renewWithin the certificate is revoked without a renewal",
        )
    }

    /// Says that the revocation is refused for good.
    pub(super) fn refused(self, reason: AcceptedReason, why: &str) -> RevocationStatus {
        let known = self.revocation.status.as_ref();
        let before = known.and_then(RevocationStatus::published);
        // A refused release leaves the certificate where it is.
        let published = match before {
            Some(PublishedReason::OnCrl) => (
                PublishedReason::OnCrl,
                "The certificate is still on the CRL".to_owned(),
            ),
            Some(
                PublishedReason::Waiting | PublishedReason::NotRevoked | PublishedReason::Ended,
            )
            | None => (
                PublishedReason::NotRevoked,
                "This revocation has no effect".to_owned(),
            ),
        };
        self.status((reason, why.to_owned()), published)
    }

    /// Says that the entry is stored. `at` is the time of the revocation, and `in_log` whether this replica's log has the
    /// certificate, if it was asked and could be read.
    pub(super) fn stored(
        self,
        claimed: &ClaimedCertificate,
        at: Timestamp,
        in_log: Option<bool>,
    ) -> RevocationStatus {
        let serial = claimed.serial;
        let message = match claimed.way {
            Way::Request | Way::Proof | Way::Certificate => {
                format!("The certificate with the serial number {serial} is revoked")
            }
            Way::Serial => {
                let known = match in_log {
                    Some(true) => "the issuance log has its certificate",
                    Some(false) => {
                        "the issuance log of this replica does not have it: another replica or an earlier log may, or the number is mistyped"
                    }
                    None => {
                        "nobody has checked that it was issued, because this replica has no file with its issuance log"
                    }
                };
                format!("The serial number {serial} is revoked; {known}")
            }
        };
        let mut status = self.status(
            (AcceptedReason::Revoked, message),
            (
                PublishedReason::Waiting,
                "The next CRL will have the certificate".to_owned(),
            ),
        );
        status.ca = Some(claimed.ca.to_string());
        status.serial_number = Some(serial.to_string());
        status.not_after = Some(Time(claimed.not_after));
        status.revoked_at = Some(Time(at));
        status.crl = None;
        status.renewal = None;
        status
    }

    /// Says that the hold has ended.
    pub(super) fn released(self) -> RevocationStatus {
        self.status(
            (
                AcceptedReason::Released,
                "The certificate is no longer on hold".to_owned(),
            ),
            (
                PublishedReason::NotRevoked,
                "The next CRL will not have the certificate; verifiers may use older ones until their nextUpdate".to_owned(),
            ),
        )
    }

    /// Says which CRL has the certificate first.
    pub(super) fn published(self, crl: FirstCrl) -> RevocationStatus {
        let FirstCrl {
            number,
            shard,
            this_update,
        } = crl;
        let message = format!("CRL number {number} of {this_update} has the certificate");
        let mut status = self.status(self.accepted(), (PublishedReason::OnCrl, message));
        status.crl = Some(RevocationCrl {
            number: i64::try_from(number).unwrap_or(i64::MAX),
            shard: i64::from(shard),
            this_update: Time(this_update),
        });
        status
    }

    /// Says that the register has no entry any more: the certificate has ended, or somebody has released it.
    pub(super) fn without_entry(self, has_ended: bool) -> RevocationStatus {
        let published = match has_ended {
            true => (
                PublishedReason::Ended,
                "The certificate has ended, and its entry has left the CRL".to_owned(),
            ),
            false => (
                PublishedReason::NotRevoked,
                "Another revocation has released the certificate".to_owned(),
            ),
        };
        self.status(self.accepted(), published)
    }

    /// Returns the present condition `Accepted`, to be written again.
    fn accepted(self) -> (AcceptedReason, String) {
        let known = self.revocation.status.as_ref();
        let reason = known.and_then(RevocationStatus::accepted);
        let message = known.and_then(|known| known.condition(ACCEPTED));
        (
            reason.unwrap_or(AcceptedReason::Revoked),
            message
                .map(|condition| condition.message.clone())
                .unwrap_or_default(),
        )
    }

    /// Returns the status as it was read, with these conditions.
    fn status(
        self,
        (accepted, why): (AcceptedReason, String),
        (published, where_): (PublishedReason, String),
    ) -> RevocationStatus {
        let known = self.revocation.status.clone().unwrap_or_default();
        let condition = |type_: &str, status: &str, reason: &str, message: &str| {
            let before = known
                .condition(type_)
                .filter(|before| before.status == status);
            Condition {
                type_: type_.to_owned(),
                status: status.to_owned(),
                reason: reason.to_owned(),
                message: shown(message),
                observed_generation: self.revocation.metadata.generation,
                last_transition_time: before
                    .map_or(Time(self.now), |before| before.last_transition_time.clone()),
            }
        };
        RevocationStatus {
            observed_generation: self.revocation.metadata.generation,
            conditions: vec![
                condition(ACCEPTED, accepted.status(), accepted.as_str(), &why),
                condition(PUBLISHED, published.status(), published.as_str(), &where_),
            ],
            ..known.clone()
        }
    }
}

#[cfg(test)]
mod tests;
