//! The lines of the log about certificate revocation lists.

use jiff::Timestamp;
use serde::Serialize;

use super::{IssuanceLog, LogError, LogPosition, LoggedToken, fields::Fields};

/// A CRL that was signed or is about to be signed.
#[derive(Clone, Copy, Debug)]
pub struct LoggedCrl<'a> {
    /// What it says.
    pub crl: CrlFacts<'a>,
    /// The token that signs.
    pub token: LoggedToken<'a>,
    /// CKA_ID of the key.
    pub key_id: &'a [u8],
    /// SHA-256 of the DER of the issuing certificate, hexadecimal.
    pub issuer_certificate_sha256: &'a str,
    /// SHA-256 of the DER of the TBSCertList, hexadecimal.
    pub tbs_sha256: &'a str,
}

/// What a CRL says.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CrlFacts<'a> {
    /// The CA, as it is named in the URL of its CRLs.
    pub ca: &'a str,
    /// The number of the shard.
    pub shard: u16,
    /// The CRL number.
    pub number: u64,
    /// thisUpdate.
    pub this_update: Timestamp,
    /// nextUpdate.
    pub next_update: Timestamp,
    /// Number of entries.
    pub entries: usize,
}

impl IssuanceLog {
    /// Logs that a TBSCertList is about to go to the token. The token must not be asked for a signature before
    /// [`accepted`](Self::accepted).
    ///
    /// # Errors
    /// As [`check`](Self::check); the line is not in the log.
    pub fn crl_signing(&self, crl: &LoggedCrl<'_>) -> Result<LogPosition, LogError> {
        self.check()?;
        Ok(self.append(self.essential(), "crl-signing", &[&fields(crl)]))
    }

    /// Logs that the token signed, that the signature verifies, and the SHA-256 of the CRL, hexadecimal. The CRL must not be
    /// served before [`accepted`](Self::accepted).
    pub fn crl_signed(&self, crl: &LoggedCrl<'_>, sha256: &str) -> LogPosition {
        let hash = Fields::default().with_plain("crlSha256", sha256);
        self.append(self.essential(), "crl-signed", &[&fields(crl), &hash])
    }

    /// Logs that a CRL with a *crl-signing* line will never be served, for the reason that the slug names.
    pub fn crl_discarded(&self, crl: &LoggedCrl<'_>, reason: &str) {
        let reason = Fields::default().with("reason", reason);
        self.append(self.essential(), "crl-discarded", &[&fields(crl), &reason]);
    }
}

fn fields(logged: &LoggedCrl<'_>) -> Fields {
    let LoggedCrl {
        crl,
        token,
        key_id,
        issuer_certificate_sha256,
        tbs_sha256,
    } = logged;
    Fields::default()
        .with("crl", crl)
        .with("token", token)
        .with_plain("keyId", &hex::encode(key_id))
        .with_plain("issuerCertificateSha256", issuer_certificate_sha256)
        .with_plain("tbsSha256", tbs_sha256)
}
