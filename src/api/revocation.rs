//! `CertificateRevocation`: asks for a certificate to be revoked.

#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has the same parts"
)]
#![expect(
    unreachable_pub,
    reason = "the derive of CEL rules repeats each type inside a function"
)]

mod reason;
mod status;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    reason::RevocationReason,
    status::{
        AcceptedReason, PublishedReason, RenewalStatus, RevocationCrl, RevocationStatus,
        condition_type,
    },
};
use super::{
    GROUP, IssuerName,
    issuer::{IssuerKind as _, PKCS11Issuer},
};
use crate::duration::GoDuration;

/// How long a renewal may take if the revocation does not say.
const RENEW_WITHIN: Duration = Duration::from_secs(3600);

/// Asks for one certificate to be put on the CRL of its CA.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "pkcs11-issuer.dev",
    version = "v1alpha1",
    kind = "CertificateRevocation",
    doc = "Asks for one certificate to be put on the CRL of its CA. Deleting the object un-revokes nothing.",
    namespaced,
    status = "RevocationStatus",
    shortname = "p11rev",
    category = "cert-manager",
    category = "pkcs11-issuer",
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason"
    ),
    printcolumn(
        name = "Published",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Published\")].status"
    ),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Serial", type_ = "string", json_path = ".status.serialNumber"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.issuerRef.name"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].message",
        priority = 1
    )
)]
#[serde(transparent)]
pub struct CertificateRevocationSpec(pub RevocationSpec);

/// Which certificate is to be revoked, how its holder is known, and why.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.certificateRequestRef) ? 1 : 0) + (has(self.certificate) ? 1 : 0) + (has(self.serialNumber) ? 1 : 0) == 1"
    ).message("give exactly one of certificateRequestRef, certificate and serialNumber"),
    validation = Rule::new("!has(self.proof) || has(self.certificate)").message("proof goes with certificate only"),
    validation = Rule::new(
        "!has(self.renew) || !self.renew || has(self.certificateRequestRef)"
    ).message("renew goes with certificateRequestRef only"),
    validation = Rule::new(
        "!has(self.renewWithin) || (has(self.renew) && self.renew)"
    ).message("renewWithin goes with renew only"),
    validation = Rule::new(
        "!has(self.release) || !self.release || self.reason == 'CertificateHold'"
    ).message("only a CertificateHold can be released"),
    validation = Rule::new(
        "!(has(oldSelf.release) && oldSelf.release) || (has(self.release) && self.release)"
    ).message("release is never taken back; create another revocation"),
    validation = Rule::new(
        "self.issuerRef == oldSelf.issuerRef && self.reason == oldSelf.reason \
         && has(self.certificateRequestRef) == has(oldSelf.certificateRequestRef) \
         && (!has(self.certificateRequestRef) || self.certificateRequestRef == oldSelf.certificateRequestRef) \
         && has(self.certificate) == has(oldSelf.certificate) \
         && (!has(self.certificate) || self.certificate == oldSelf.certificate) \
         && has(self.proof) == has(oldSelf.proof) && (!has(self.proof) || self.proof == oldSelf.proof) \
         && has(self.serialNumber) == has(oldSelf.serialNumber) \
         && (!has(self.serialNumber) || self.serialNumber == oldSelf.serialNumber) \
         && has(self.invalidityDate) == has(oldSelf.invalidityDate) \
         && (!has(self.invalidityDate) || self.invalidityDate == oldSelf.invalidityDate)"
    ).message("a revocation never changes, except renew, renewWithin and release; create another one")
)]
pub struct RevocationSpec {
    /// Issuer that issued the certificate.
    pub issuer_ref: RevocationIssuer,
    /// A CertificateRequest of this namespace whose certificate is revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_request_ref: Option<RequestRef>,
    /// The certificate in PEM. Only the first certificate of a chain is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 100_000))]
    pub certificate: Option<String>,
    /// Proof that the author holds the certificate's key, in base64, as `pkcs11-issuer revoke-proof` prints it. Not needed
    /// where any certificate may be revoked: in the controller's namespace, and in the namespace of a PKCS11Issuer whose grant
    /// says `revokeAny`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192), regex(pattern = "^[A-Za-z0-9+/]+={0,2}$"))]
    pub proof: Option<String>,
    /// The serial number in hexadecimal, without colons. Only where any certificate may be revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 42), regex(pattern = "^[0-9a-fA-F]+$"))]
    pub serial_number: Option<String>,
    /// Why the certificate is revoked, in the words of RFC 5280, section 5.3.1. Only CertificateHold can be taken back, by
    /// `release`.
    pub reason: RevocationReason,
    /// Since when the key is known or suspected to be compromised, or the certificate invalid (RFC 5280, section 5.3.2).
    /// Not in the future.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 40))]
    pub invalidity_date: Option<Time>,
    /// Whether to renew the Certificate that owns the CertificateRequest first. The old certificate is revoked when the new
    /// one is in place, or after `renewWithin`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
    /// How long the renewal may take, from the creation of this object on, with the units h, m and s. After that the
    /// certificate is revoked in any case. Default: 1h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"),
        length(min = 2, max = 20)
    )]
    pub renew_within: Option<String>,
    /// Ends a CertificateHold: the certificate is valid again. Set it on the object that put the certificate on hold.
    /// Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub release: bool,
}

