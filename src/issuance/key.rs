//! Public keys: which of them we accept, and how signatures are verified under them.
//!
//! The cryptographic library accepts hybrid and compressed points, the exponent 3 and small-order Ed25519 keys, for
//! which anybody can forge signatures. The policy here rejects them. It runs before any signature is checked, so that a
//! short key is reported as short and not as a wrong signature.

use aws_lc_rs::{digest, signature as lc};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION},
        rfc8410::ID_ED_25519,
    },
};
use der::{Decode as _, Reader as _, Tag, asn1::BitStringRef, flagset::FlagSet};
use spki::AlgorithmIdentifierRef;
use x509_cert::ext::pkix::KeyUsages;

use super::{
    oid::Oid,
    raw::{self, tlv, whole},
    refusal::RefusalReason,
    scheme::{Hash, MlDsa, SignatureScheme},
};

/// Bits of the smallest RSA modulus that we certify or issue under.
const RSA_MIN_BITS: usize = 2048;
/// Bits of the largest RSA modulus that the library verifies with.
const RSA_MAX_BITS: usize = 8192;

mod factors;
mod policy;

/// The kind of a public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyAlgorithm {
    /// RSA with a modulus of this many bits.
    Rsa {
        /// Length of the modulus in bits.
        bits: usize,
    },
    /// ECDSA on NIST P-256 (secp256r1).
    EcdsaP256,
    /// ECDSA on NIST P-384 (secp384r1).
    EcdsaP384,
    /// ECDSA on NIST P-521 (secp521r1).
    EcdsaP521,
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ML-DSA (FIPS 204).
    MlDsa(MlDsa),
}

impl KeyAlgorithm {
    /// Returns the bits of keyUsage that a key of this kind may have: RFC 3279, section 2.3.1 and RFC 4055 for RSA,
    /// RFC 8813, section 3 for ECDSA, RFC 9295, section 3 for Ed25519, RFC 9881, section 5 for ML-DSA.
    #[must_use]
    pub fn usages(self) -> FlagSet<KeyUsages> {
        use KeyUsages::*;
        let signing = DigitalSignature | NonRepudiation | KeyCertSign | CRLSign;
        match self {
            Self::Rsa { .. } => signing | KeyEncipherment | DataEncipherment,
            Self::EcdsaP256 | Self::EcdsaP384 | Self::EcdsaP521 => {
                signing | KeyAgreement | EncipherOnly | DecipherOnly
            }
            Self::Ed25519 | Self::MlDsa(_) => signing,
        }
    }

    /// Returns the number of octets of the longest signatureValue that such a key makes.
    #[must_use]
    pub const fn signature_length(self) -> usize {
        match self {
            Self::Rsa { bits } => bits.div_ceil(8),
            // Ecdsa-Sig-Value: two INTEGERs, each with a header and possibly a leading zero.
            Self::EcdsaP256 => 72,
            Self::EcdsaP384 => 104,
            Self::EcdsaP521 => 139,
            Self::Ed25519 => 64,
            Self::MlDsa(set) => set.signature_length(),
        }
    }
}

impl std::fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::EcdsaP256 => f.write_str("ECDSA P-256"),
            Self::EcdsaP384 => f.write_str("ECDSA P-384"),
            Self::EcdsaP521 => f.write_str("ECDSA P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::MlDsa(set) => write!(f, "{set}"),
        }
    }
}

/// Reason why a public key is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The SubjectPublicKeyInfo, or the key inside, is not well encoded.
    #[error("the public key is not well encoded")]
    Encoding(#[source] der::Error),
    /// The algorithm's parameters differ from those that its standard requires.
    #[error("the public key algorithm {0} has wrong parameters")]
    Parameters(ObjectIdentifier),
    /// A kind of key that we do not certify.
    #[error(
        "public key algorithm {0} is not supported; use RSA, ECDSA on P-256, P-384 or P-521, Ed25519, or ML-DSA"
    )]
    Algorithm(Oid),
    /// A curve that we do not certify.
    #[error("elliptic curve {0} is not supported; use P-256, P-384 or P-521")]
    Curve(Oid),
    /// A compressed or hybrid point, or one of the wrong size.
    #[error("the elliptic curve point must be uncompressed (04 || x || y)")]
    PointForm,
    /// A BIT STRING whose length is not a multiple of eight bits.
    #[error("the BIT STRING of the public key must have no unused bits")]
    UnusedBits,
    /// A point that is not on the curve, or a key that the cryptographic library refuses for another reason.
    #[error("the public key is not a valid {0} key")]
    Invalid(KeyAlgorithm),
    /// A modulus that is too short.
    #[error("the RSA key has {0} bits; use at least {RSA_MIN_BITS}")]
    ModulusShort(usize),
    /// A modulus that is too long.
    #[error("the RSA key has {0} bits; use at most {RSA_MAX_BITS}")]
    ModulusLong(usize),
    /// An even modulus, or one whose length is not a multiple of eight bits.
    #[error("the RSA modulus must be odd and a multiple of 8 bits long")]
    Modulus,
    /// An exponent other than 65537.
    #[error("the RSA public exponent must be 65537")]
    Exponent,
    /// A modulus with the structure of CVE-2017-15361.
    #[error(
        "the RSA key was made by a library with the ROCA weakness (CVE-2017-15361) and can be factored; make a new key with another library"
    )]
    Roca,
    /// A modulus with a factor that trial division finds.
    #[error("the RSA modulus is divisible by {0}; make a new key")]
    SmallFactor(u32),
    /// A modulus whose factors are so close to each other that Fermat's method finds them.
    #[error(
        "the two factors of the RSA modulus are so close to each other that it can be factored; make a new key"
    )]
    CloseFactors,
    /// A point of small order. Anybody can forge signatures that verify under it.
    #[error("the Ed25519 key has a small order: anybody can make signatures that verify under it")]
    SmallOrder,
}

