//! A key pair made in memory, for import into several tokens.

use std::fmt;

use aws_lc_rs::{
    encoding::{AsBigEndian, EcPrivateKeyBin},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

use crate::Error;

/// A P-256 key pair.
pub struct SoftwareKey {
    scalar: Vec<u8>,
    point: Vec<u8>,
}

impl SoftwareKey {
    /// Generates a key pair.
    ///
    /// # Errors
    /// The system has no random octets.
    pub fn generate() -> Result<Self, Error> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING);
        let pair = pair.map_err(|_| Error::Random)?;
        let scalar: EcPrivateKeyBin<'_> = pair
            .private_key()
            .as_be_bytes()
            .map_err(|_| Error::Random)?;
        Ok(Self {
            scalar: scalar.as_ref().to_vec(),
            point: pair.public_key().as_ref().to_vec(),
        })
    }

    pub(crate) fn scalar(&self) -> &[u8] {
        &self.scalar
    }

    pub(crate) fn point(&self) -> &[u8] {
        &self.point
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SoftwareKey").finish_non_exhaustive()
    }
}
