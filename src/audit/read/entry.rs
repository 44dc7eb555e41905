//! The content of a line, as a reader of the log needs it.
//!
//! Every field is optional: the events have different fields, and a log may be of an earlier or a later version.

use jiff::Timestamp;
use serde::Deserialize;

/// A line of the log. docs/reference/audit.md explains the fields.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LogEntry {
    /// When the line was written.
    pub time: Option<Timestamp>,
    /// Name of the run.
    pub run: String,
    /// Number of the line in its run; checkpoints have none.
    pub seq: Option<u64>,
    /// What happened.
    pub event: String,
    /// Version of the program; only the first line of a run has it.
    pub version: Option<String>,
    /// The commit that the program was built from; only the first line of a run has it.
    pub commit: Option<String>,
    /// The request that it happened to.
    pub request: Option<EntryRequest>,
    /// Author of the request.
    pub requester: Option<EntryRequester>,
    /// Who or what approved the request.
    pub approval: Option<EntryApproval>,
    /// The issuer that the request names.
    pub issuer: Option<EntryIssuer>,
    /// SHA-256 of the CSR, hexadecimal.
    pub csr_sha256: Option<String>,
    /// The token with the key.
    pub token: Option<EntryToken>,
    /// CKA_ID of the key, hexadecimal.
    pub key_id: Option<String>,
    /// SHA-256 of the issuing certificate, hexadecimal.
    pub issuer_certificate_sha256: Option<String>,
    /// Serial number, hexadecimal.
    pub serial: Option<String>,
    /// Subject (RFC 4514).
    pub subject: Option<String>,
    /// Alternative names, each with its type before it: `DNS:a`.
    pub names: Vec<String>,
    /// Usages by their names.
    pub usages: Vec<String>,
    /// Start of the validity.
    pub not_before: Option<Timestamp>,
    /// End of the validity.
    pub not_after: Option<Timestamp>,
    /// SHA-256 of the TBSCertificate, hexadecimal.
    pub tbs_sha256: Option<String>,
    /// The certificate, base64 of its DER.
    pub certificate: Option<String>,
    /// The revocation that it happened to.
    pub revocation: Option<EntryRevocation>,
    /// The CRL.
    pub crl: Option<EntryCrl>,
    /// Why a certificate was discarded or revoked, or a request or revocation refused.
    pub reason: Option<String>,
    /// How a login ended.
    pub outcome: Option<String>,
    /// What has changed about the CA of an issuer.
    pub change: Option<String>,
    /// OIDs of extensions that the CSR asks for and the certificate does not have.
    pub extensions: Vec<String>,
    /// Of *continuation*: the line that it belongs to.
    pub(in crate::audit) of: Option<u64>,
    pub(in crate::audit) field: Option<String>,
    pub(in crate::audit) part: Option<u64>,
    pub(in crate::audit) parts: Option<u64>,
    pub(in crate::audit) text: Option<String>,
    /// Fields that are in none of the files, although the line says that they follow.
    #[serde(skip)]
    pub absent: Vec<String>,
}

/// A request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EntryRequest {
    /// Its kind.
    pub kind: String,
    /// Its namespace, if the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// Name of the Certificate that owns it.
    pub certificate: Option<String>,
}

/// The author of a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EntryRequester {
    /// Name of the user.
    pub username: String,
    /// UID of the user.
    pub uid: Option<String>,
    /// Groups of the user.
    pub groups: Vec<String>,
}

/// The approval of a request.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EntryApproval {
    /// The reason of the condition Approved.
    pub reason: Option<String>,
    /// Its message.
    pub message: Option<String>,
}

/// An issuer.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EntryIssuer {
    /// Its kind.
    pub kind: String,
    /// Its namespace, if the kind has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: Option<String>,
    /// Its generation.
    pub generation: Option<i64>,
    /// SHA-256 of the effective profile, hexadecimal.
    pub profile_sha256: Option<String>,
    /// SHA-256 of the effective grant, hexadecimal.
    pub grant_sha256: Option<String>,
}

/// A revocation.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EntryRevocation {
    /// Its namespace.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// How it is known that its author may revoke the certificate.
    pub by: Option<String>,
}

/// A CRL.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct EntryCrl {
    /// Its number.
    pub number: u64,
    /// Its shard.
    pub shard: u16,
}

/// A token.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(from = "WrittenToken")]
pub struct EntryToken {
    /// Its name in the configuration.
    pub name: String,
    /// Its label.
    pub label: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
}

/// The forms in which logs name a token.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenToken {
    Name(String),
    Token {
        name: String,
        label: Option<String>,
        serial: Option<String>,
    },
}

impl From<WrittenToken> for EntryToken {
    fn from(written: WrittenToken) -> Self {
        match written {
            WrittenToken::Name(name) => Self {
                name,
                ..Self::default()
            },
            WrittenToken::Token {
                name,
                label,
                serial,
            } => Self {
                name,
                label,
                serial,
            },
        }
    }
}

impl EntryRequest {
    /// Returns the name, after the namespace if there is one.
    #[must_use]
    pub fn path(&self) -> String {
        path(self.namespace.as_deref(), &self.name)
    }
}

impl EntryRevocation {
    /// Returns the name, after the namespace.
    #[must_use]
    pub fn path(&self) -> String {
        path(self.namespace.as_deref(), &self.name)
    }
}

impl EntryIssuer {
    /// Returns the name, after the namespace if there is one.
    #[must_use]
    pub fn path(&self) -> String {
        path(self.namespace.as_deref(), &self.name)
    }
}

fn path(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}
