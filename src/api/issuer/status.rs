//! Status of an issuer.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Status that the controller reports for an issuer.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IssuerStatus {
    /// `metadata.generation` of the specification that this status is about; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready` is True only after a signature made by the token has verified under the issuing certificate.
    /// `CAExpiringSoon` is a warning: True when the issuing certificate, or one above it, must be renewed. `RollingOver` is
    /// True while the issuer is on its way to `spec.next`.
    /// `CRLPublished` is True while every CRL of the CA is published and renewed in time, and `CRLBundleComplete` while the
    /// bundle of CRLs has the one of every CA of the chain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// Namespace of the installation of the controller that answers this issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installation: Option<String>,
    /// The token as it names itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<TokenStatus>,
    /// The private key as the token describes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyStatus>,
    /// The issuing certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// When a signature of the key, for a probe or a certificate, last verified. The value is as old as the last write of
    /// this status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_signature: Option<Time>,
    /// The CRLs of the CA, if the issuer has `spec.crl`. While certificates are revoked all the time, this is up to an hour old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<CrlStatus>,
    /// What somebody has to do next, or what the controller will do, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_due: Option<DueStatus>,
    /// How long certificates under the present key may live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetimes: Option<LifetimesStatus>,
    /// The rollover to `spec.next`. All replicas follow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollover: Option<RolloverStatus>,
    /// CAs that no longer sign and are still trusted, because certificates under them may be valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub retiring: Vec<RetiringStatus>,
    /// Progress of `spec.reissue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reissue: Option<ReissueStatus>,
}

impl IssuerStatus {
    /// Returns the condition with this type.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }

    /// Returns how far the rollover is and to which CA, so that replicas notice each step.
    #[must_use]
    pub fn rollover_step(&self) -> Option<(RolloverState, &str)> {
        let rollover = self.rollover.as_ref()?;
        Some((rollover.state, &rollover.ca))
    }
}

/// The next date in the life of a CA.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DueStatus {
    /// What is due.
    pub what: DueWhat,
    /// When it is due. It is overdue if this is in the past.
    pub at: Time,
}

/// What is due in the life of a CA.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum DueWhat {
    /// People must have the issuing certificate, or one above it, renewed.
    RenewCertificate,
    /// The controller switches to the next key.
    Switch,
    /// The controller stops publishing the former CA, and people can move `spec.next` into `spec.certificate`.
    EndOfRollover,
}

/// The CRLs of a CA as they are served. With several shards, each time is that of the CRL with the earliest one.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CrlStatus {
    /// The CA: the first 32 hexadecimal digits of the SHA-256 of its subject and its public key.
    pub ca: String,
    /// When the CRL was made.
    pub this_update: Time,
    /// When the controller makes the next one, unless a revocation comes first.
    pub next_due: Time,
    /// When verifiers stop accepting the CRL.
    pub next_update: Time,
    /// Number of revoked certificates in all shards.
    pub entries: u32,
}

/// How long certificates under the present key may live.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LifetimesStatus {
    /// The CA that this is about.
    pub ca: String,
    /// The longest duration that profile and grant allow, in seconds.
    pub longest_seconds: i64,
    /// The latest end of a certificate that was issued before profile or grant became shorter. It is omitted once no
    /// certificate ends later than what they allow now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier_until: Option<Time>,
}

/// State of a rollover.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum RolloverState {
    /// The next key is not proved, or its root is not published everywhere. The present key signs.
    #[default]
    Proving,
    /// The next key is proved, and the roots of both are published. The present key signs.
    Trusted,
    /// The next key signs, and the roots of both are published.
    Switched,
    /// The next key signs, and no certificate under the former one is valid any more.
    Complete,
}

/// A rollover to another key.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RolloverStatus {
    /// How far the rollover is.
    pub state: RolloverState,
    /// The CA of `spec.next`: the first 32 hexadecimal digits of the SHA-256 of its subject and its public key. Empty until
    /// its certificate can be read.
    pub ca: String,
    /// The CA of `spec.certificate`, which `spec.next` replaces. Empty before the switch.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    /// The issuing certificate of `spec.next`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<CertificateStatus>,
    /// Its key as the token describes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyStatus>,
    /// Since when the roots of both are published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trusted_since: Option<Time>,
    /// When every certificate that came with the former root alone has ended, unless it is renewed before. From then on, no
    /// holder of a certificate lacks the next root.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_trust_from: Option<Time>,
    /// When the next key began to sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switched_at: Option<Time>,
    /// When the former root is published no more: after the switch and the longest duration that was granted before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complete_at: Option<Time>,
}

/// A CA that no longer signs and is still trusted.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RetiringStatus {
    /// The CA.
    pub ca: String,
    /// Subject of its issuing certificate in the notation of RFC 4514.
    pub subject: String,
    /// When no certificate under it is valid any more, and it is published no more.
    pub until: Time,
    /// The certificates that are published for it, in PEM.
    pub pem: String,
}

/// State of a re-issue.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum ReissueState {
    /// Certificates are renewed.
    #[default]
    Running,
    /// Nothing is renewed at present, because the API server, cert-manager or the token is slow.
    Slowed,
    /// No Certificate is left that could be renewed.
    Done,
    /// The operator does not allow it (`--reissue`).
    NotAllowed,
}

/// Progress of a re-issue.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReissueStatus {
    /// How far it is.
    pub state: ReissueState,
    /// Certificates of this issuer.
    pub total: u32,
    /// Certificates that are still to be renewed.
    pub left: u32,
    /// Certificates whose renewal is in progress.
    pub in_progress: u32,
    /// Certificates that are to be renewed and would be refused by the present profile, or whose last renewal failed.
    pub stuck: u32,
    /// Why nothing is renewed at present.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A token as `C_GetTokenInfo` describes it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct TokenStatus {
    /// Label given at initialisation.
    pub label: String,
    /// Serial number.
    pub serial: String,
    /// Manufacturer.
    pub manufacturer: String,
    /// Model.
    pub model: String,
    /// Firmware version, major.minor.
    pub firmware_version: String,
}

/// A private key as its attributes describe it. Attributes that the token does not report are omitted.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KeyStatus {
    /// Key algorithm and size, for example `RSA-3072` or `P-256`.
    pub algorithm: String,
    /// `CKA_LABEL`.
    pub label: String,
    /// `CKA_ID` in hexadecimal.
    pub id_hex: String,
    /// `CKA_SENSITIVE`: the key cannot be revealed in plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitive: Option<bool>,
    /// `CKA_EXTRACTABLE`: the key can leave the token wrapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extractable: Option<bool>,
    /// `CKA_NEVER_EXTRACTABLE`: the key has never been extractable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub never_extractable: Option<bool>,
    /// `CKA_LOCAL`: the key was generated on the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local: Option<bool>,
}

/// An issuing certificate.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CertificateStatus {
    /// The CA: the first 32 hexadecimal digits of the SHA-256 of its subject and its public key. A renewed certificate for the
    /// same key has the same CA.
    pub ca: String,
    /// Subject in the notation of RFC 4514.
    pub subject: String,
    /// Serial number in hexadecimal.
    pub serial_number: String,
    /// SHA-256 of the DER in hexadecimal.
    pub sha256: String,
    /// Start of validity.
    pub not_before: Option<Time>,
    /// End of validity.
    pub not_after: Option<Time>,
    /// Earliest end of the certificates above it, the root included, if that is before its own end. No issued certificate is
    /// valid after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_not_after: Option<Time>,
    /// Subject key identifier in hexadecimal.
    pub subject_key_id: String,
}
