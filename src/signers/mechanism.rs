//! Maps signature algorithms to PKCS#11 mechanisms.

use hsm::{Hash, Mechanism};

use crate::issuance::SignatureAlgorithm;

/// Returns the mechanism for a signature algorithm. A mechanism with a hash takes the digest, not the message.
#[must_use]
pub fn mechanism(algorithm: SignatureAlgorithm) -> Mechanism {
    match algorithm {
        SignatureAlgorithm::RsaPkcs1Sha256 => Mechanism::RsaPkcs1(Hash::Sha256),
        SignatureAlgorithm::RsaPkcs1Sha384 => Mechanism::RsaPkcs1(Hash::Sha384),
        SignatureAlgorithm::RsaPkcs1Sha512 => Mechanism::RsaPkcs1(Hash::Sha512),
        SignatureAlgorithm::RsaPssSha256 => Mechanism::RsaPss(Hash::Sha256),
        SignatureAlgorithm::RsaPssSha384 => Mechanism::RsaPss(Hash::Sha384),
        SignatureAlgorithm::RsaPssSha512 => Mechanism::RsaPss(Hash::Sha512),
        SignatureAlgorithm::EcdsaP256Sha256 => Mechanism::Ecdsa(Hash::Sha256),
        SignatureAlgorithm::EcdsaP384Sha384 => Mechanism::Ecdsa(Hash::Sha384),
        SignatureAlgorithm::EcdsaP521Sha512 => Mechanism::Ecdsa(Hash::Sha512),
        SignatureAlgorithm::Ed25519 => Mechanism::Ed25519,
        SignatureAlgorithm::MlDsa44 | SignatureAlgorithm::MlDsa65 | SignatureAlgorithm::MlDsa87 => {
            Mechanism::MlDsa
        }
    }
}