impl KeyError {
    /// Returns the reason under which a request with this key is refused.
    #[must_use]
    pub const fn reason(&self) -> RefusalReason {
        match self {
            Self::Encoding(_)
            | Self::Parameters(_)
            | Self::PointForm
            | Self::UnusedBits
            | Self::Invalid(_)
            | Self::Modulus => RefusalReason::InvalidKey,
            Self::Algorithm(_) | Self::Curve(_) => RefusalReason::UnsupportedKey,
            Self::ModulusShort(_)
            | Self::Exponent
            | Self::Roca
            | Self::SmallFactor(_)
            | Self::CloseFactors
            | Self::SmallOrder => RefusalReason::WeakKey,
            Self::ModulusLong(_) => RefusalReason::KeyTooLarge,
        }
    }
}

/// A signature that does not verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify under the {key} key")]
pub struct BadSignature {
    key: KeyAlgorithm,
}

/// A public key that passed the key policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    /// The content of the BIT STRING, such as an RSAPublicKey or an elliptic curve point.
    octets: Vec<u8>,
}

impl PublicKey {
    /// Decodes a SubjectPublicKeyInfo (RFC 5280, section 4.1.2.7) and applies the key policy.
    ///
    /// # Errors
    ///
    /// Returns the first rule that the key breaks.
    pub fn parse(spki: &[u8]) -> Result<Self, KeyError> {
        let (identifier, octets) = whole(spki, |reader| {
            reader.sequence(|reader| {
                let identifier = tlv(reader, Tag::Sequence)?;
                Ok::<_, der::Error>((identifier, BitStringRef::decode(reader)?))
            })
        })
        .map_err(KeyError::Encoding)?;
        let identifier = AlgorithmIdentifierRef::from_der(identifier).map_err(|error| {
            // No algorithm that we support has an identifier with a large arc.
            raw::algorithm(identifier).map_or(KeyError::Encoding(error), KeyError::Algorithm)
        })?;
        let octets = octets.as_bytes().ok_or(KeyError::UnusedBits)?;
        let algorithm = match identifier.oid {
            RSA_ENCRYPTION => policy::rsa(identifier, octets)?,
            ID_EC_PUBLIC_KEY => policy::elliptic(identifier, octets)?,
            ID_ED_25519 => policy::ed25519(identifier, octets)?,
            other => match MlDsa::ALL.into_iter().find(|set| set.oid() == other) {
                Some(set) => policy::ml_dsa(set, identifier, octets)?,
                None => return Err(KeyError::Algorithm(other.into())),
            },
        };
        let key = Self {
            algorithm,
            spki: spki.to_vec(),
            octets: octets.to_vec(),
        };
        // Any scheme of the algorithm works here: parsing reads only the key.
        lc::UnparsedPublicKey::new(key.some_verification(), octets)
            .parse()
            .map_err(|_| KeyError::Invalid(algorithm))?;
        Ok(key)
    }

    /// Returns the kind of the key.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    /// Returns the DER of the SubjectPublicKeyInfo as it was given.
    #[must_use]
    pub fn spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// Computes the key identifier of RFC 7093, section 2, method 1: the leftmost 160 bits of the SHA-256
    /// hash of the BIT STRING's content.
    #[must_use]
    pub fn key_identifier(&self) -> Vec<u8> {
        let hash = digest::digest(&digest::SHA256, &self.octets);
        hash.as_ref().iter().copied().take(20).collect()
    }

