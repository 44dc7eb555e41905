//! The successor of an issuer's key and certificate, and the pace at which Certificates follow.

#![expect(
    unreachable_pub,
    reason = "the derive of CEL rules repeats each type inside a function"
)]

use std::num::NonZeroU16;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CertificateSource, KeySpec};

/// Successor of an issuer's key and certificate. It is on the same token and within the same grants.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NextSpec {
    /// Private key on the token that will sign. Default: the key that matches the issuing certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeySpec>,
    /// Its issuing certificate and chain.
    pub certificate: CertificateSource,
    /// When it begins to sign. Default: never; both are trusted until the switch is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub switch: Option<SwitchSpec>,
}

/// Time of the switch to the next key. The switch never comes before the next key is proved and its root is published beside
/// the present one.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.at) != (has(self.now) && self.now)")
        .message("give either at or now: true")
)]
pub struct SwitchSpec {
    /// The earliest time of the switch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxLength" = 40))]
    pub at: Option<Time>,
    /// Switch as soon as possible.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub now: bool,
}

/// Pace at which Certificates are renewed.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReissueSpec {
    /// Certificates per second at most.
    #[schemars(range(min = 1, max = 100))]
    pub per_second: NonZeroU16,
}
