//! The pipeline from an issuer and a request to a verified certificate, including the token. The controller and the command
//! line share it. It does not use the API server.
//!
//! [`prove()`] proves that an issuer can sign; [`sign()`] signs one request with it.

mod announced;
mod aside;
pub mod key;
mod keys;
mod not_proven;
mod once;
pub mod proof;
pub mod prove;
pub mod sign;

use std::sync::Arc;

use crate::{
    api::{IssuerName, issuer::CaField, profile::SerialSource},
    config::{IssuerScope, Labels},
    issuance::{self, IssuedCertificate, pod::PodIdentity},
    signers::{GrantedKey, limiter::Limit},
};

pub(crate) use self::aside::{aside, on_thread};
use self::key::KeyTarget;
pub use self::{
    announced::Announced,
    keys::Keys,
    not_proven::NotProven,
    once::{Once, Same},
    proof::Proof,
    prove::{ChainPem, Earlier, ParsedChain, Proven, SigningClaim, prove},
    sign::{AskedCsr, NotSigned, Signed, UncheckedRequest, prepare_only, sign},
};

/// Consistent snapshot of an issuer whose token has proved that it signs for the issuer's certificate.
#[derive(Debug)]
pub struct ReadyIssuer {
    /// Certificate, profile and algorithm.
    pub issuer: Arc<issuance::Issuer>,
    /// The certificates that its chain was parsed from.
    certificates: Arc<ParsedChain>,
    /// The key that its specification selects.
    wanted: Arc<KeyTarget>,
    /// The key that signs.
    pub key: GrantedKey,
    /// Which part of its chain is published with a certificate.
    pub publish: Publish,
    /// Source of its serial numbers.
    pub serial: SerialSource,
    /// Rules for certificates of pods; `None` if it does not serve pods.
    pub pods: Option<PodRules>,
    /// Its limits of rate and concurrency.
    pub limit: Limit,
    /// When its key was last proved.
    pub proof: Arc<Proof>,
    /// SHA-256 of the JSON of its profile with every default, hexadecimal.
    pub profile_sha256: Arc<str>,
}

impl ReadyIssuer {
    /// Returns the certificates that the chain was parsed from.
    #[must_use]
    pub const fn certificates(&self) -> &Arc<ParsedChain> {
        &self.certificates
    }

    /// Returns whether the proof of this snapshot also proves `issuer` with `key`: the same key, found on the same run of
    /// the same worker, for the same certificate and algorithm.
    fn is_proved_with(&self, issuer: &issuance::Issuer, key: &GrantedKey) -> bool {
        let certificate = |issuer: &issuance::Issuer| issuer.chain().issuing().sha256();
        self.key.is_same_as(key)
            && self.issuer.algorithm() == issuer.algorithm()
            && certificate(&self.issuer) == certificate(issuer)
    }
}

/// Rules for the certificates that an issuer issues to pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRules {
    /// The names in the certificate.
    pub identity: PodIdentity,
    /// The usages, in cert-manager's terms.
    pub usages: Vec<String>,
}

/// Part of an issuer's chain that is published with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publish {
    /// Content of `status.ca` of a CertificateRequest.
    pub ca: CaField,
    /// Certificates of CAs that are trusted beside this one, each in PEM: of the next CA before a switch to it, and of former
    /// ones while certificates under them may be valid. They follow in `status.ca`, unless that has nothing.
    pub beside: Arc<[String]>,
    /// Whether to append the root to `status.certificate` of a Kubernetes CSR, which has no separate field for it.
    pub append_root: bool,
}

impl Publish {
    /// Returns the value of `status.ca` for a certificate: the part of its own chain, then the certificates of the other
    /// CAs. Each certificate is there once.
    #[must_use]
    pub fn ca_pem(&self, certificate: &IssuedCertificate) -> Option<String> {
        let own = certificate.ca_pem(self.ca.into())?;
        Some(self.beside.iter().fold(own, |mut all, pem| {
            if !all.contains(&**pem) {
                all.push_str(pem);
            }
            all
        }))
    }
}

impl IssuerName {
    /// Returns the scope by which grants are looked up. `labels` are those of the issuer's namespace.
    #[must_use]
    pub fn scope<'a>(&'a self, labels: &'a Labels) -> IssuerScope<'a> {
        match &self.namespace {
            Some(name) => IssuerScope::Namespace { name, labels },
            None => IssuerScope::Cluster,
        }
    }
}

/// Returns the present time. The clock is read only here; the time is passed down as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's one clock; the pure parts take the time as an argument"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::testing::issued;

    #[test]
    fn the_certificates_of_other_cas_follow_once_and_only_where_there_is_a_ca() {
        let certificate = issued();
        let own = certificate.ca_pem(issuance::CaField::Root).unwrap();
        let others = ["other\n".to_owned(), own.clone(), "other\n".to_owned()];
        let publish = |ca| Publish {
            ca,
            beside: others.clone().into(),
            append_root: false,
        };
        let root = publish(CaField::Root).ca_pem(&certificate);
        assert_eq!(root, Some(own + "other\n"));
        assert_eq!(publish(CaField::None).ca_pem(&certificate), None);
    }
}
