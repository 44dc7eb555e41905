//! Signature algorithms, and the one door to a private key.

use std::{error::Error, future::Future, pin::Pin};

use aws_lc_rs::digest;
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{
            ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, ID_MGF_1, ID_RSASSA_PSS, ID_SHA_256,
            ID_SHA_384, ID_SHA_512, SHA_1_WITH_RSA_ENCRYPTION, SHA_256_WITH_RSA_ENCRYPTION,
            SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
        },
        rfc8410::ID_ED_25519,
    },
};
use der::{
    Decode as _, Encode as _, Sequence,
    asn1::{AnyRef, ContextSpecific, UintRef},
};
use der::{TagMode, TagNumber};
use spki::AlgorithmIdentifierRef;

use super::{
    Fault,
    key::{IssuerPublicKey, KeyAlgorithm},
};

/// The hash functions we sign with and verify; SHA-1 and shorter are not among them.
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

    fn digest(self, message: &[u8]) -> Vec<u8> {
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

    /// Octets of the digest, and of the salt of a PSS signature with it.
    const fn length(self) -> u8 {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// How a signature is made, without the kind of the key: what an AlgorithmIdentifier names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS; mask generation with the same hash, salt as long as the digest.
    RsaPss(Hash),
    /// ECDSA; the signature is DER Ecdsa-Sig-Value.
    Ecdsa(Hash),
    /// Ed25519 over the message itself.
    Ed25519,
}

/// Why an AlgorithmIdentifier names no scheme of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemeError {
    /// Not an AlgorithmIdentifier.
    #[error("the signature algorithm is not well encoded")]
    Encoding,
    /// MD5, SHA-1 or SHA-224.
    #[error("signature algorithm {0} uses a broken or short hash; sign with SHA-256, SHA-384 or SHA-512")]
    Weak(ObjectIdentifier),
    /// Unknown, or with parameters that its standard forbids.
    #[error(
        "signature algorithm {0} or its parameters are not supported; use RSA (PKCS#1 or PSS with salt as long as the hash), ECDSA with SHA-256, SHA-384 or SHA-512, or Ed25519"
    )]
    Unsupported(ObjectIdentifier),
}

impl SignatureScheme {
    /// Reads a DER AlgorithmIdentifier.
    ///
    /// # Errors
    ///
    /// It is malformed, weak, or not one of ours.
    pub fn parse(der: &[u8]) -> Result<Self, SchemeError> {
        let identifier = AlgorithmIdentifierRef::from_der(der).map_err(|_| SchemeError::Encoding)?;
        let oid = identifier.oid;
        let (scheme, fits) = match oid {
            SHA_256_WITH_RSA_ENCRYPTION => (Self::RsaPkcs1(Hash::Sha256), null_or_absent(identifier)),
            SHA_384_WITH_RSA_ENCRYPTION => (Self::RsaPkcs1(Hash::Sha384), null_or_absent(identifier)),
            SHA_512_WITH_RSA_ENCRYPTION => (Self::RsaPkcs1(Hash::Sha512), null_or_absent(identifier)),
            // RFC 5758, section 3.2: parameters MUST be absent.
            ECDSA_WITH_SHA_256 => (Self::Ecdsa(Hash::Sha256), identifier.parameters.is_none()),
            ECDSA_WITH_SHA_384 => (Self::Ecdsa(Hash::Sha384), identifier.parameters.is_none()),
            ECDSA_WITH_SHA_512 => (Self::Ecdsa(Hash::Sha512), identifier.parameters.is_none()),
            // RFC 8410, section 3: parameters MUST be absent.
            ID_ED_25519 => (Self::Ed25519, identifier.parameters.is_none()),
            ID_RSASSA_PSS => return pss_hash(identifier).map(Self::RsaPss),
            weak if WEAK.contains(&weak) => return Err(SchemeError::Weak(weak)),
            other => return Err(SchemeError::Unsupported(other)),
        };
        if fits { Ok(scheme) } else { Err(SchemeError::Unsupported(oid)) }
    }

