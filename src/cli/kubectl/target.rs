//! How a user names a request or an issuer: `NAME` or `KIND/NAME`.

use anyhow::bail;

/// A request as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestTarget<'a> {
    /// A CertificateRequest, or else a Certificate.
    Either(&'a str),
    /// A CertificateRequest.
    CertificateRequest(&'a str),
    /// A Certificate.
    Certificate(&'a str),
    /// A Kubernetes CSR.
    SigningRequest(&'a str),
    /// A request of the kubelet for a pod.
    PodRequest(&'a str),
}

impl<'a> RequestTarget<'a> {
    /// Parses what the user wrote.
    pub(super) fn parse(text: &'a str) -> anyhow::Result<Self> {
        let Some((kind, name)) = text.split_once('/') else {
            return Ok(Self::Either(text));
        };
        match kind_of(kind).as_str() {
            "certificaterequest" | "certificaterequests" | "cr" | "crs" => {
                Ok(Self::CertificateRequest(name))
            }
            "certificate" | "certificates" | "cert" | "certs" => Ok(Self::Certificate(name)),
            "certificatesigningrequest" | "certificatesigningrequests" | "csr" => {
                Ok(Self::SigningRequest(name))
            }
            "podcertificaterequest" | "podcertificaterequests" | "pcr" => {
                Ok(Self::PodRequest(name))
            }
            _ => bail!(
                "{kind:?} is no kind of request; give certificaterequest/NAME, certificate/NAME, csr/NAME or pcr/NAME"
            ),
        }
    }
}

/// An issuer as the user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IssuerTarget<'a> {
    /// Of either kind.
    Either(&'a str),
    /// A PKCS11ClusterIssuer.
    Cluster(&'a str),
    /// A PKCS11Issuer.
    Namespaced(&'a str),
}

impl<'a> IssuerTarget<'a> {
    /// Parses what the user wrote.
    pub(super) fn parse(text: &'a str) -> anyhow::Result<Self> {
        let Some((kind, name)) = text.split_once('/') else {
            return Ok(Self::Either(text));
        };
        match kind_of(kind).as_str() {
            "pkcs11clusterissuer" | "pkcs11clusterissuers" | "p11ci" => Ok(Self::Cluster(name)),
            "pkcs11issuer" | "pkcs11issuers" | "p11i" => Ok(Self::Namespaced(name)),
            _ => bail!(
                "{kind:?} is no kind of issuer; give PKCS11ClusterIssuer/NAME or PKCS11Issuer/NAME"
            ),
        }
    }
}

/// Returns a kind in lower case and without its group.
fn kind_of(text: &str) -> String {
    text.split('.').next().unwrap_or(text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_say_its_kind_as_kubectl_prints_it() {
        for (text, expected) in [
            ("web", RequestTarget::Either("web")),
            ("cr/web", RequestTarget::CertificateRequest("web")),
            (
                "certificaterequest.cert-manager.io/web",
                RequestTarget::CertificateRequest("web"),
            ),
            ("Certificate/web", RequestTarget::Certificate("web")),
            ("csr/web", RequestTarget::SigningRequest("web")),
            (
                "podcertificaterequest.certificates.k8s.io/web",
                RequestTarget::PodRequest("web"),
            ),
        ] {
            assert_eq!(RequestTarget::parse(text).unwrap(), expected, "{text}");
        }
        RequestTarget::parse("pod/web").unwrap_err();
        for (text, expected) in [
            ("ca", IssuerTarget::Either("ca")),
            ("p11i/ca", IssuerTarget::Namespaced("ca")),
            (
                "pkcs11clusterissuer.pkcs11-issuer.dev/ca",
                IssuerTarget::Cluster("ca"),
            ),
        ] {
            assert_eq!(IssuerTarget::parse(text).unwrap(), expected, "{text}");
        }
        IssuerTarget::parse("issuer/ca").unwrap_err();
    }
}
