//! `spec.podCertificates`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::issuance::pod::{PodIdentity, PodIdentityError};

/// Certificates of pods that mount this issuer's signer name as a projected volume. In every text, `{{namespace}}`,
/// `{{serviceAccount}}` and `{{pod}}` stand for the pod's namespace, service account and name.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodCertificatesSpec {
    /// URIs of a certificate, such as `spiffe://example.org/ns/{{namespace}}/sa/{{serviceAccount}}`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 1024)))]
    pub uris: Vec<String>,
    /// DNS names of a certificate, such as `{{pod}}.{{namespace}}.pod.example`. Default: none. At least one URI or DNS name
    /// is required.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    pub dns_names: Vec<String>,
    /// Usages of a certificate, by their cert-manager names. Default: digital signature, client auth and server auth.
    #[serde(default = "default_usages")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 50)))]
    pub usages: Vec<String>,
}

fn default_usages() -> Vec<String> {
    ["digital signature", "client auth", "server auth"]
        .map(str::to_owned)
        .to_vec()
}

impl PodCertificatesSpec {
    /// Returns the names that pods get.
    ///
    /// # Errors
    ///
    /// A name is malformed, or there is none.
    pub fn identity(&self) -> Result<PodIdentity, PodIdentityError> {
        PodIdentity::parse(&self.uris, &self.dns_names)
    }
}
