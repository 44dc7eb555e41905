//! Objects on a token, as [`Ask::List`](super::Ask::List) lists them for people.

use serde::{Deserialize, Serialize};

use super::{KeyAlgorithm, KeyAttributes, Mechanism};

/// Most objects of one kind that a worker lists.
pub const MOST_OBJECTS: u16 = 500;
/// Most octets of a `CKA_LABEL` or `CKA_ID` in a list; the rest is cut off.
pub const MOST_NAME: usize = 256;
/// Most octets of a certificate, or of a public key, in a list. A longer one is left out, so that every page fits into a frame.
pub const MOST_VALUE: usize = 16 * 1024;

/// Objects that can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ObjectKind {
    /// `CKO_PRIVATE_KEY`. Most tokens show them only after a login.
    PrivateKeys,
    /// `CKO_PUBLIC_KEY`. Anyone who can open a session may have made one.
    PublicKeys,
    /// `CKO_CERTIFICATE`. Anyone who can open a session may have made one.
    Certificates,
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPage<T> {
    /// The objects after those of earlier pages, in the order of the token; empty at the end of the list.
    pub objects: Vec<T>,
    /// Whether there are objects after these.
    pub more: bool,
}

/// A key as the token shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenKey {
    /// `CKA_LABEL`, at most [`MOST_NAME`] octets of it.
    pub label: Vec<u8>,
    /// `CKA_ID`, at most [`MOST_NAME`] octets of it.
    pub id: Vec<u8>,
    /// Type and size.
    pub kind: SeenKeyKind,
    /// As in [`KeyIdentity::public`](super::KeyIdentity::public).
    pub public: Option<Vec<u8>>,
    /// How the token protects the key; nothing is known of a public key.
    pub attributes: KeyAttributes,
    /// `CKA_MODIFIABLE`; `None` where the token does not tell.
    pub modifiable: Option<bool>,
    /// `CKA_ALLOWED_MECHANISMS`, at most 64; empty where the token does not tell or the key has no such limit.
    pub allowed_mechanisms: Vec<String>,
    /// As in [`FoundKey::mechanisms`](super::FoundKey::mechanisms).
    pub mechanisms: Vec<Mechanism>,
}

/// Type and size of a listed key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SeenKeyKind {
    /// A key that can sign certificates here.
    Known(KeyAlgorithm),
    /// Another key, by the names of the standard.
    Other(String),
    /// The token does not tell.
    Untold,
}

/// A certificate on a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenCertificate {
    /// `CKA_LABEL`, at most [`MOST_NAME`] octets of it.
    pub label: Vec<u8>,
    /// `CKA_ID`, at most [`MOST_NAME`] octets of it.
    pub id: Vec<u8>,
    /// `CKA_VALUE`: DER, if it is an X.509 certificate. `None` where the token does not show it, or it has more than
    /// [`MOST_VALUE`] octets.
    pub der: Option<Vec<u8>>,
}
