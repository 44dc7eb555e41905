//! The kinds as they are stored: ours, and what we read of cert-manager's.

pub mod certificate_request;
pub mod issuer;
pub mod profile;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use issuer::{PKCS11ClusterIssuer, PKCS11Issuer};

/// The API group of our kinds.
pub const GROUP: &str = "pkcs11-issuer.dev";

/// The custom resource definitions of our kinds, as the API server stores them.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![PKCS11Issuer::crd(), PKCS11ClusterIssuer::crd()]
}
