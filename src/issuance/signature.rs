//! Signature algorithms, and the only interface to a private key.

use super::{
    Fault,
    key::{IssuerPublicKey, KeyAlgorithm},
    scheme::{Hash, MlDsa, SignatureScheme},
};

mod signer;

pub use signer::{RawSignatureError, SignError, Signature, Signer, Signing, SigningInput};

/// A signature algorithm that the issuing certificate's key does not support.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "signatureAlgorithm {algorithm} does not fit the issuing certificate's {key} key; use Auto or an algorithm for that key"
)]
pub struct IssuerError {
    algorithm: SignatureAlgorithm,
    key: KeyAlgorithm,
}

impl IssuerError {
    /// Checks that a key of this kind can sign with the algorithm.
    ///
    /// # Errors
    ///
    /// It cannot.
    pub(super) const fn check(
        algorithm: SignatureAlgorithm,
        key: KeyAlgorithm,
    ) -> Result<(), Self> {
        if algorithm.fits(key) {
            Ok(())
        } else {
            Err(Self { algorithm, key })
        }
    }

    /// Returns who must act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        Fault::Issuer
    }
}

/// Signature algorithm of an issuer: a scheme bound to a kind of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaPkcs1Sha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaPkcs1Sha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaPkcs1Sha512,
    /// RSASSA-PSS with SHA-256 and a salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384 and a salt of 48 octets.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512 and a salt of 64 octets.
    RsaPssSha512,
    /// ECDSA on P-256 with SHA-256.
    EcdsaP256Sha256,
    /// ECDSA on P-384 with SHA-384.
    EcdsaP384Sha384,
    /// ECDSA on P-521 with SHA-512.
    EcdsaP521Sha512,
    /// Ed25519.
    Ed25519,
    /// ML-DSA-44.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

impl SignatureAlgorithm {
    /// Every algorithm.
    pub const ALL: &'static [Self] = &[
        Self::RsaPkcs1Sha256,
        Self::RsaPkcs1Sha384,
        Self::RsaPkcs1Sha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaP256Sha256,
        Self::EcdsaP384Sha384,
        Self::EcdsaP521Sha512,
        Self::Ed25519,
        Self::MlDsa44,
        Self::MlDsa65,
        Self::MlDsa87,
    ];

    /// Returns the algorithm that fits the strength of the key. For RSA, ECDSA and Ed25519 it is the one
    /// that cert-manager's CA issuer chooses.
    #[must_use]
    pub const fn auto(key: &IssuerPublicKey) -> Self {
        match key.algorithm() {
            KeyAlgorithm::Rsa { bits: 4096.. } => Self::RsaPkcs1Sha512,
            KeyAlgorithm::Rsa { bits: 3072.. } => Self::RsaPkcs1Sha384,
            KeyAlgorithm::Rsa { .. } => Self::RsaPkcs1Sha256,
            KeyAlgorithm::EcdsaP256 => Self::EcdsaP256Sha256,
            KeyAlgorithm::EcdsaP384 => Self::EcdsaP384Sha384,
            KeyAlgorithm::EcdsaP521 => Self::EcdsaP521Sha512,
            KeyAlgorithm::Ed25519 => Self::Ed25519,
            KeyAlgorithm::MlDsa(MlDsa::MlDsa44) => Self::MlDsa44,
            KeyAlgorithm::MlDsa(MlDsa::MlDsa65) => Self::MlDsa65,
            KeyAlgorithm::MlDsa(MlDsa::MlDsa87) => Self::MlDsa87,
        }
    }

    /// Returns whether a key of this kind can sign with the algorithm.
    #[must_use]
    pub const fn fits(self, key: KeyAlgorithm) -> bool {
        match self {
            Self::RsaPkcs1Sha256
            | Self::RsaPkcs1Sha384
            | Self::RsaPkcs1Sha512
            | Self::RsaPssSha256
            | Self::RsaPssSha384
            | Self::RsaPssSha512 => matches!(key, KeyAlgorithm::Rsa { .. }),
            Self::EcdsaP256Sha256 => matches!(key, KeyAlgorithm::EcdsaP256),
            Self::EcdsaP384Sha384 => matches!(key, KeyAlgorithm::EcdsaP384),
            Self::EcdsaP521Sha512 => matches!(key, KeyAlgorithm::EcdsaP521),
            Self::Ed25519 => matches!(key, KeyAlgorithm::Ed25519),
            Self::MlDsa44 => matches!(key, KeyAlgorithm::MlDsa(MlDsa::MlDsa44)),
            Self::MlDsa65 => matches!(key, KeyAlgorithm::MlDsa(MlDsa::MlDsa65)),
            Self::MlDsa87 => matches!(key, KeyAlgorithm::MlDsa(MlDsa::MlDsa87)),
        }
    }

    /// Returns the scheme, as an AlgorithmIdentifier names it.
    #[must_use]
    pub const fn scheme(self) -> SignatureScheme {
        match self {
            Self::RsaPkcs1Sha256 => SignatureScheme::RsaPkcs1(Hash::Sha256),
            Self::RsaPkcs1Sha384 => SignatureScheme::RsaPkcs1(Hash::Sha384),
            Self::RsaPkcs1Sha512 => SignatureScheme::RsaPkcs1(Hash::Sha512),
            Self::RsaPssSha256 => SignatureScheme::RsaPss(Hash::Sha256),
            Self::RsaPssSha384 => SignatureScheme::RsaPss(Hash::Sha384),
            Self::RsaPssSha512 => SignatureScheme::RsaPss(Hash::Sha512),
            Self::EcdsaP256Sha256 => SignatureScheme::Ecdsa(Hash::Sha256),
            Self::EcdsaP384Sha384 => SignatureScheme::Ecdsa(Hash::Sha384),
            Self::EcdsaP521Sha512 => SignatureScheme::Ecdsa(Hash::Sha512),
            Self::Ed25519 => SignatureScheme::Ed25519,
            Self::MlDsa44 => SignatureScheme::MlDsa(MlDsa::MlDsa44),
            Self::MlDsa65 => SignatureScheme::MlDsa(MlDsa::MlDsa65),
            Self::MlDsa87 => SignatureScheme::MlDsa(MlDsa::MlDsa87),
        }
    }

    /// Returns the hash that the caller applies before it calls the key, or `None` if the key signs the
    /// message itself.
    #[must_use]
    pub const fn pre_hash(self) -> Option<Hash> {
        match self.scheme() {
            SignatureScheme::RsaPkcs1(hash)
            | SignatureScheme::RsaPss(hash)
            | SignatureScheme::Ecdsa(hash) => Some(hash),
            SignatureScheme::Ed25519 | SignatureScheme::MlDsa(_) => None,
        }
    }
}

impl std::fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::RsaPkcs1Sha256 => "RSA PKCS#1 v1.5 with SHA-256",
            Self::RsaPkcs1Sha384 => "RSA PKCS#1 v1.5 with SHA-384",
            Self::RsaPkcs1Sha512 => "RSA PKCS#1 v1.5 with SHA-512",
            Self::RsaPssSha256 => "RSA-PSS with SHA-256",
            Self::RsaPssSha384 => "RSA-PSS with SHA-384",
            Self::RsaPssSha512 => "RSA-PSS with SHA-512",
            Self::EcdsaP256Sha256 => "ECDSA P-256 with SHA-256",
            Self::EcdsaP384Sha384 => "ECDSA P-384 with SHA-384",
            Self::EcdsaP521Sha512 => "ECDSA P-521 with SHA-512",
            Self::Ed25519 => "Ed25519",
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        })
    }
}

#[cfg(test)]
mod tests;