    /// The DER AlgorithmIdentifier with the parameters its standard demands.
    ///
    /// # Errors
    ///
    /// Never for the schemes that exist; the encoder's type leaves the possibility.
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
        };
        AlgorithmIdentifierRef { oid, parameters }.to_der()
    }
}

/// RFC 4055, section 5: both MUST be accepted.
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

/// RSASSA-PSS-params (RFC 4055, section 3.1); the trailer field is left out, for it is the default.
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

fn pss_parameters(hash: Hash, outer_null: bool, inner_null: bool) -> der::Result<Vec<u8>> {
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

/// RFC 4055, section 2.1: the parameters of a hash identifier may be NULL or absent. Whatever else
/// differs from what we would write ourselves is not supported.
fn pss_hash(identifier: AlgorithmIdentifierRef<'_>) -> Result<Hash, SchemeError> {
    let unsupported = SchemeError::Unsupported(identifier.oid);
    let given = identifier
        .parameters
        .and_then(|parameters| parameters.to_der().ok())
        .ok_or(unsupported)?;
    Hash::ALL
        .into_iter()
        .find(|&hash| {
            [(true, true), (false, false), (true, false), (false, true)]
                .into_iter()
                .any(|(outer, inner)| pss_parameters(hash, outer, inner).is_ok_and(|ours| ours == given))
        })
        .ok_or(unsupported)
}

/// What an issuer signs with: a scheme bound to a kind of key.
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
    ];

    /// The algorithm that fits the strength of the key, the same as cert-manager's CA issuer chooses.
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
        }
    }

    /// Whether a key of this kind can sign so.
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
        }
    }

    /// The scheme, as an AlgorithmIdentifier names it.
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
        }
    }

    /// The hash that the caller of the key applies first; `None` where the key signs the message
    /// itself.
    #[must_use]
    pub const fn pre_hash(self) -> Option<Hash> {
        match self.scheme() {
            SignatureScheme::RsaPkcs1(hash) | SignatureScheme::RsaPss(hash) | SignatureScheme::Ecdsa(hash) => {
                Some(hash)
            }
            SignatureScheme::Ed25519 => None,
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
        })
    }
}

/// What a [`Signer`] signs. Made only by [`PreparedCertificate`](super::PreparedCertificate) and
/// [`Probe`](super::Probe), not clonable, spent by move.
#[derive(Debug)]
pub struct SigningInput {
    algorithm: SignatureAlgorithm,
    payload: Vec<u8>,
}

impl SigningInput {
    pub(super) fn new(algorithm: SignatureAlgorithm, message: &[u8]) -> Self {
        Self {
            algorithm,
            payload: algorithm
                .pre_hash()
                .map_or_else(|| message.to_vec(), |hash| hash.digest(message)),
        }
    }

    /// How to sign.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The digest for every algorithm with a [`pre_hash`](SignatureAlgorithm::pre_hash), else the
    /// message itself.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// The octets of a signatureValue; not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

/// `r || s` that cannot be a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a raw ECDSA signature must be r || s of equal, non-zero length, got {0} octets")]
pub struct RawSignatureError(usize);

/// Ecdsa-Sig-Value (RFC 3279, section 2.2.3).
#[derive(Sequence)]
struct EcdsaSigValue<'a> {
    r: UintRef<'a>,
    s: UintRef<'a>,
}

