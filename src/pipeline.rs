//! From an issuer and a request to a verified certificate, token included: what the controller and the command line
//! share. Knows nothing of the API server.
//!
//! [`prove()`] shows that an issuer can sign, [`sign()`] signs one request with it.

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
    issuance::{self, pod::PodIdentity},
    signers::{GrantedKey, limiter::Limit},
};

use self::key::Wanted;
pub use self::{
    keys::Keys,
    not_proven::NotProven,
    once::{Once, Same},
    proof::Proof,
    prove::{Chain, ChainPem, Claim, Earlier, Proven, prove},
    sign::{Announced, Asked, AskedCsr, NotSigned, Signed, sign},
};

/// An issuer that has proved that its token signs for its certificate: one consistent snapshot.
#[derive(Debug)]
pub struct ReadyIssuer {
    /// Certificate, profile and algorithm.
    pub issuer: Arc<issuance::Issuer>,
    /// What its chain was made of.
    certificates: Arc<Chain>,
    /// Which key it means.
    wanted: Arc<Wanted>,
    /// The key that signs.
    pub key: GrantedKey,
    /// What of its chain goes out with a certificate.
    pub publish: Publish,
    /// Where its serial numbers come from.
    pub serial: SerialSource,
    /// What it gives pods.
    pub pods: Option<PodRules>,
    /// How much it may sign.
    pub limit: Limit,
    /// When its key last proved itself.
    pub proof: Arc<Proof>,
}

impl ReadyIssuer {
    /// What its chain was made of.
    #[must_use]
    pub const fn certificates(&self) -> &Arc<Chain> {
        &self.certificates
    }

    /// Whether what proved this one proves the other: the same key, found on the same run of the same worker, for the
    /// same certificate and algorithm.
    fn is_proved_with(&self, issuer: &issuance::Issuer, key: &GrantedKey) -> bool {
        let certificate = |issuer: &issuance::Issuer| issuer.chain().issuing().sha256();
        self.key.is_same_as(key)
            && self.issuer.algorithm() == issuer.algorithm()
            && certificate(&self.issuer) == certificate(issuer)
    }
}

/// What an issuer gives pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRules {
    /// Their names.
    pub identity: PodIdentity,
    /// Their usages by cert-manager's words.
    pub usages: Vec<String>,
}

/// What of an issuer's chain goes out with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish {
    /// What `status.ca` of a CertificateRequest carries.
    pub ca: CaField,
    /// Whether `status.certificate` of a Kubernetes CSR, which has no place for a root of its own, ends with the root.
    pub append_root: bool,
}

impl IssuerName {
    /// The scope by which grants are looked up, given the labels of its namespace.
    #[must_use]
    pub fn scope<'a>(&'a self, labels: &'a Labels) -> IssuerScope<'a> {
        match &self.namespace {
            Some(name) => IssuerScope::Namespace { name, labels },
            None => IssuerScope::Cluster,
        }
    }
}

/// The time, read in one place of the shell and passed down as an argument.
#[expect(
    clippy::disallowed_methods,
    reason = "the shell's one clock; the pure parts take the time as an argument"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
