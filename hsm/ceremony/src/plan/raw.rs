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
    Root(RawRoot),
    Intermediate(RawIntermediate),
    Csr(RawRequest),
    ImportCertificate(RawImport),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    pub(super) name: String,
    pub(super) algorithm: Algorithm,
    pub(super) label: String,
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
