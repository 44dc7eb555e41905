//! The control plane's own certification authority, for its servers and for the identities of its clients.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context, Result};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

/// id-at-organizationName, X.520.
const ORGANIZATION: [u64; 4] = [2, 5, 4, 10];

/// A certificate and its private key, PEM.
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A CA whose P-256 key is only in memory.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    pub(crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("control-plane-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)
            .context("create the control plane's CA")?;
        Ok(Self { issuer })
    }

    /// Returns the CA certificate in PEM.
    pub(crate) fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a serving certificate for 127.0.0.1 and localhost.
    pub(crate) fn server(&self, name: &str) -> Result<Pair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(name);
        params.subject_alt_names = vec![
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::DnsName(Ia5String::try_from("localhost")?),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(params)
            .with_context(|| format!("issue the serving certificate of {name}"))
    }

    /// Issues a client certificate for kube-apiserver: the common name is the user, and each organization is a group. There
    /// can be two groups, as many as a service account has.
    pub(crate) fn client(
        &self,
        user: &str,
        first_group: Option<&str>,
        second_group: Option<&str>,
    ) -> Result<Pair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named(user);
        if let Some(group) = first_group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        if let Some(group) = second_group {
            // rcgen keeps one value per type; the same OID as a custom type allows a second value.
            params
                .distinguished_name
                .push(DnType::CustomDnType(ORGANIZATION.to_vec()), group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
            .with_context(|| format!("issue the client certificate of {user}"))
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Pair> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn named(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common_name);
    name
}
