//! Snapshot of an issuer: its chain, its profile and its algorithm.

use std::sync::Arc;

use super::{
    chain::IssuerChain,
    crl::{CaId, CrlRules, CrlRulesError, SerialNumber},
    profile::{HttpUrl, Profile},
    signature::{IssuerError, SignatureAlgorithm},
};

/// An immutable snapshot of an issuer, shared by the requests that are prepared while it is current.
#[derive(Debug)]
pub struct Issuer {
    chain: Arc<IssuerChain>,
    profile: Profile,
    algorithm: SignatureAlgorithm,
    crl: Option<(CaId, CrlRules)>,
}

impl Issuer {
    /// Builds an issuer. Without an algorithm, it uses the one that fits the key
    /// ([`SignatureAlgorithm::auto`]).
    ///
    /// # Errors
    ///
    /// Fails if the algorithm does not fit the key.
    pub fn new(
        chain: impl Into<Arc<IssuerChain>>,
        profile: Profile,
        algorithm: Option<SignatureAlgorithm>,
    ) -> Result<Self, IssuerError> {
        let chain = chain.into();
        let key = chain.issuing().public_key();
        let algorithm = algorithm.unwrap_or_else(|| SignatureAlgorithm::auto(key));
        IssuerError::check(algorithm, key.algorithm())?;
        Ok(Self {
            chain,
            profile,
            algorithm,
            crl: None,
        })
    }

    /// Adds the rules for the CRLs of the issuer's CA. Certificates then name the CRL of their shard, if the rules have a URL.
    ///
    /// # Errors
    ///
    /// The profile denies revocation, or the issuing certificate does not allow CRLs.
    pub fn with_crl(self, rules: CrlRules) -> Result<Self, CrlRulesError> {
        let issuing = self.chain.issuing();
        rules.check(&self.profile, issuing)?;
        Ok(Self {
            crl: Some((CaId::of(issuing), rules)),
            ..self
        })
    }

    /// Returns the issuing certificate and the certificates above it.
    #[must_use]
    pub fn chain(&self) -> &IssuerChain {
        &self.chain
    }

    /// Returns the rules for what the issuer may issue.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// Returns the rules for the CRLs of the issuer's CA.
    #[must_use]
    pub fn crl(&self) -> Option<&CrlRules> {
        self.crl.as_ref().map(|(_, rules)| rules)
    }

    /// Returns the URL of the CRL that lists a certificate of this issuer if it is revoked.
    pub(super) fn crl_url(&self, serial: &SerialNumber) -> Option<HttpUrl> {
        let (ca, rules) = self.crl.as_ref()?;
        rules.url_of(ca, serial)
    }

    /// Returns the algorithm that the issuer signs with.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::{super::testing::*, *};
    use crate::issuance::{Fault, Limits, Rules, crl::Shards};

    #[test]
    fn an_issuer_is_refused_if_its_algorithm_does_not_fit_its_key() {
        let root = Authority::root("root");
        let issuer = |algorithm| Issuer::new(root.chain(), Profile::default(), algorithm);
        assert_eq!(
            issuer(None).unwrap().algorithm(),
            SignatureAlgorithm::EcdsaP256Sha256
        );
        let error = issuer(Some(SignatureAlgorithm::RsaPssSha256)).unwrap_err();
        assert_eq!(error.fault(), Fault::Issuer);
    }

    #[test]
    fn crls_need_a_certificate_that_allows_them_and_a_profile_that_does_not_deny_revocation() {
        let crl =
            || CrlRules::new(SignedDuration::from_hours(24), None, None, Shards::ONE).unwrap();
        let issuer = |authority: &Authority, rules| {
            let profile = Profile::new(rules, Limits::default()).unwrap();
            Issuer::new(authority.chain(), profile, None).unwrap()
        };
        let root = Authority::root("root");
        let with = issuer(&root, Rules::default()).with_crl(crl()).unwrap();
        assert_eq!(with.crl(), Some(&crl()));
        let mute = Authority::builder("root").key_usage(&[5]).root();
        let error = issuer(&mute, Rules::default()).with_crl(crl()).unwrap_err();
        assert!(matches!(error, CrlRulesError::NoCrlSign(_)), "{error}");
        let mut rules = Rules::default();
        rules.extensions.no_rev_avail = true;
        let error = issuer(&root, rules).with_crl(crl()).unwrap_err();
        assert_eq!(error, CrlRulesError::NoRevAvail);
    }
}
