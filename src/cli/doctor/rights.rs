//! The rights that the controller needs. The chart is their only source; a test compares this table with it. Pure.

use k8s_openapi::api::authorization::v1::ResourceAttributes;

const OURS: &str = "pkcs11-issuer.dev";
pub(super) const CERT_MANAGER: &str = "cert-manager.io";
const CERTIFICATES: &str = "certificates.k8s.io";
/// Names of our signers, as the chart's roles have them.
pub(super) const SIGNERS: [&str; 2] = [
    "pkcs11issuers.pkcs11-issuer.dev/*",
    "pkcs11clusterissuers.pkcs11-issuer.dev/*",
];

/// What needs a right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    Always,
    CertificateRequests,
    SigningRequests,
    PodRequests,
    TrustBundles,
    TrustConfigMaps,
    Crls,
    /// `spec.renew` of revocations. No flag tells whether the operator wants it.
    RevocationRenewals,
    RevokeDeleted,
    Reissue,
    Events,
    Checkpoints,
}

/// A right of the controller.
#[derive(Debug)]
pub(super) struct NeededRight {
    pub(super) feature: Feature,
    /// Whether it is about the controller's own namespace.
    own: bool,
    group: &'static str,
    /// With a slash before a subresource.
    resource: &'static str,
    /// Names of the objects; empty for all.
    pub(super) names: &'static [&'static str],
    pub(super) verbs: &'static [&'static str],
    pub(super) what_for: &'static str,
}

const fn everywhere(
    feature: Feature,
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    what_for: &'static str,
) -> NeededRight {
    NeededRight {
        feature,
        own: false,
        group,
        resource,
        names: &[],
        verbs,
        what_for,
    }
}

const fn own(
    feature: Feature,
    group: &'static str,
    resource: &'static str,
    names: &'static [&'static str],
    verbs: &'static [&'static str],
    what_for: &'static str,
) -> NeededRight {
    NeededRight {
        feature,
        own: true,
        group,
        resource,
        names,
        verbs,
        what_for,
    }
}

const fn signers(
    feature: Feature,
    verbs: &'static [&'static str],
    what_for: &'static str,
) -> NeededRight {
    NeededRight {
        feature,
        own: false,
        group: CERTIFICATES,
        resource: "signers",
        names: &SIGNERS,
        verbs,
        what_for,
    }
}

