//! Where an issuer's certificates and PIN come from.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One key of a Secret or ConfigMap.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub struct KeyRef {
    /// Name of the object.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in its data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Source of the issuing certificate: exactly one of `secretRef`, `configMapRef` and `pem`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.secretRef) ? 1 : 0) + (has(self.configMapRef) ? 1 : 0) + (has(self.pem) ? 1 : 0) == 1"
    ).message("give exactly one of secretRef, configMapRef and pem"),
    validation = Rule::new("!has(self.rootPem) || has(self.pem)").message("rootPem goes with pem only")
)]
pub struct CertificateSource {
    /// A Secret with the chain in PEM, issuing certificate first, at most 16 certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<ChainRef>,
    /// A ConfigMap with the chain in PEM, issuing certificate first, at most 16 certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<ChainRef>,
    /// The chain in PEM, issuing certificate first, at most 16 certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100000))]
    pub pem: Option<String>,
    /// The root in PEM, if `pem` does not end with it. Other certificates may be beside it, as in a public bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 330000))]
    pub root_pem: Option<String>,
}

/// The keys of a Secret or ConfigMap that hold a chain and its root.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainRef {
    /// Name of the object. It is in the issuer's own namespace, for a cluster issuer in the cluster resource namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key of the chain. Default: `tls.crt`.
    #[serde(default = "default_chain_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Key of the root; it may be absent in the object. Default: `ca.crt`.
    #[serde(default = "default_root_key")]
    #[schemars(length(min = 1, max = 253))]
    pub root_key: String,
}

fn default_chain_key() -> String {
    "tls.crt".to_owned()
}

fn default_root_key() -> String {
    "ca.crt".to_owned()
}
