//! `PKCS11Issuer` and `PKCS11ClusterIssuer`: one specification, two scopes.

#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has the same parts"
)]
#![expect(
    unreachable_pub,
    reason = "the derive of CEL rules repeats each type inside a function"
)]

mod algorithm;
mod crl;
mod next;
mod pods;
mod reason;
mod source;
mod status;

use std::num::{NonZeroU16, NonZeroU32};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema, Resource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{profile::ProfileSpec, selector};
use crate::{duration::GoDuration, issuance};

pub use self::{
    algorithm::SignatureAlgorithm,
    crl::{CrlRef, CrlRefKind, CrlSpec, OnDelete},
    next::{NextSpec, ReissueSpec, SwitchSpec},
    pods::PodCertificatesSpec,
    reason::Reason,
    source::{CertificateSource, ChainRef, KeyRef},
    status::{
        CertificateStatus, CrlStatus, DueStatus, DueWhat, IssuerStatus, KeyStatus, LifetimesStatus,
        ReissueState, ReissueStatus, RetiringStatus, RolloverState, RolloverStatus, TokenStatus,
    },
};

/// Signs the requests of its own namespace with a key on a PKCS#11 token.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "pkcs11-issuer.dev",
    version = "v1alpha1",
    kind = "PKCS11Issuer",
    doc = "Signs the certificate requests of its own namespace with a key on a PKCS#11 token.",
    namespaced,
    status = "IssuerStatus",
    shortname = "p11i",
    category = "cert-manager",
    category = "pkcs11-issuer",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Token", type_ = "string", json_path = ".spec.token"),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key.algorithm"),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.certificate.notAfter"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(transparent)]
pub struct PKCS11IssuerSpec(pub IssuerSpec);

/// Signs the requests of every namespace with a key on a PKCS#11 token.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "pkcs11-issuer.dev",
    version = "v1alpha1",
    kind = "PKCS11ClusterIssuer",
    doc = "Signs the certificate requests of every namespace with a key on a PKCS#11 token.",
    status = "IssuerStatus",
    shortname = "p11ci",
    category = "cert-manager",
    category = "pkcs11-issuer",
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason"
    ),
    printcolumn(name = "Token", type_ = "string", json_path = ".spec.token"),
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key.algorithm"),
    printcolumn(
        name = "Expires",
        type_ = "string",
        json_path = ".status.certificate.notAfter"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].message",
        priority = 1
    )
)]
#[serde(transparent)]
pub struct PKCS11ClusterIssuerSpec(pub IssuerSpec);

/// Specification of an issuer.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "(has(self.class) ? self.class : '') == (has(oldSelf.class) ? oldSelf.class : '')"
    ).message("class never changes; create another issuer"),
    validation = Rule::new(
        "!(has(self.crl) && has(self.profile) && has(self.profile.extensions) && has(self.profile.extensions.noRevAvail) && self.profile.extensions.noRevAvail)"
    ).message("crl cannot be combined with profile.extensions.noRevAvail: either there is revocation or there is none")
)]
pub struct IssuerSpec {
    /// Class of the controller that answers this issuer: the value of the controller's flag `--class`. Controllers of other
    /// classes ignore the issuer and its requests. The class cannot change. Default: the controllers without a class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(
        length(max = 63),
        regex(pattern = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$")
    )]
    pub class: String,
    /// Name of a token in the operator's configuration, never a path or a slot.
    #[schemars(length(min = 1, max = 253))]
    pub token: String,
    /// Private key on the token that signs. Default: the key that matches the issuing certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeySpec>,
    /// Secret that holds the user PIN, allowed only if the operator's configuration sets `pinFrom` for the token. The Secret
    /// is in the issuer's own namespace, for a cluster issuer in the cluster resource namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin_secret_ref: Option<KeyRef>,
    /// The issuing certificate and its chain.
    pub certificate: CertificateSource,
    /// Key and issuing certificate that will replace the present ones (a rollover): both are trusted first, then `next`
    /// signs from the time of `switch`. Removing `next` before the switch goes back. After it, `next` moves into `key` and
    /// `certificate`. Default: no rollover.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextSpec>,
    /// Renews cert-manager's Certificates of this issuer that are under an older key, or that the profile no longer allows:
    /// the oldest first, at this pace. Needs the operator's permission (`--reissue`). Default: cert-manager renews each
    /// Certificate when it is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reissue: Option<ReissueSpec>,
    /// Content of `status.ca` of a request, and so of `ca.crt` in the Secret. Default: Root.
    #[serde(default)]
    pub ca: CaField,
    /// Whether `status.certificate` of a Kubernetes CSR ends with the root, as Istio's RA expects it, because such requests
    /// have no `ca`. Default: false.
    #[serde(
        default,
        rename = "appendRootToKubernetesCSR",
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub append_root_to_kubernetes_csr: bool,
    /// Signature algorithm of certificates. Auto chooses by the key of the issuing certificate: RSA (PKCS#1 v1.5) with
    /// SHA-256, from 3072 bits SHA-384, from 4096 bits SHA-512; ECDSA with the hash of its curve; Ed25519; ML-DSA. Default:
    /// Auto.
    #[serde(default)]
    pub signature_algorithm: SignatureAlgorithm,
    /// Rate of signatures, on all replicas together. Requests over the rate wait; their namespaces take turns. They never
    /// fail because of the rate. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// How many signatures the issuer requests from its token at the same time, on all replicas together. Each replica may
    /// always request one. Default: limited only by the token's sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 256))]
    pub max_concurrent_signatures: Option<NonZeroU16>,
    /// How long a request may wait before it fails, with the units h, m and s. The time starts at a moment that the API
    /// server stores: for a CertificateRequest when it became Pending, for a CertificateSigningRequest its approval, for a
    /// PodCertificateRequest its creation. While the issuer is ready, a request is tried before it fails. cert-manager makes
    /// a new request after an hour at the earliest, so an outage of the token delays certificates longer with this limit
    /// than without. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        regex(pattern = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$"),
        length(min = 2, max = 20)
    )]
    pub max_pending: Option<String>,
    /// Cluster issuers only: selects, by labels, the namespaces whose requests are signed. A Kubernetes CSR belongs to the
    /// namespace of the service account that made it. A CSR by another user belongs to no namespace, and a selector refuses
    /// it. Default: requests of all namespaces and of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "selector::bounded")]
    pub namespace_selector: Option<LabelSelector>,
    /// Certificates of pods that mount this issuer's signer name (Kubernetes 1.36 and later, `PodCertificateRequest`).
    /// Default: none; such requests are denied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_certificates: Option<PodCertificatesSpec>,
    /// CRLs of the issuer's CA. They need an operator who has enabled CRLs. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl: Option<CrlSpec>,
    /// Certificates that the issuer issues. Default: leaf certificates for TLS servers and clients, for at most a year.
    #[serde(default)]
    pub profile: ProfileSpec,
}

