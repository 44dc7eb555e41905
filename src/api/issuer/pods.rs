//! `spec.podCertificates`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::issuance::pod::{PodIdentity, PodIdentityError};

/// The certificates of pods that mount this issuer's signer name as a projected volume. In every text `{{namespace}}`,
/// `{{serviceAccount}}` and `{{pod}}` stand for those of the pod.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodCertificatesSpec {
    /// The URIs of a certificate, such as `spiffe://example.org/ns/{{namespace}}/sa/{{serviceAccount}}`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 1024)))]
    pub uris: Vec<String>,
    /// Its DNS names, such as `{{pod}}.{{namespace}}.pod.example`. Default: none; one name of either type there must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 253)))]
    pub dns_names: Vec<String>,
    /// Its usages by cert-manager's words. Default: digital signature, client auth and server auth.
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
    /// The names that it gives.
    ///
    /// # Errors
    ///
    /// It can name no pod.
    pub fn identity(&self) -> Result<PodIdentity, PodIdentityError> {
        PodIdentity::parse(&self.uris, &self.dns_names)
    }
}
