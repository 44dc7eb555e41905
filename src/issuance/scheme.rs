//! Algorithm identifiers: the signature schemes that we read and write.

use aws_lc_rs::{digest, signature as lc};
use const_oid::{
    ObjectIdentifier,
    db::{
        fips204::{ID_ML_DSA_44, ID_ML_DSA_65, ID_ML_DSA_87},
        rfc5912::{
            ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_MGF_1, ID_RSASSA_PSS,
            ID_SHA_256, ID_SHA_384, ID_SHA_512, SHA_1_WITH_RSA_ENCRYPTION,
            SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
        },
        rfc8410::ID_ED_25519,
    },
};
use der::{
    Decode as _, Encode as _, Sequence, TagMode, TagNumber,
    asn1::{AnyRef, ContextSpecific},
};
use spki::AlgorithmIdentifierRef;

use super::{oid::Oid, raw};

/// The parameter sets of ML-DSA (FIPS 204, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MlDsa {
    /// ML-DSA-44.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

/// The hash functions that we sign and verify with. SHA-1 and shorter hashes are not supported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Every hash.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the hash of the message.
    #[must_use]
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha384 => &digest::SHA384,
            Self::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, message).as_ref().to_vec()
    }

    const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::Sha256 => ID_SHA_256,
            Self::Sha384 => ID_SHA_384,
            Self::Sha512 => ID_SHA_512,
        }
    }

    /// Returns the number of octets of the digest, which is also the length of the salt in PSS signatures.
    pub(super) const fn length(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Signature scheme as an AlgorithmIdentifier names it, without the size or curve of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS. Mask generation uses the same hash, and the salt is as long as the digest.
    RsaPss(Hash),
    /// ECDSA; the signature is DER Ecdsa-Sig-Value.
    Ecdsa(Hash),
    /// Ed25519 over the message itself.
    Ed25519,
    /// ML-DSA over the message itself with an empty context; RFC 9881, section 3 forbids HashML-DSA.
    MlDsa(MlDsa),
}

/// Reason why an AlgorithmIdentifier is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// Not an AlgorithmIdentifier.
    #[error("the signature algorithm is not well encoded")]
    Encoding,
    /// MD5, SHA-1 or SHA-224.
    #[error(
        "signature algorithm {0} uses a broken or short hash; sign with SHA-256, SHA-384 or SHA-512"
    )]
    Weak(Oid),
    /// An unknown algorithm, or one with parameters that we do not support.
    #[error(
        "signature algorithm {0} or its parameters are not supported; use RSA (PKCS#1 or PSS with salt as long as the hash), ECDSA with SHA-256, SHA-384 or SHA-512, Ed25519, or ML-DSA"
    )]
    Unsupported(Oid),
}

impl SignatureScheme {
    /// Parses a DER AlgorithmIdentifier.
    ///
    /// # Errors
    ///
    /// Fails if the identifier is malformed, or if its algorithm is weak or not supported.
    pub fn parse(der: &[u8]) -> Result<Self, SchemeError> {
        let identifier = AlgorithmIdentifierRef::from_der(der).map_err(|_| unknown(der))?;
        let oid = identifier.oid;
        let (scheme, fits) = match oid {
            SHA_256_WITH_RSA_ENCRYPTION => {
                (Self::RsaPkcs1(Hash::Sha256), null_or_absent(identifier))
            }
            SHA_384_WITH_RSA_ENCRYPTION => {
                (Self::RsaPkcs1(Hash::Sha384), null_or_absent(identifier))
            }
            SHA_512_WITH_RSA_ENCRYPTION => {
                (Self::RsaPkcs1(Hash::Sha512), null_or_absent(identifier))
            }
            // RFC 5758, section 3.2: parameters MUST be absent.
            ECDSA_WITH_SHA_256 => (Self::Ecdsa(Hash::Sha256), identifier.parameters.is_none()),
            ECDSA_WITH_SHA_384 => (Self::Ecdsa(Hash::Sha384), identifier.parameters.is_none()),
            ECDSA_WITH_SHA_512 => (Self::Ecdsa(Hash::Sha512), identifier.parameters.is_none()),
            // RFC 8410, section 3: parameters MUST be absent.
            ID_ED_25519 => (Self::Ed25519, identifier.parameters.is_none()),
            ID_RSASSA_PSS => return pss_hash(identifier).map(Self::RsaPss),
            weak if WEAK.contains(&weak) => return Err(SchemeError::Weak(weak.into())),
            // RFC 9881, section 3: parameters MUST be absent.
            other => match MlDsa::ALL.into_iter().find(|set| set.oid() == other) {
                Some(set) => (Self::MlDsa(set), identifier.parameters.is_none()),
                None => return Err(SchemeError::Unsupported(other.into())),
            },
        };
        if fits {
            Ok(scheme)
        } else {
            Err(SchemeError::Unsupported(oid.into()))
        }
    }

