//! Probes: proof that a signer holds the issuing certificate's private key.

use super::{
    Fault,
    key::{BadSignature, IssuerPublicKey},
    signature::{SignError, Signature, SignatureAlgorithm, Signer, SigningInput},
};

/// Prefix of every probe. Its first octet is not 0x30, so that a probe cannot be the start of a
/// TBSCertificate, a CRL or any other SEQUENCE that a CA signs.
const CONTEXT: &[u8; 22] = b"pkcs11-issuer probe v1";

/// Reason why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The signer gave no signature.
    #[error("failed to make a probe signature")]
    Sign(#[source] SignError),
    /// Another key made the signature.
    #[error(
        "the key on the token is not the key of the issuing certificate; configure the right key or the right certificate"
    )]
    KeyMismatch(#[source] BadSignature),
}

impl ProbeError {
    /// Returns who must act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Sign(error) => error.fault(),
            Self::KeyMismatch(_) => Fault::Issuer,
        }
    }
}

/// A harmless message to sign: a fixed text and 32 random octets from the caller.
#[derive(Debug)]
pub struct Probe {
    algorithm: SignatureAlgorithm,
    message: Vec<u8>,
}

impl Probe {
    /// Builds the message. `random` must be fresh, so that an old signature cannot be used again.
    #[must_use]
    pub fn new(algorithm: SignatureAlgorithm, random: [u8; 32]) -> Self {
        Self {
            algorithm,
            message: [CONTEXT.as_slice(), &random].concat(),
        }
    }

    /// Requests one signature and does not verify it, for measurements.
    ///
    /// # Errors
    ///
    /// There is no signature.
    pub async fn sign(self, signer: &dyn Signer) -> Result<Signature, SignError> {
        let input = SigningInput::new(self.algorithm, &self.message);
        signer.sign(input).await
    }

    /// Requests one signature and verifies it under `key`.
    ///
    /// # Errors
    ///
    /// Fails if there is no signature, or if another key made it.
    pub async fn prove(self, signer: &dyn Signer, key: &IssuerPublicKey) -> Result<(), ProbeError> {
        let input = SigningInput::new(self.algorithm, &self.message);
        let signature = signer.sign(input).await.map_err(ProbeError::Sign)?;
        key.key()
            .verify(
                self.algorithm.scheme(),
                &self.message,
                signature.as_octets(),
            )
            .map_err(ProbeError::KeyMismatch)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::{super::testing::*, *};

    #[test]
    fn the_right_key_proves_itself_and_another_does_not() {
        let root = Authority::root("root");
        let other = Authority::root("root");
        let chain = root.chain();
        let key = chain.issuing().public_key();
        let probe = || Probe::new(SignatureAlgorithm::auto(key), [7; 32]);
        block_on(probe().prove(root.key(), key)).unwrap();
        let error = block_on(probe().prove(other.key(), key)).unwrap_err();
        assert!(matches!(error, ProbeError::KeyMismatch(_)));
        assert_eq!(error.fault(), Fault::Issuer);
    }

    #[test]
    fn the_error_of_a_signer_decides_who_has_to_act() {
        let root = Authority::root("root");
        let chain = root.chain();
        let key = chain.issuing().public_key();
        let probe = Probe::new(SignatureAlgorithm::auto(key), [7; 32]);
        let error = block_on(probe.prove(&Unwilling, key)).unwrap_err();
        assert_eq!(error.fault(), Fault::Passing);
    }

    #[test]
    fn a_probe_can_never_be_a_der_sequence() {
        for random in [[0; 32], [0x30; 32]] {
            let probe = Probe::new(SignatureAlgorithm::Ed25519, random);
            assert_eq!(probe.message.len(), 54);
            assert_ne!(probe.message.first(), Some(&0x30));
        }
    }
}
