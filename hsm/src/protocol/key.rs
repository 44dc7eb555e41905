//! Keys: how to select, name and use them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Selector of a private key. Every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeySelector {
    /// `CKA_LABEL`.
    pub label: Option<String>,
    /// `CKA_ID`.
    pub id: Option<Vec<u8>>,
    /// DER `SubjectPublicKeyInfo` of the key's certificate. A key whose public half is known to differ never matches; a
    /// key whose public half the token does not show matches by label or id alone.
    pub public_key: Option<Vec<u8>>,
}

/// Label and id of a key, for messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyName {
    /// `CKA_LABEL`; octets that are not UTF-8 are replaced.
    pub label: String,
    /// `CKA_ID`.
    pub id: Vec<u8>,
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} (id ", self.label)?;
        self.id
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))?;
        f.write_str(")")
    }
}

/// Identity of a private key, by which it is found again after a restart of the token or the worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyIdentity {
    /// `CKA_LABEL`, as stored.
    pub label: Vec<u8>,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// Type and size.
    pub algorithm: KeyAlgorithm,
    /// RSA: the modulus without leading zeros. Elliptic curves: the point, unwrapped. ML-DSA: the public key.
    /// `None` where the token does not show it.
    pub public: Option<Vec<u8>>,
}

impl KeyIdentity {
    /// Returns label and id for messages.
    #[must_use]
    pub fn name(&self) -> KeyName {
        KeyName {
            label: String::from_utf8_lossy(&self.label).into_owned(),
            id: self.id.clone(),
        }
    }
}

/// Key types that can sign certificates here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyAlgorithm {
    /// RSA.
    Rsa {
        /// Length of the modulus in bits.
        bits: u32,
    },
    /// ECDSA on a named curve.
    Ec(Curve),
    /// Ed25519 (RFC 8410).
    Ed25519,
    /// ML-DSA (FIPS 204, RFC 9881).
    MlDsa(MlDsa),
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa { bits } => write!(f, "RSA-{bits}"),
            Self::Ec(Curve::P256) => f.write_str("P-256"),
            Self::Ec(Curve::P384) => f.write_str("P-384"),
            Self::Ec(Curve::P521) => f.write_str("P-521"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::MlDsa(MlDsa::MlDsa44) => f.write_str("ML-DSA-44"),
            Self::MlDsa(MlDsa::MlDsa65) => f.write_str("ML-DSA-65"),
            Self::MlDsa(MlDsa::MlDsa87) => f.write_str("ML-DSA-87"),
        }
    }
}

/// Parameter sets of ML-DSA (FIPS 204, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum MlDsa {
    /// ML-DSA-44.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

impl MlDsa {
    /// Length of a signature in octets (FIPS 204, table 2).
    #[must_use]
    pub const fn signature_octets(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// Length of a public key in octets (FIPS 204, table 2).
    #[must_use]
    pub const fn public_octets(self) -> usize {
        match self {
            Self::MlDsa44 => 1312,
            Self::MlDsa65 => 1952,
            Self::MlDsa87 => 2592,
        }
    }
}

/// NIST curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    /// Length in octets of one coordinate and of each half of a raw signature.
    #[must_use]
    pub const fn field_octets(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// Attributes that tell how well a key is protected; `None` where the token does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAttributes {
    /// `CKA_SENSITIVE`.
    pub sensitive: Option<bool>,
    /// `CKA_EXTRACTABLE`.
    pub extractable: Option<bool>,
    /// `CKA_NEVER_EXTRACTABLE`.
    pub never_extractable: Option<bool>,
    /// `CKA_LOCAL`: generated on this token.
    pub local: Option<bool>,
    /// `CKA_ALWAYS_AUTHENTICATE`.
    pub always_authenticate: Option<bool>,
    /// `CKA_ALWAYS_SENSITIVE`.
    pub always_sensitive: Option<bool>,
    /// `CKA_SIGN`; a key with `false` is never found.
    pub sign: Option<bool>,
    /// RSA: length of the modulus in bits.
    pub modulus_bits: Option<u32>,
}

/// Number of a key on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNumber(pub u32);

/// Answer to [`Ask::FindKey`](super::Ask::FindKey): the one key that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundKey {
    /// Number for signing on this connection.
    pub number: KeyNumber,
    /// Identity for finding the key again on another connection.
    pub identity: KeyIdentity,
    /// How the key is protected.
    pub attributes: KeyAttributes,
    /// Mechanisms that the token claims for such keys (`C_GetMechanismInfo`); empty where it does not tell. Only a
    /// signature is proof.
    pub mechanisms: Vec<Mechanism>,
}

