//! A plan as it is written.

use jiff::Timestamp;
use serde::Deserialize;

use super::Algorithm;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawPlan {
    pub(super) tool: String,
    pub(super) ceremony: String,
    pub(super) token: RawToken,
    pub(super) steps: Vec<RawStep>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawToken {
    pub(super) label: String,
    pub(super) serial: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RawStep {
    Keygen(RawKey),
    AuditKey(RawKey),
    Ca(RawCa),
    Root(RawRoot),
    Intermediate(RawIntermediate),
    Renew(RawRenewal),
    CrossSign(RawCross),
    Crl(RawCrl),
    Csr(RawRequest),
    ImportCertificate(RawImport),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    pub(super) name: String,
    pub(super) algorithm: Algorithm,
    pub(super) label: String,
    #[serde(default)]
    pub(super) attestation: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawRoot {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) subject: Vec<String>,
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) path_length: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawIntermediate {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) key: String,
    pub(super) subject: Vec<String>,
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) path_length: Option<u8>,
}

impl RawIntermediate {
    /// Returns the step of the CA above, and what a root has, too.
    pub(super) fn split(self) -> (String, RawRoot) {
        let root = RawRoot {
            name: self.name,
            key: self.key,
            subject: self.subject,
            serial: self.serial,
            not_before: self.not_before,
            not_after: self.not_after,
            path_length: self.path_length,
        };
        (self.issuer, root)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRequest {
    pub(super) name: String,
    pub(super) key: String,
    pub(super) subject: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawImport {
    pub(super) name: String,
    pub(super) certificate: String,
    pub(super) label: String,
}

/// A CA that exists: its key is on the token, and its certificate in a file beside the plan.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawCa {
    pub(super) name: String,
    pub(super) certificate: String,
    pub(super) sha256: String,
    pub(super) key_id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawRenewal {
    pub(super) name: String,
    pub(super) ca: String,
    pub(super) issuer: Option<String>,
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawCross {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) certificate: Option<String>,
    pub(super) request: Option<String>,
    pub(super) sha256: String,
    pub(super) serial: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
    pub(super) path_length: Option<u8>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RawCrl {
    pub(super) name: String,
    pub(super) issuer: String,
    pub(super) number: u64,
    pub(super) this_update: Timestamp,
    pub(super) next_update: Timestamp,
    #[serde(default)]
    pub(super) revoked: Vec<RawRevoked>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRevoked {
    pub(super) serial: String,
    pub(super) at: Timestamp,
    pub(super) reason: String,
    pub(super) invalidity: Option<Timestamp>,
}
