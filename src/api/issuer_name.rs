//! The name of an issuer of either kind, and its form as a signer name.

use std::fmt;

use super::{
    GROUP,
    issuer::{IssuerKind as _, PKCS11ClusterIssuer, PKCS11Issuer},
};

/// Name of an issuer of either kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuerName {
    /// Namespace of a `PKCS11Issuer`; `None` for a `PKCS11ClusterIssuer`.
    pub namespace: Option<String>,
    /// `metadata.name`.
    pub name: String,
}

impl IssuerName {
    /// Returns the kind of the issuer.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.namespace {
            Some(_) => PKCS11Issuer::KIND,
            None => PKCS11ClusterIssuer::KIND,
        }
    }

    /// Returns the signer name of the issuer in Kubernetes.
    #[must_use]
    pub fn signer_name(&self) -> String {
        let name = &self.name;
        match &self.namespace {
            Some(namespace) => format!("{}.{GROUP}/{namespace}.{name}", PKCS11Issuer::PLURAL),
            None => format!("{}.{GROUP}/{name}", PKCS11ClusterIssuer::PLURAL),
        }
    }

    /// Parses a signer name of Kubernetes, if it belongs to one of the issuer kinds: `plural.group/namespace.name` or, for a
    /// cluster issuer, `plural.group/name`, in which the name may contain dots.
    #[must_use]
    pub fn from_signer_name(text: &str) -> Option<Self> {
        let (kind, path) = text.split_once('/')?;
        let plural = kind.strip_suffix(GROUP)?.strip_suffix('.')?;
        let (namespace, name) = if plural == PKCS11ClusterIssuer::PLURAL {
            (None, path)
        } else if plural == PKCS11Issuer::PLURAL {
            let (namespace, name) = path.split_once('.')?;
            (Some(namespace), name)
        } else {
            return None;
        };
        if name.is_empty() || name.contains('/') || namespace == Some("") {
            return None;
        }
        Some(Self {
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for IssuerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind(), self.name),
            None => write!(f, "{} {}", self.kind(), self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signer_names_with_our_plural_and_group_are_parsed_and_names_may_contain_dots() {
        for (text, expected) in [
            (
                "pkcs11issuers.pkcs11-issuer.dev/shop.issuing.v2",
                Some((Some("shop"), "issuing.v2")),
            ),
            (
                "pkcs11clusterissuers.pkcs11-issuer.dev/a.b",
                Some((None, "a.b")),
            ),
            ("pkcs11issuers.pkcs11-issuer.dev/issuing", None),
            ("pkcs11issuers.pkcs11-issuer.dev/.issuing", None),
            ("pkcs11issuers.pkcs11-issuer.dev/shop.", None),
            ("pkcs11clusterissuers.pkcs11-issuer.dev/", None),
            ("pkcs11clusterissuers.pkcs11-issuer.dev/a/b", None),
            ("issuers.pkcs11-issuer.dev/a", None),
            ("pkcs11clusterissuers.cert-manager.io/a", None),
            ("pkcs11clusterissuerspkcs11-issuer.dev/a", None),
            ("kubernetes.io/kubelet-serving", None),
            ("", None),
        ] {
            let expected = expected.map(|(namespace, name)| IssuerName {
                namespace: namespace.map(str::to_owned),
                name: name.to_owned(),
            });
            let read = IssuerName::from_signer_name(text);
            assert_eq!(read, expected, "{text}");
            if let Some(issuer) = read {
                assert_eq!(issuer.signer_name(), text);
            }
        }
    }
}