    /// Encodes the AlgorithmIdentifier as DER, with the parameters that its standard requires.
    ///
    /// # Errors
    ///
    /// Does not fail for any existing scheme, although the encoder returns a `Result`.
    pub fn to_der(self) -> der::Result<Vec<u8>> {
        let pss;
        let (oid, parameters) = match self {
            // RFC 4055, section 5: parameters MUST be NULL.
            Self::RsaPkcs1(Hash::Sha256) => (SHA_256_WITH_RSA_ENCRYPTION, Some(AnyRef::NULL)),
            Self::RsaPkcs1(Hash::Sha384) => (SHA_384_WITH_RSA_ENCRYPTION, Some(AnyRef::NULL)),
            Self::RsaPkcs1(Hash::Sha512) => (SHA_512_WITH_RSA_ENCRYPTION, Some(AnyRef::NULL)),
            Self::RsaPss(hash) => {
                pss = pss_parameters(hash, true, true)?;
                (ID_RSASSA_PSS, Some(AnyRef::from_der(&pss)?))
            }
            Self::Ecdsa(Hash::Sha256) => (ECDSA_WITH_SHA_256, None),
            Self::Ecdsa(Hash::Sha384) => (ECDSA_WITH_SHA_384, None),
            Self::Ecdsa(Hash::Sha512) => (ECDSA_WITH_SHA_512, None),
            Self::Ed25519 => (ID_ED_25519, None),
            Self::MlDsa(set) => (set.oid(), None),
        };
        AlgorithmIdentifierRef { oid, parameters }.to_der()
    }
}

/// Returns whether the parameters are NULL or absent. RFC 4055, section 5: both MUST be accepted.
fn null_or_absent(identifier: AlgorithmIdentifierRef<'_>) -> bool {
    identifier.parameters.is_none_or(AnyRef::is_null)
}

const WEAK: [ObjectIdentifier; 5] = [
    const_oid::db::rfc5912::MD_5_WITH_RSA_ENCRYPTION,
    SHA_1_WITH_RSA_ENCRYPTION,
    const_oid::db::rfc5912::SHA_224_WITH_RSA_ENCRYPTION,
    const_oid::db::rfc5912::ECDSA_WITH_SHA_224,
    // ecdsa-with-SHA1 (RFC 3279, section 2.2.3).
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
];

/// RSASSA-PSS-params (RFC 4055, section 3.1), without the trailer field: we use only its default, which DER leaves out.
#[derive(Sequence)]
struct PssParameters<'a> {
    hash: ContextSpecific<AlgorithmIdentifierRef<'a>>,
    mask_generation: ContextSpecific<AlgorithmIdentifierRef<'a>>,
    salt_length: ContextSpecific<u8>,
}

const fn explicit<T>(number: u32, value: T) -> ContextSpecific<T> {
    ContextSpecific {
        tag_number: TagNumber(number),
        tag_mode: TagMode::Explicit,
        value,
    }
}

pub(super) fn pss_parameters(
    hash: Hash,
    outer_null: bool,
    inner_null: bool,
) -> der::Result<Vec<u8>> {
    let identifier = |null: bool| AlgorithmIdentifierRef {
        oid: hash.oid(),
        parameters: null.then_some(AnyRef::NULL),
    };
    let inner = identifier(inner_null).to_der()?;
    PssParameters {
        hash: explicit(0, identifier(outer_null)),
        mask_generation: explicit(
            1,
            AlgorithmIdentifierRef {
                oid: ID_MGF_1,
                parameters: Some(AnyRef::from_der(&inner)?),
            },
        ),
        salt_length: explicit(2, hash.length()),
    }
    .to_der()
}

/// Returns why an AlgorithmIdentifier cannot be used: it is malformed, or its identifier has a large arc.
fn unknown(der: &[u8]) -> SchemeError {
    raw::algorithm(der).map_or(SchemeError::Encoding, SchemeError::Unsupported)
}

/// Finds the hash of RSASSA-PSS parameters. RFC 4055, section 2.1: the parameters of a hash identifier may be NULL or
/// absent. Parameters that differ from our own encoding in any other way are not supported.
fn pss_hash(identifier: AlgorithmIdentifierRef<'_>) -> Result<Hash, SchemeError> {
    let unsupported = SchemeError::Unsupported(identifier.oid.into());
    let given = identifier
        .parameters
        .and_then(|parameters| parameters.to_der().ok())
        .ok_or_else(|| unsupported.clone())?;
    Hash::ALL
        .into_iter()
        .find(|&hash| {
            [(true, true), (false, false), (true, false), (false, true)]
                .into_iter()
                .any(|(outer, inner)| {
                    pss_parameters(hash, outer, inner).is_ok_and(|ours| ours == given)
                })
        })
        .ok_or(unsupported)
}

impl MlDsa {
    /// Every parameter set.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// Returns the OID of both key and signature (RFC 9881, section 2).
    pub(super) const fn oid(self) -> ObjectIdentifier {
        match self {
            Self::MlDsa44 => ID_ML_DSA_44,
            Self::MlDsa65 => ID_ML_DSA_65,
            Self::MlDsa87 => ID_ML_DSA_87,
        }
    }

    /// Returns the number of octets of a public key (FIPS 204, table 2).
    pub(super) const fn key_length(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }

    /// Returns the number of octets of a signature (FIPS 204, table 2).
    pub(super) const fn signature_length(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    pub(super) const fn verification(self) -> &'static lc::PqdsaVerificationAlgorithm {
        match self {
            Self::MlDsa44 => &lc::ML_DSA_44,
            Self::MlDsa65 => &lc::ML_DSA_65,
            Self::MlDsa87 => &lc::ML_DSA_87,
        }
    }
}

impl std::fmt::Display for MlDsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::MlDsa44 => "ML-DSA-44",
            Self::MlDsa65 => "ML-DSA-65",
            Self::MlDsa87 => "ML-DSA-87",
        })
    }
}
