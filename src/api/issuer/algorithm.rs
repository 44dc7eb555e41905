//! `spec.signatureAlgorithm`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::issuance;

/// Signature algorithm of certificates. The names are cert-manager's, if it has one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
pub enum SignatureAlgorithm {
    /// The algorithm that fits the key.
    #[default]
    Auto,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    SHA256WithRSA,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    SHA384WithRSA,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    SHA512WithRSA,
    /// RSASSA-PSS with SHA-256, salt of 32 octets.
    SHA256WithRSAPSS,
    /// RSASSA-PSS with SHA-384, salt of 48 octets.
    SHA384WithRSAPSS,
    /// RSASSA-PSS with SHA-512, salt of 64 octets.
    SHA512WithRSAPSS,
    /// ECDSA on P-256.
    ECDSAWithSHA256,
    /// ECDSA on P-384.
    ECDSAWithSHA384,
    /// ECDSA on P-521.
    ECDSAWithSHA512,
    /// Ed25519.
    PureEd25519,
    /// ML-DSA-44 (RFC 9881).
    MLDSA44,
    /// ML-DSA-65 (RFC 9881).
    MLDSA65,
    /// ML-DSA-87 (RFC 9881).
    MLDSA87,
}

impl SignatureAlgorithm {
    /// Returns the named algorithm; `None` for Auto.
    #[must_use]
    pub const fn explicit(self) -> Option<issuance::SignatureAlgorithm> {
        use issuance::SignatureAlgorithm as Explicit;
        Some(match self {
            Self::Auto => return None,
            Self::SHA256WithRSA => Explicit::RsaPkcs1Sha256,
            Self::SHA384WithRSA => Explicit::RsaPkcs1Sha384,
            Self::SHA512WithRSA => Explicit::RsaPkcs1Sha512,
            Self::SHA256WithRSAPSS => Explicit::RsaPssSha256,
            Self::SHA384WithRSAPSS => Explicit::RsaPssSha384,
            Self::SHA512WithRSAPSS => Explicit::RsaPssSha512,
            Self::ECDSAWithSHA256 => Explicit::EcdsaP256Sha256,
            Self::ECDSAWithSHA384 => Explicit::EcdsaP384Sha384,
            Self::ECDSAWithSHA512 => Explicit::EcdsaP521Sha512,
            Self::PureEd25519 => Explicit::Ed25519,
            Self::MLDSA44 => Explicit::MlDsa44,
            Self::MLDSA65 => Explicit::MlDsa65,
            Self::MLDSA87 => Explicit::MlDsa87,
        })
    }
}
