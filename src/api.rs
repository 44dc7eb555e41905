//! Kubernetes kinds as they are stored: the issuers of this project, and the parts of cert-manager's kinds that it reads.

pub mod bounds;
pub mod certificate;
pub mod certificate_request;
pub mod issuer;
mod issuer_name;
pub mod pending;
pub mod profile;
pub mod revocation;
mod selector;
pub mod tolerant;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;

pub use self::issuer_name::IssuerName;
use issuer::{PKCS11ClusterIssuer, PKCS11Issuer};
use revocation::CertificateRevocation;

/// API group of this project's kinds.
pub const GROUP: &str = "pkcs11-issuer.dev";

/// Name of the controller in `metadata.managedFields` of every object that it writes.
pub const FIELD_MANAGER: &str = "pkcs11-issuer";

/// Returns the custom resource definitions of this project's kinds, as the API server stores them.
#[must_use]
pub fn crds() -> Vec<CustomResourceDefinition> {
    let mut crds = vec![
        PKCS11Issuer::crd(),
        PKCS11ClusterIssuer::crd(),
        CertificateRevocation::crd(),
    ];
    for version in crds.iter_mut().flat_map(|crd| &mut crd.spec.versions) {
        let schema = version.schema.as_mut();
        if let Some(schema) = schema.and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            drop_formats_of_rust(schema);
            default_status(schema);
        }
    }
    crds
}

/// Sets the default of `status.observedGeneration` to -1, which is never the generation of an object. Without the
/// field, tools that wait for objects (kstatus in Flux and Helm) would take an object for finished before its first look.
fn default_status(schema: &mut JSONSchemaProps) {
    let properties = schema.properties.as_mut();
    if let Some(status) = properties.and_then(|all| all.get_mut("status")) {
        status.default = Some(JSON(serde_json::json!({"observedGeneration": -1})));
    }
}

/// Formats that the derive writes and the API server does not know. It would warn about each when the CRDs are applied.
/// The ranges in the schema already express them.
const FORMATS_OF_RUST: [&str; 8] = [
    "uint", "uint8", "uint16", "uint32", "uint64", "int", "int8", "int16",
];

fn drop_formats_of_rust(schema: &mut JSONSchemaProps) {
    if schema
        .format
        .as_deref()
        .is_some_and(|format| FORMATS_OF_RUST.contains(&format))
    {
        schema.format = None;
    }
    for property in schema
        .properties
        .iter_mut()
        .flat_map(|all| all.values_mut())
    {
        drop_formats_of_rust(property);
    }
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(item)) => drop_formats_of_rust(item),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => {
            items.iter_mut().for_each(drop_formats_of_rust);
        }
        None => {}
    }
}
