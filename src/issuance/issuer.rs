//! An issuer as it stands at one moment: its chain, its profile, its algorithm.

use std::sync::Arc;

use super::{
    Fault, chain::IssuerChain, key::KeyAlgorithm, profile::Profile, signature::SignatureAlgorithm,
};

/// A signature algorithm that the issuing certificate's key cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "signatureAlgorithm {algorithm} does not fit the issuing certificate's {key} key; use Auto or one that fits"
)]
pub struct IssuerError {
    algorithm: SignatureAlgorithm,
    key: KeyAlgorithm,
}

impl IssuerError {
    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Issuer
    }
}

/// An immutable snapshot, shared by the requests that are prepared while it is current.
#[derive(Debug)]
pub struct Issuer {
    chain: Arc<IssuerChain>,
    profile: Profile,
    algorithm: SignatureAlgorithm,
}

impl Issuer {
    /// Puts an issuer together; without an algorithm the one that fits the key is taken
    /// ([`SignatureAlgorithm::auto`]).
    ///
    /// # Errors
    ///
    /// The algorithm is not one of the key's.
    pub fn new(
        chain: impl Into<Arc<IssuerChain>>,
        profile: Profile,
        algorithm: Option<SignatureAlgorithm>,
    ) -> Result<Self, IssuerError> {
        let chain = chain.into();
        let key = chain.issuing().public_key();
        let algorithm = algorithm.unwrap_or_else(|| SignatureAlgorithm::auto(key));
        if !algorithm.fits(key.algorithm()) {
            return Err(IssuerError {
                algorithm,
                key: key.algorithm(),
            });
        }
        Ok(Self {
            chain,
            profile,
            algorithm,
        })
    }

    /// The issuing certificate and those above.
    #[must_use]
    pub fn chain(&self) -> &IssuerChain {
        &self.chain
    }

    /// What it may issue.
    #[must_use]
    pub const fn profile(&self) -> &Profile {
        &self.profile
    }

    /// What it signs with.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::*, *};

    #[test]
    fn an_algorithm_of_another_key_makes_no_issuer() {
        let root = Authority::root("root");
        let issuer = |algorithm| Issuer::new(root.chain(), Profile::default(), algorithm);
        assert_eq!(
            issuer(None).unwrap().algorithm(),
            SignatureAlgorithm::EcdsaP256Sha256
        );
        let error = issuer(Some(SignatureAlgorithm::RsaPssSha256)).unwrap_err();
        assert_eq!(error.fault(), Fault::Issuer);
    }
}
