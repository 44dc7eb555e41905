//! The lines of the log about revocations.

use jiff::Timestamp;
use serde::Serialize;

use super::{IssuanceLog, LogPosition, LoggedIssuer, LoggedRequest, backlog::Need, fields::Fields};

/// A revocation of a certificate: who asked for it, and what is known about the certificate.
///
/// The API server does not say who created a custom object. Its own audit log does; the UID is the same.
#[derive(Clone, Copy, Debug)]
pub struct LoggedRevocation<'a> {
    /// The object.
    pub object: RevocationObject<'a>,
    /// The issuer that it names.
    pub issuer: LoggedIssuer<'a>,
    /// The request whose certificate it revokes, if it names one.
    pub request: Option<LoggedRequest<'a>>,
    /// Content octets of the serial number, hexadecimal, if it is known.
    pub serial: Option<&'a str>,
    /// The end of the certificate, if it is known.
    pub not_after: Option<Timestamp>,
}

/// An object of kind CertificateRevocation.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RevocationObject<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its UID.
    pub uid: &'a str,
    /// How it is known that its author may revoke the certificate: `request`, `proof`, `certificate` or `serial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<&'a str>,
    /// The CA of the certificate, as it is named in the URL of its CRLs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<&'a str>,
    /// Since when the certificate is said to be invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invalidity_date: Option<Timestamp>,
}

/// The CRL that shows a change first.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ShowingCrl {
    /// The number of the shard.
    pub shard: u16,
    /// The CRL number.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
}

impl IssuanceLog {
    /// Logs that a certificate is revoked, for this reason in the words of RFC 5280.
    pub fn revoked(&self, revocation: &LoggedRevocation<'_>, reason: &str) -> LogPosition {
        self.revocation("revoked", revocation, reason)
    }

    /// Logs that a certificate is no longer on hold.
    pub fn released(&self, revocation: &LoggedRevocation<'_>) -> LogPosition {
        self.append(Need::IfRoom, "released", &[&fields(revocation)])
    }

    /// Logs that a revocation is refused for good, for the reason of its condition.
    pub fn revocation_refused(
        &self,
        revocation: &LoggedRevocation<'_>,
        reason: &str,
    ) -> LogPosition {
        self.revocation("revocation-refused", revocation, reason)
    }

    /// Logs which CRL has a revoked certificate first.
    pub fn revocation_published(&self, revocation: &LoggedRevocation<'_>, crl: &ShowingCrl) {
        let crl = Fields::default().with("crl", crl);
        self.append(
            Need::IfRoom,
            "revocation-published",
            &[&fields(revocation), &crl],
        );
    }

    fn revocation(
        &self,
        event: &str,
        revocation: &LoggedRevocation<'_>,
        reason: &str,
    ) -> LogPosition {
        let reason = Fields::default().with("reason", reason);
        self.append(Need::IfRoom, event, &[&fields(revocation), &reason])
    }
}

fn fields(revocation: &LoggedRevocation<'_>) -> Fields {
    let LoggedRevocation {
        object,
        issuer,
        request,
        serial,
        not_after,
    } = revocation;
    Fields::default()
        .with("revocation", object)
        .with_some("request", *request)
        .with("issuer", issuer)
        .with_some("serial", *serial)
        .with_some("notAfter", *not_after)
}
