//! How a key is asked for, named and used.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which private key. Every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeySelector {
    /// `CKA_LABEL`.
    pub label: Option<String>,
    /// `CKA_ID`.
    pub id: Option<Vec<u8>>,
    /// DER `SubjectPublicKeyInfo` of the key's certificate. A key whose public half is known to be another never
    /// matches; a key whose public half the token does not tell matches by label or id alone.
    pub public_key: Option<Vec<u8>>,
}

/// Label and id of a key, for messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyName {
    /// `CKA_LABEL`; what is not UTF-8 in it is replaced.
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

/// What a private key is, as far as it can be told apart and found again after the token or the worker came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyIdentity {
    /// `CKA_LABEL`, as stored.
    pub label: Vec<u8>,
    /// `CKA_ID`.
    pub id: Vec<u8>,
    /// Type and size.
    pub algorithm: KeyAlgorithm,
    /// RSA: the modulus without leading zeros. Elliptic curves: the point, unwrapped. ML-DSA: the public key.
    /// `None` where the token does not tell it.
    pub public: Option<Vec<u8>>,
}

impl KeyIdentity {
    /// Label and id for messages.
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
    /// Octets of a signature (FIPS 204, table 2).
    #[must_use]
    pub const fn signature_octets(self) -> usize {
        match self {
            Self::MlDsa44 => 2420,
            Self::MlDsa65 => 3309,
            Self::MlDsa87 => 4627,
        }
    }

    /// Octets of a public key (FIPS 204, table 2).
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
    /// Octets of one coordinate, and of each half of a raw signature.
    #[must_use]
    pub const fn field_octets(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

/// Attributes that tell how well a key is kept; `None` where the token does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyAttributes {
    /// `CKA_SENSITIVE`.
    pub sensitive: Option<bool>,
    /// `CKA_EXTRACTABLE`.
    pub extractable: Option<bool>,
    /// `CKA_NEVER_EXTRACTABLE`.
    pub never_extractable: Option<bool>,
    /// `CKA_LOCAL`: made on this token.
    pub local: Option<bool>,
    /// `CKA_ALWAYS_AUTHENTICATE`.
    pub always_authenticate: Option<bool>,
    /// `CKA_ALWAYS_SENSITIVE`.
    pub always_sensitive: Option<bool>,
    /// `CKA_SIGN`; a key that says no is never found.
    pub sign: Option<bool>,
    /// RSA: length of the modulus in bits.
    pub modulus_bits: Option<u32>,
}

/// A key's number on one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyNumber(pub u32);

/// The one key that matched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundKey {
    /// To sign with on this connection.
    pub number: KeyNumber,
    /// To find it again on another.
    pub identity: KeyIdentity,
    /// How it is kept.
    pub attributes: KeyAttributes,
    /// What the token says that it can do with such keys (`C_GetMechanismInfo`); empty where it does not tell. A
    /// signature alone is proof.
    pub mechanisms: Vec<Mechanism>,
}

/// What to find.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Wanted {
    /// The one key that a user described.
    Selected(KeySelector),
    /// A key that was found before: the very same.
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
    /// Octets of a digest.
    #[must_use]
    pub const fn octets(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// How to sign. The payload is the digest by the named hash; `DigestInfo` and DER are the worker's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Mechanism {
    /// RSASSA-PKCS1-v1_5 (RFC 8017, section 8.2).
    RsaPkcs1(Hash),
    /// RSASSA-PSS, MGF1 with the same hash, salt as long as the digest (RFC 4055, section 3.1).
    RsaPss(Hash),
    /// ECDSA; the signature comes as DER `ECDSA-Sig-Value` (RFC 3279, section 2.2.3).
    Ecdsa(Hash),
    /// Ed25519 (RFC 8032, pure). The payload is the whole message.
    Ed25519,
    /// ML-DSA (RFC 9881: pure, with an empty context). The payload is the whole message.
    MlDsa,
}