/// Every right that the chart gives the controller, but for Secrets in the namespaces of issuers.
pub(super) const RIGHTS: &[NeededRight] = &[
    everywhere(
        Feature::Always,
        OURS,
        "pkcs11issuers",
        &["list", "watch"],
        "to see the issuers",
    ),
    everywhere(
        Feature::Always,
        OURS,
        "pkcs11clusterissuers",
        &["list", "watch"],
        "to see the issuers",
    ),
    everywhere(
        Feature::Always,
        OURS,
        "pkcs11issuers/status",
        &["patch"],
        "to say whether an issuer is ready",
    ),
    everywhere(
        Feature::Always,
        OURS,
        "pkcs11clusterissuers/status",
        &["patch"],
        "to say whether an issuer is ready",
    ),
    everywhere(
        Feature::Always,
        "",
        "namespaces",
        &["get"],
        "for the labels that namespaceSelector and grants ask for",
    ),
    everywhere(
        Feature::CertificateRequests,
        CERT_MANAGER,
        "certificaterequests",
        &["get", "list", "watch"],
        "to see cert-manager's requests",
    ),
    everywhere(
        Feature::CertificateRequests,
        CERT_MANAGER,
        "certificaterequests/status",
        &["update"],
        "to answer cert-manager's requests",
    ),
    everywhere(
        Feature::Crls,
        OURS,
        "certificaterevocations",
        &["get", "list", "watch"],
        "to see revocations",
    ),
    everywhere(
        Feature::Crls,
        OURS,
        "certificaterevocations/status",
        &["patch"],
        "to answer revocations",
    ),
    everywhere(
        Feature::RevocationRenewals,
        CERT_MANAGER,
        "certificates",
        &["get"],
        "for spec.renew of revocations",
    ),
    everywhere(
        Feature::RevocationRenewals,
        CERT_MANAGER,
        "certificates/status",
        &["update"],
        "for spec.renew of revocations",
    ),
    everywhere(
        Feature::RevokeDeleted,
        CERT_MANAGER,
        "certificates",
        &["list", "watch"],
        "for spec.crl.onDelete",
    ),
    everywhere(
        Feature::Reissue,
        CERT_MANAGER,
        "certificates",
        &["get", "list"],
        "for spec.reissue",
    ),
    everywhere(
        Feature::Reissue,
        CERT_MANAGER,
        "certificates/status",
        &["update"],
        "for spec.reissue",
    ),
    everywhere(
        Feature::SigningRequests,
        CERTIFICATES,
        "certificatesigningrequests",
        &["get", "list", "watch"],
        "to see Kubernetes CSRs",
    ),
    everywhere(
        Feature::SigningRequests,
        CERTIFICATES,
        "certificatesigningrequests/status",
        &["patch"],
        "to answer Kubernetes CSRs",
    ),
    everywhere(
        Feature::SigningRequests,
        "authorization.k8s.io",
        "subjectaccessreviews",
        &["create"],
        "to check whether an author may use a namespaced issuer",
    ),
    everywhere(
        Feature::PodRequests,
        CERTIFICATES,
        "podcertificaterequests",
        &["get", "list", "watch"],
        "to see the requests of pods",
    ),
    everywhere(
        Feature::PodRequests,
        CERTIFICATES,
        "podcertificaterequests/status",
        &["patch"],
        "to answer the requests of pods",
    ),
    everywhere(
        Feature::TrustBundles,
        CERTIFICATES,
        "clustertrustbundles",
        &["get", "list", "create", "patch", "delete"],
        "to publish trust anchors",
    ),
    signers(
        Feature::SigningRequests,
        &["sign"],
        "to answer Kubernetes CSRs",
    ),
    signers(
        Feature::PodRequests,
        &["sign"],
        "to answer the requests of pods",
    ),
    signers(
        Feature::TrustBundles,
        &["attest"],
        "to publish trust anchors",
    ),
    everywhere(
        Feature::Events,
        "events.k8s.io",
        "events",
        &["create"],
        "to write Events",
    ),
    own(
        Feature::Always,
        "",
        "secrets",
        &[],
        &["get"],
        "for certificates, PINs and the PIN record",
    ),
    own(
        Feature::Always,
        "",
        "configmaps",
        &[],
        &["get"],
        "for certificates",
    ),
    own(
        Feature::Always,
        "",
        "secrets",
        &["pkcs11-issuer-pin-state"],
        &["update"],
        "to record the tries of PINs",
    ),
    own(
        Feature::Checkpoints,
        "",
        "configmaps",
        &["pkcs11-issuer-log-heads"],
        &["update"],
        "for the last checkpoints of runs",
    ),
    own(
        Feature::Crls,
        "",
        "configmaps",
        &[],
        &["list", "watch", "create", "update", "delete"],
        "for revoked certificates and CRLs",
    ),
    own(
        Feature::RevokeDeleted,
        OURS,
        "certificaterevocations",
        &[],
        &["create"],
        "for spec.crl.onDelete",
    ),
    own(
        Feature::TrustConfigMaps,
        "",
        "configmaps",
        &[],
        &["list", "create", "patch", "delete"],
        "to publish roots",
    ),
    own(
        Feature::Always,
        "coordination.k8s.io",
        "leases",
        &[],
        &["get", "list", "watch", "create", "patch", "delete"],
        "to share the work among replicas",
    ),
];

impl NeededRight {
    /// Returns what to ask about one object and verb.
    pub(super) fn attributes(&self, namespace: &str, name: &str, verb: &str) -> ResourceAttributes {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource)),
            None => (self.resource, None),
        };
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            name: (!name.is_empty()).then(|| name.to_owned()),
            namespace: self.own.then(|| namespace.to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        }
    }

    /// Returns the right in words.
    pub(super) fn describe(&self, namespace: &str, name: &str, verb: &str) -> String {
        let mut text = format!("{verb} {}", self.resource);
        if !self.group.is_empty() {
            text += &format!(".{}", self.group);
        }
        if !name.is_empty() {
            text += &format!(" {name}");
        }
        match self.own {
            true => text + &format!(" in {namespace}"),
            false => text,
        }
    }
}