/// Key that [`Ask::FindKey`](super::Ask::FindKey) looks for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum KeyQuery {
    /// The one key that a selector describes.
    Selected(KeySelector),
    /// The same key that was found before.
    Again(KeyIdentity),
}

/// Hash functions of signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of a digest in octets.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// Mechanism of a signature. The payload is the digest by the named hash, unless a variant says otherwise;
/// the worker adds `DigestInfo` and DER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mechanism {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).
    RsaPkcs1(Hash),
    /// RSASSA-PSS, MGF1 with the same hash, salt as long as the digest (RFC 4055, section 3.1).
    RsaPss(Hash),
    /// ECDSA; the signature is a DER `ECDSA-Sig-Value` (RFC 3279, section 2.2.3).
    Ecdsa(Hash),
    /// As [`Self::RsaPkcs1`], but the token hashes: the payload is the whole message.
    RsaPkcs1InToken(Hash),
    /// As [`Self::RsaPss`], but the token hashes: the payload is the whole message.
    RsaPssInToken(Hash),
    /// As [`Self::Ecdsa`], but the token hashes: the payload is the whole message.
    EcdsaInToken(Hash),
    /// Ed25519 (RFC 8032, pure). The payload is the whole message.
    Ed25519,
    /// ML-DSA (RFC 9881: pure, with an empty context). The payload is the whole message.
    MlDsa,
}

impl Mechanism {
    /// Returns the mechanism that makes the same signature from the whole message, if this one takes a digest.
    #[must_use]
    pub const fn in_token(self) -> Option<Self> {
        match self {
            Self::RsaPkcs1(hash) => Some(Self::RsaPkcs1InToken(hash)),
            Self::RsaPss(hash) => Some(Self::RsaPssInToken(hash)),
            Self::Ecdsa(hash) => Some(Self::EcdsaInToken(hash)),
            Self::RsaPkcs1InToken(_)
            | Self::RsaPssInToken(_)
            | Self::EcdsaInToken(_)
            | Self::Ed25519
            | Self::MlDsa => None,
        }
    }

    /// Returns the name of the PKCS#11 mechanism.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaPkcs1(_) => "CKM_RSA_PKCS",
            Self::RsaPss(_) => "CKM_RSA_PKCS_PSS",
            Self::Ecdsa(_) => "CKM_ECDSA",
            Self::RsaPkcs1InToken(Hash::Sha256) => "CKM_SHA256_RSA_PKCS",
            Self::RsaPkcs1InToken(Hash::Sha384) => "CKM_SHA384_RSA_PKCS",
            Self::RsaPkcs1InToken(Hash::Sha512) => "CKM_SHA512_RSA_PKCS",
            Self::RsaPssInToken(Hash::Sha256) => "CKM_SHA256_RSA_PKCS_PSS",
            Self::RsaPssInToken(Hash::Sha384) => "CKM_SHA384_RSA_PKCS_PSS",
            Self::RsaPssInToken(Hash::Sha512) => "CKM_SHA512_RSA_PKCS_PSS",
            Self::EcdsaInToken(Hash::Sha256) => "CKM_ECDSA_SHA256",
            Self::EcdsaInToken(Hash::Sha384) => "CKM_ECDSA_SHA384",
            Self::EcdsaInToken(Hash::Sha512) => "CKM_ECDSA_SHA512",
            Self::Ed25519 => "CKM_EDDSA",
            Self::MlDsa => "CKM_ML_DSA",
        }
    }
}
