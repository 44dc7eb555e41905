//! Proof that a signer holds the issuing certificate's private key.

use super::{
    Fault,
    key::{BadSignature, IssuerPublicKey},
    signature::{SignError, SignatureAlgorithm, Signer, SigningInput},
};

/// Its first octet is not 0x30, so that no probe can be the start of a TBSCertificate, a CRL or any other
/// SEQUENCE that a CA signs.
const CONTEXT: &[u8; 22] = b"pkcs11-issuer probe v1";

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// No signature came.
    #[error("failed to make a probe signature")]
    Sign(#[source] SignError),
    /// The signature is of another key.
    #[error(
        "the key on the token is not the key of the issuing certificate; name the right key or the right certificate"
    )]
    KeyMismatch(#[source] BadSignature),
}

impl ProbeError {
    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Sign(error) => error.fault(),
            Self::KeyMismatch(_) => Fault::Issuer,
        }
    }
}

/// One harmless message to sign: a fixed text and 32 octets that the caller drew at random.
#[derive(Debug)]
pub struct Probe {
    algorithm: SignatureAlgorithm,
    message: Vec<u8>,
}

impl Probe {
    /// Makes the message. `random` must be fresh, so that an old answer proves nothing.
    #[must_use]
    pub fn new(algorithm: SignatureAlgorithm, random: [u8; 32]) -> Self {
        Self {
            algorithm,
            message: [CONTEXT.as_slice(), &random].concat(),
        }
    }

    /// Asks for one signature and verifies it under `key`.
    ///
    /// # Errors
    ///
    /// No signature, or one that another key made.
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
    fn a_signer_without_answer_decides_who_acts() {
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
