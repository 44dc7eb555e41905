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
    /// `CAExpiringSoon` is a warning: True when the issuing certificate, or one above it, must be renewed.
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
}

impl IssuerStatus {
    /// Returns the condition with this type.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_)
    }
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