impl Signature {
    /// Takes the octets as a certificate carries them: RSA and Ed25519 as the token gives them, ECDSA
    /// as DER Ecdsa-Sig-Value.
    #[must_use]
    pub const fn from_octets(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// Converts the `r || s` of PKCS#11 (version 3.1, section 6.3.1) into DER Ecdsa-Sig-Value.
    ///
    /// # Errors
    ///
    /// The length is zero or odd.
    pub fn from_raw_ecdsa(octets: &[u8]) -> Result<Self, RawSignatureError> {
        let error = RawSignatureError(octets.len());
        if octets.is_empty() || octets.len() % 2 != 0 {
            return Err(error);
        }
        let (r, s) = octets.split_at(octets.len() / 2);
        EcdsaSigValue {
            r: UintRef::new(r).map_err(|_| error)?,
            s: UintRef::new(s).map_err(|_| error)?,
        }
        .to_der()
        .map(Self)
        .map_err(|_| error)
    }

    /// The octets.
    #[must_use]
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

/// Why a signer gave no signature.
#[derive(Debug, thiserror::Error)]
#[error("failed to sign with the issuer's key")]
pub struct SignError {
    source: Box<dyn Error + Send + Sync>,
    issuer: bool,
}

impl SignError {
    /// A fault that will pass by itself: overload, a deadline, a token that restarts.
    #[must_use]
    pub fn passing(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            issuer: false,
        }
    }

    /// A fault that a person must mend: no such key, a rejected PIN, a mechanism the token lacks.
    #[must_use]
    pub fn issuer(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            issuer: true,
        }
    }

    /// Who has to act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        if self.issuer { Fault::Issuer } else { Fault::Passing }
    }
}

/// The answer of a [`Signer`], boxed so that the trait can be an object.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Signature, SignError>> + Send + 'a>>;

/// Something that holds, or can reach, the issuer's private key.
pub trait Signer: Send + Sync {
    /// Signs the payload, which is already hashed where the algorithm says so (never hash it again),
    /// and returns the octets of signatureValue: ECDSA as DER Ecdsa-Sig-Value.
    ///
    /// May wait for a token. Dropping the future gives the answer up; the token may still sign.
    /// The result is verified by the caller under the issuer's certificate.
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for algorithm in SignatureAlgorithm::ALL {
            let der = algorithm.scheme().to_der().unwrap();
            assert_eq!(SignatureScheme::parse(&der), Ok(algorithm.scheme()));
        }
    }

    #[test]
    fn pss_with_sha_256_is_encoded_as_the_baseline_requirements_print_it() {
        // CA/Browser Forum TLS BR, section 7.1.3.2.1.
        let expected = "304106092a864886f70d01010a3034a00f300d0609608648016503040201\
                        0500a11c301a06092a864886f70d010108300d0609608648016503040201\
                        0500a203020120";
        let der = SignatureScheme::RsaPss(Hash::Sha256).to_der().unwrap();
        assert_eq!(hex::encode(der), expected);
    }

    #[test]
    fn pss_parameters_without_null_are_read_and_other_salts_are_not() {
        let identifier = |parameters: &[u8]| {
            AlgorithmIdentifierRef {
                oid: ID_RSASSA_PSS,
                parameters: Some(AnyRef::from_der(parameters).unwrap()),
            }
            .to_der()
            .unwrap()
        };
        let bare = pss_parameters(Hash::Sha384, false, false).unwrap();
        assert_eq!(
            SignatureScheme::parse(&identifier(&bare)),
            Ok(SignatureScheme::RsaPss(Hash::Sha384))
        );
        let mut salted = bare;
        *salted.last_mut().unwrap() = 20;
        assert_eq!(
            SignatureScheme::parse(&identifier(&salted)),
            Err(SchemeError::Unsupported(ID_RSASSA_PSS))
        );
    }

    #[test]
    fn raw_ecdsa_becomes_minimal_positive_integers() {
        let mut raw = vec![0; 64];
        raw[31] = 0x80;
        raw[63] = 1;
        let signature = Signature::from_raw_ecdsa(&raw).unwrap();
        assert_eq!(signature.as_octets(), [0x30, 7, 2, 2, 0, 0x80, 2, 1, 1]);
        assert!(Signature::from_raw_ecdsa(&raw[1..]).is_err());
        assert!(Signature::from_raw_ecdsa(&[]).is_err());
    }

    #[test]
    fn a_payload_is_the_digest_but_for_ed25519() {
        for &algorithm in SignatureAlgorithm::ALL {
            let input = SigningInput::new(algorithm, b"message");
            match algorithm.pre_hash() {
                Some(hash) => assert_eq!(input.payload().len(), usize::from(hash.length())),
                None => assert_eq!(input.payload(), b"message"),
            }
        }
    }
}
