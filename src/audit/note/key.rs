//! Verifier keys of signed notes, and their text (`vkey`): `name+id+base64`.

use std::{fmt, str::FromStr};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature as lc,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

pub(super) const KEY_ID_OCTETS: usize = 4;

/// Signature types of C2SP's signed-note.
const ED25519: u8 = 0x01;
const ECDSA: u8 = 0x02;

/// The beginning of the SubjectPublicKeyInfo of a P-256 key (RFC 5480); the uncompressed point follows.
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// The beginning of the SubjectPublicKeyInfo of an Ed25519 key (RFC 8410); the 32 octets follow.
const ED25519_SPKI: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// A public key of a kind that signs notes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotePublicKey {
    /// The 32 octets of RFC 8032.
    Ed25519([u8; 32]),
    /// A point on P-256, uncompressed (SEC 1, section 2.3.3). Signatures are ECDSA with SHA-256.
    P256([u8; 65]),
}

/// A key that verifies notes: a name, an id that belongs to name and key, and the public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; KEY_ID_OCTETS],
    key: NotePublicKey,
}

/// Why a text or a public key is not a verifier key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// The parts are missing or malformed.
    #[error(
        "a verifier key is name+id+base64, with an id of eight hexadecimal digits in lower case"
    )]
    Form,
    /// The name cannot be in a signature line.
    #[error("the name of a verifier key is not empty and has neither blanks nor +")]
    Name,
    /// The type is not supported.
    #[error("the type of the verifier key is not supported: use Ed25519 (1) or ECDSA on P-256 (2)")]
    Type,
    /// The public key is not of the type that its first octet says.
    #[error("the public key in the verifier key is malformed")]
    Key,
    /// The id is that of another name or key.
    #[error(
        "the id of the verifier key belongs to another name or key: was the text cut or changed?"
    )]
    Id,
}

impl NotePublicKey {
    /// Returns the key in the DER of a SubjectPublicKeyInfo (RFC 5280, section 4.1), or `None` if it is of another kind.
    #[must_use]
    pub fn of_spki(der: &[u8]) -> Option<Self> {
        if let Some(key) = der.strip_prefix(&ED25519_SPKI) {
            return key.try_into().ok().map(Self::Ed25519);
        }
        let point = der.strip_prefix(&P256_SPKI)?;
        point.try_into().ok().map(Self::P256)
    }

    /// Returns the type and the encoding that a verifier key has: 32 octets, or the DER of the SubjectPublicKeyInfo.
    fn encoded(&self) -> (u8, Vec<u8>) {
        match self {
            Self::Ed25519(octets) => (ED25519, octets.to_vec()),
            Self::P256(point) => (ECDSA, [P256_SPKI.as_slice(), point].concat()),
        }
    }

    fn decode(encoded: &[u8]) -> Result<Self, VerifierKeyError> {
        let key = match encoded {
            [ED25519, key @ ..] => key.try_into().map(Self::Ed25519),
            [ECDSA, spki @ ..] => spki
                .strip_prefix(&P256_SPKI)
                .unwrap_or_default()
                .try_into()
                .map(Self::P256),
            _ => return Err(VerifierKeyError::Type),
        };
        key.map_err(|_| VerifierKeyError::Key)
    }

    /// Makes the key ready for the library, which refuses points that are not on the curve.
    fn unparsed(&self) -> lc::UnparsedPublicKey<&[u8]> {
        match self {
            Self::Ed25519(octets) => lc::UnparsedPublicKey::new(&lc::ED25519, octets.as_slice()),
            Self::P256(point) => {
                lc::UnparsedPublicKey::new(&lc::ECDSA_P256_SHA256_ASN1, point.as_slice())
            }
        }
    }
}

impl VerifierKey {
    /// Returns the verifier key of a public key under this name.
    ///
    /// # Errors
    /// [`VerifierKeyError::Name`] or [`VerifierKeyError::Key`].
    pub fn new(name: &str, key: NotePublicKey) -> Result<Self, VerifierKeyError> {
        if !is_key_name(name) {
            return Err(VerifierKeyError::Name);
        }
        // A hybrid form (06, 07) would be another spelling of the same point.
        let is_uncompressed = match &key {
            NotePublicKey::Ed25519(_) => true,
            NotePublicKey::P256(point) => point.first() == Some(&0x04),
        };
        if !is_uncompressed || key.unparsed().parse().is_err() {
            return Err(VerifierKeyError::Key);
        }
        Ok(Self {
            name: name.to_owned(),
            id: id(name, &key),
            key,
        })
    }

    /// Returns the name, which is the cluster's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn id(&self) -> [u8; KEY_ID_OCTETS] {
        self.id
    }

    /// Returns whether this is a signature of the text by this key.
    #[must_use]
    pub fn verify(&self, text: &str, signature: &[u8]) -> bool {
        self.key
            .unparsed()
            .verify(text.as_bytes(), signature)
            .is_ok()
    }
}

/// Returns the first octets of SHA-256 over name, line break, type and key; for ECDSA, which is older than that rule, over the
/// SubjectPublicKeyInfo alone.
fn id(name: &str, key: &NotePublicKey) -> [u8; KEY_ID_OCTETS] {
    let (kind, encoded) = key.encoded();
    let hashed = match key {
        NotePublicKey::Ed25519(_) => [name.as_bytes(), b"\n", &[kind], &encoded].concat(),
        NotePublicKey::P256(_) => encoded,
    };
    let hash = digest(&SHA256, &hashed);
    hash.as_ref()
        .first_chunk::<KEY_ID_OCTETS>()
        .copied()
        .unwrap_or_default()
}

/// Prints the `vkey`.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, encoded) = self.key.encoded();
        let typed = [&[kind], encoded.as_slice()].concat();
        write!(
            f,
            "{}+{}+{}",
            self.name,
            hex::encode(self.id),
            STANDARD.encode(&typed)
        )
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let (name, rest) = text.split_once('+').ok_or(VerifierKeyError::Form)?;
        let (id, base64) = rest.split_once('+').ok_or(VerifierKeyError::Form)?;
        let encoded = STANDARD
            .decode(base64)
            .map_err(|_| VerifierKeyError::Form)?;
        let key = Self::new(name, NotePublicKey::decode(&encoded)?)?;
        if id.len() != 2 * KEY_ID_OCTETS || id.bytes().any(|octet| !is_hexadecimal(octet)) {
            return Err(VerifierKeyError::Form);
        }
        if id != hex::encode(key.id) {
            return Err(VerifierKeyError::Id);
        }
        Ok(key)
    }
}

const fn is_hexadecimal(octet: u8) -> bool {
    matches!(octet, b'0'..=b'9' | b'a'..=b'f')
}

/// Returns whether the name can be in a signature line: not empty, without Unicode white space and `+`.
pub(super) fn is_key_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|char: char| char.is_whitespace() || char == '+')
}
