//! The one door to a private key: what goes in, what comes out, and how it fails.

use std::{error::Error, future::Future, pin::Pin};

use der::{Encode as _, Sequence, asn1::UintRef};

use super::SignatureAlgorithm;
use crate::issuance::Fault;

/// What a [`Signer`] signs. Made only by [`PreparedCertificate`](crate::issuance::PreparedCertificate) and
/// [`Probe`](crate::issuance::Probe), not clonable, spent by move.
#[derive(Debug)]
pub struct SigningInput {
    algorithm: SignatureAlgorithm,
    payload: Vec<u8>,
}

impl SigningInput {
    pub(in crate::issuance) fn new(algorithm: SignatureAlgorithm, message: &[u8]) -> Self {
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
        if octets.is_empty() || !octets.len().is_multiple_of(2) {
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
        if self.issuer {
            Fault::Issuer
        } else {
            Fault::Passing
        }
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
