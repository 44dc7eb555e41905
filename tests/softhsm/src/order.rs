//! What the helper process is told on its standard input, and what it answers on its standard output, as JSON.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Kinds of key pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum KeyKind {
    /// RSA, 2048 bits.
    Rsa2048,
    /// RSA, 3072 bits.
    Rsa3072,
    /// RSA, 4096 bits.
    Rsa4096,
    /// ECDSA on P-256.
    P256,
    /// ECDSA on P-384.
    P384,
    /// ECDSA on P-521.
    P521,
    /// Ed25519.
    Ed25519,
}

/// One task. No `Debug`: it carries PINs.
#[derive(Serialize, Deserialize)]
#[expect(missing_debug_implementations, reason = "it carries PINs")]
pub struct Order {
    /// The library.
    pub module: PathBuf,
    /// What to do.
    pub task: Task,
}

/// What to do.
#[derive(Serialize, Deserialize)]
#[expect(missing_debug_implementations, reason = "it carries PINs")]
pub enum Task {
    /// Initialise a token in the first free slot.
    Make {
        /// Its label.
        label: String,
        /// Its security officer's PIN.
        so_pin: String,
        /// Its user PIN.
        user_pin: String,
    },
    /// Generate a key pair.
    Generate {
        /// Which token.
        serial: String,
        /// Its user PIN.
        user_pin: String,
        /// `CKA_LABEL` of both halves.
        label: String,
        /// `CKA_ID` of both halves.
        id: Vec<u8>,
        /// What kind.
        kind: KeyKind,
    },
    /// Sign: RSA keys hash with SHA-256 themselves, Ed25519 takes the message, ECDSA gets a digest.
    Sign {
        /// Which token.
        serial: String,
        /// Its user PIN.
        user_pin: String,
        /// `CKA_LABEL` of the key.
        label: String,
        /// `CKA_ID` of the key.
        id: Vec<u8>,
        /// What kind of key.
        kind: KeyKind,
        /// Message or digest.
        octets: Vec<u8>,
    },
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// The token's serial number.
    Made(String),
    /// The public half of an RSA key.
    Rsa {
        /// Big-endian.
        modulus: Vec<u8>,
        /// Big-endian.
        exponent: Vec<u8>,
    },
    /// The public half of a key on a curve: the uncompressed point.
    Point(Vec<u8>),
    /// A signature as PKCS#11 gives it.
    Signed(Vec<u8>),
    /// It did not work.
    Failed(String),
}