    /// Verifies a signature over `message`, which the caller does not hash. ECDSA signatures are DER Ecdsa-Sig-Value
    /// (RFC 3279, section 2.2.3).
    ///
    /// # Errors
    ///
    /// Fails if the scheme does not fit the key, or if the signature is wrong.
    pub fn verify(
        &self,
        scheme: SignatureScheme,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let bad = BadSignature {
            key: self.algorithm,
        };
        let verification = self.verification(scheme).ok_or(bad)?;
        lc::UnparsedPublicKey::new(verification, &self.octets)
            .verify(message, signature)
            .map_err(|_| bad)
    }

    fn verification(
        &self,
        scheme: SignatureScheme,
    ) -> Option<&'static dyn lc::VerificationAlgorithm> {
        use {Hash::*, KeyAlgorithm as Key, SignatureScheme as Scheme};
        Some(match (self.algorithm, scheme) {
            (Key::Rsa { .. }, Scheme::RsaPkcs1(Sha256)) => &lc::RSA_PKCS1_2048_8192_SHA256,
            (Key::Rsa { .. }, Scheme::RsaPkcs1(Sha384)) => &lc::RSA_PKCS1_2048_8192_SHA384,
            (Key::Rsa { .. }, Scheme::RsaPkcs1(Sha512)) => &lc::RSA_PKCS1_2048_8192_SHA512,
            (Key::Rsa { .. }, Scheme::RsaPss(Sha256)) => &lc::RSA_PSS_2048_8192_SHA256,
            (Key::Rsa { .. }, Scheme::RsaPss(Sha384)) => &lc::RSA_PSS_2048_8192_SHA384,
            (Key::Rsa { .. }, Scheme::RsaPss(Sha512)) => &lc::RSA_PSS_2048_8192_SHA512,
            (Key::EcdsaP256, Scheme::Ecdsa(Sha256)) => &lc::ECDSA_P256_SHA256_ASN1,
            (Key::EcdsaP256, Scheme::Ecdsa(Sha384)) => &lc::ECDSA_P256_SHA384_ASN1,
            (Key::EcdsaP256, Scheme::Ecdsa(Sha512)) => &lc::ECDSA_P256_SHA512_ASN1,
            (Key::EcdsaP384, Scheme::Ecdsa(Sha256)) => &lc::ECDSA_P384_SHA256_ASN1,
            (Key::EcdsaP384, Scheme::Ecdsa(Sha384)) => &lc::ECDSA_P384_SHA384_ASN1,
            (Key::EcdsaP384, Scheme::Ecdsa(Sha512)) => &lc::ECDSA_P384_SHA512_ASN1,
            (Key::EcdsaP521, Scheme::Ecdsa(Sha256)) => &lc::ECDSA_P521_SHA256_ASN1,
            (Key::EcdsaP521, Scheme::Ecdsa(Sha384)) => &lc::ECDSA_P521_SHA384_ASN1,
            (Key::EcdsaP521, Scheme::Ecdsa(Sha512)) => &lc::ECDSA_P521_SHA512_ASN1,
            (Key::Ed25519, Scheme::Ed25519) => &lc::ED25519,
            (Key::MlDsa(key), Scheme::MlDsa(set)) if key == set => set.verification(),
            (
                Key::Rsa { .. }
                | Key::EcdsaP256
                | Key::EcdsaP384
                | Key::EcdsaP521
                | Key::Ed25519
                | Key::MlDsa(_),
                Scheme::RsaPkcs1(_)
                | Scheme::RsaPss(_)
                | Scheme::Ecdsa(_)
                | Scheme::Ed25519
                | Scheme::MlDsa(_),
            ) => return None,
        })
    }

    fn some_verification(&self) -> &'static dyn lc::VerificationAlgorithm {
        match self.algorithm {
            KeyAlgorithm::Rsa { .. } => &lc::RSA_PKCS1_2048_8192_SHA256,
            KeyAlgorithm::EcdsaP256 => &lc::ECDSA_P256_SHA256_ASN1,
            KeyAlgorithm::EcdsaP384 => &lc::ECDSA_P384_SHA384_ASN1,
            KeyAlgorithm::EcdsaP521 => &lc::ECDSA_P521_SHA512_ASN1,
            KeyAlgorithm::Ed25519 => &lc::ED25519,
            KeyAlgorithm::MlDsa(set) => set.verification(),
        }
    }
}

/// The public key of an issuing certificate. It has its own type, so that the compiler does not accept a
/// subject's key in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerPublicKey(PublicKey);

impl IssuerPublicKey {
    pub(super) const fn new(key: PublicKey) -> Self {
        Self(key)
    }

    /// Returns the key itself.
    #[must_use]
    pub const fn key(&self) -> &PublicKey {
        &self.0
    }

    /// Returns the kind of the key.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        self.0.algorithm()
    }
}

#[cfg(test)]
mod tests;