impl IssuerSpec {
    /// Returns `maxPending`; `None` if it is unset or malformed. The API server checks its form.
    #[must_use]
    pub fn max_pending(&self) -> Option<std::time::Duration> {
        let text = self.max_pending.as_ref()?;
        text.parse::<GoDuration>().ok()?.unsigned()
    }
}

/// Selects one private key on a token. Exactly one key must match.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(
        "has(self.uri) ? !has(self.label) && !has(self.idHex) : has(self.label) || has(self.idHex)"
    ).message("give label, idHex or both, or else uri")
)]
pub struct KeySpec {
    /// `CKA_LABEL` of the private key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub label: Option<String>,
    /// `CKA_ID` of the private key in hexadecimal, two digits per octet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512), regex(pattern = "^([0-9a-fA-F]{2})+$"))]
    pub id_hex: Option<String>,
    /// PKCS#11 URI (RFC 7512) that names the key by `object`, `id` or both, and optionally the token. A URI with a PIN, a
    /// library or a slot is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub uri: Option<String>,
}

/// A rate of signatures.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RateLimit {
    /// Signatures per second in the long run.
    #[schemars(range(min = 1, max = 100_000))]
    pub per_second: NonZeroU32,
    /// Signatures at once after a pause. Default: `perSecond`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: Option<NonZeroU32>,
}

/// Content of `status.ca` of a request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum CaField {
    /// The self-signed root.
    #[default]
    Root,
    /// The issuing certificate.
    Issuing,
    /// The issuing certificate and everything above it, root included.
    Bundle,
    /// Nothing.
    None,
}

impl From<CaField> for issuance::CaField {
    fn from(field: CaField) -> Self {
        match field {
            CaField::Root => Self::Root,
            CaField::Issuing => Self::Issuing,
            CaField::Bundle => Self::Bundle,
            CaField::None => Self::None,
        }
    }
}

/// Annotation that makes an issuer due for a look. Each new value asks for one look.
pub const LOOK_ANNOTATION: &str = "pkcs11-issuer.dev/look";

/// Types of conditions on issuers.
pub mod condition_type {
    /// The issuer can sign now.
    pub const READY: &str = "Ready";
    /// A warning: the issuing certificate must be renewed.
    pub const CA_EXPIRING_SOON: &str = "CAExpiringSoon";
    /// Every CRL of the issuer's CA is published and renewed in time.
    pub const CRL_PUBLISHED: &str = "CRLPublished";
    /// The bundle of CRLs has the CRL of every CA of the chain.
    pub const CRL_BUNDLE_COMPLETE: &str = "CRLBundleComplete";
    /// The issuer is on its way to another key.
    pub const ROLLING_OVER: &str = "RollingOver";
}

/// Common interface of both issuer kinds.
pub trait IssuerKind:
    Resource<DynamicType = ()>
    + ResourceExt
    + Clone
    + std::fmt::Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Name of the kind, as in `issuerRef.kind`.
    const KIND: &'static str;
    /// Plural of the kind, as in signer names.
    const PLURAL: &'static str;

    /// Specification of the issuer.
    fn issuer_spec(&self) -> &IssuerSpec;

    /// Last status of the issuer.
    fn issuer_status(&self) -> Option<&IssuerStatus>;
}

impl IssuerKind for PKCS11Issuer {
    const KIND: &'static str = "PKCS11Issuer";
    const PLURAL: &'static str = "pkcs11issuers";

    fn issuer_spec(&self) -> &IssuerSpec {
        &self.spec.0
    }

    fn issuer_status(&self) -> Option<&IssuerStatus> {
        self.status.as_ref()
    }
}

impl IssuerKind for PKCS11ClusterIssuer {
    const KIND: &'static str = "PKCS11ClusterIssuer";
    const PLURAL: &'static str = "pkcs11clusterissuers";

    fn issuer_spec(&self) -> &IssuerSpec {
        &self.spec.0
    }

    fn issuer_status(&self) -> Option<&IssuerStatus> {
        self.status.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plural_in_signer_names_is_the_plural_of_the_kind() {
        assert_eq!(PKCS11Issuer::PLURAL, PKCS11Issuer::plural(&()));
        assert_eq!(
            PKCS11ClusterIssuer::PLURAL,
            PKCS11ClusterIssuer::plural(&())
        );
    }
}