/// The issuer of a certificate.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[x_kube(
    validation = Rule::new(
        "!has(self.__namespace__) || self.kind == 'PKCS11Issuer'"
    ).message("a PKCS11ClusterIssuer has no namespace")
)]
pub struct RevocationIssuer {
    /// API group of the issuer. Default: pkcs11-issuer.dev, the only one that is allowed.
    #[serde(default = "default_group")]
    #[schemars(length(max = 63), regex(pattern = r"^pkcs11-issuer\.dev$"))]
    pub group: String,
    /// Kind of the issuer.
    pub kind: RevocationIssuerKind,
    /// Namespace of a PKCS11Issuer. Default: the namespace of the revocation. Only revocations in the controller's namespace
    /// may name another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// Name of the issuer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn default_group() -> String {
    GROUP.to_owned()
}

/// Kind of an issuer.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum RevocationIssuerKind {
    /// An issuer of a namespace.
    PKCS11Issuer,
    /// An issuer of the cluster.
    PKCS11ClusterIssuer,
}

/// A CertificateRequest of the same namespace.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub struct RequestRef {
    /// Name of the CertificateRequest.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

impl RevocationIssuer {
    /// Returns the name of the issuer for a revocation in this namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> IssuerName {
        IssuerName {
            namespace: match self.kind {
                RevocationIssuerKind::PKCS11Issuer => {
                    let named = self.namespace.as_deref();
                    Some(named.unwrap_or(namespace).to_owned())
                }
                RevocationIssuerKind::PKCS11ClusterIssuer => None,
            },
            name: self.name.clone(),
        }
    }

    /// Returns the reference to this issuer.
    #[must_use]
    pub fn to(issuer: &IssuerName) -> Self {
        Self {
            group: default_group(),
            kind: match issuer.kind() {
                PKCS11Issuer::KIND => RevocationIssuerKind::PKCS11Issuer,
                _ => RevocationIssuerKind::PKCS11ClusterIssuer,
            },
            namespace: issuer.namespace.clone(),
            name: issuer.name.clone(),
        }
    }
}

impl RevocationSpec {
    /// Returns `renewWithin`, or its default if it is unset or malformed. The API server checks its form.
    #[must_use]
    pub fn renew_within(&self) -> Duration {
        let text = self.renew_within.as_deref();
        let parsed = text.and_then(|text| text.parse::<GoDuration>().ok());
        parsed
            .and_then(GoDuration::unsigned)
            .unwrap_or(RENEW_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_issuer_is_of_the_revocations_namespace_unless_it_says_another() {
        let of = |reference: serde_json::Value| {
            let issuer: RevocationIssuer = serde_json::from_value(reference).unwrap();
            let name = issuer.of("shop");
            assert_eq!(RevocationIssuer::to(&name).of("elsewhere"), name);
            name.to_string()
        };
        for (reference, expected) in [
            (
                json!({"kind": "PKCS11Issuer", "name": "a"}),
                "PKCS11Issuer shop/a",
            ),
            (
                json!({"kind": "PKCS11Issuer", "namespace": "pay", "name": "a"}),
                "PKCS11Issuer pay/a",
            ),
            (
                json!({"kind": "PKCS11ClusterIssuer", "name": "a"}),
                "PKCS11ClusterIssuer a",
            ),
        ] {
            assert_eq!(of(reference), expected);
        }
    }

    #[test]
    fn a_renewal_takes_an_hour_unless_the_revocation_says_otherwise() {
        let within = |text: Option<&str>| {
            let spec = json!({
                "issuerRef": {"kind": "PKCS11Issuer", "name": "a"}, "reason": "Superseded",
                "certificateRequestRef": {"name": "web-1"}, "renew": true, "renewWithin": text,
            });
            let spec: RevocationSpec = serde_json::from_value(spec).unwrap();
            spec.renew_within().as_secs()
        };
        assert_eq!(within(None), 3600);
        assert_eq!(within(Some("5m")), 300);
        assert_eq!(within(Some("0s")), 0);
    }
}
