//! The only interface to a private key: its input, its output and its errors.

use std::{error::Error, future::Future, pin::Pin};

use der::{Encode as _, Sequence, asn1::UintRef};

use super::SignatureAlgorithm;
use crate::issuance::Fault;

/// Input of a [`Signer`]. Only [`PreparedCertificate`](crate::issuance::PreparedCertificate),
/// [`PreparedCrl`](crate::issuance::crl::PreparedCrl) and
/// [`Probe`](crate::issuance::Probe) create it. It cannot be cloned, and signing consumes it.
#[derive(Debug)]
pub struct SigningInput {
    algorithm: SignatureAlgorithm,
    message: Vec<u8>,
    /// `None` if the algorithm signs the message itself.
    digest: Option<Vec<u8>>,
}

impl SigningInput {
    pub(in crate::issuance) fn new(algorithm: SignatureAlgorithm, message: &[u8]) -> Self {
        Self {
            algorithm,
            message: message.to_vec(),
            digest: algorithm.pre_hash().map(|hash| hash.digest(message)),
        }
    }

    /// Returns the algorithm to sign with.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// Returns the digest if the algorithm has a [`pre_hash`](SignatureAlgorithm::pre_hash), otherwise
    /// the message itself.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.digest.as_deref().unwrap_or(&self.message)
    }

    /// Returns the message, for a token that hashes it itself.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }
}

/// The octets of a signatureValue that is not verified yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

/// Error for an `r || s` that cannot be a signature.
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
    /// Takes the octets as a certificate carries them: ECDSA as DER Ecdsa-Sig-Value, all others as the
    /// token returns them.
    #[must_use]
    pub const fn from_octets(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// Converts the `r || s` of PKCS#11 (version 3.1, section 6.3.1) into DER Ecdsa-Sig-Value.
    ///
    /// # Errors
    ///
    /// Fails if the length is zero or odd.
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

    /// Returns the octets.
    #[must_use]
    pub fn as_octets(&self) -> &[u8] {
        &self.0
    }
}

/// Reason why a signer gave no signature.
#[derive(Debug, thiserror::Error)]
#[error("failed to sign with the issuer's key")]
pub struct SignError {
    source: Box<dyn Error + Send + Sync>,
    issuer: bool,
}

impl SignError {
    /// Builds the error for a temporary fault, such as overload, a deadline or a token that restarts.
    #[must_use]
    pub fn passing(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            issuer: false,
        }
    }

    /// Builds the error for a fault that a person must correct, such as a missing key, a rejected PIN or a mechanism that
    /// the token lacks.
    #[must_use]
    pub fn issuer(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            source: source.into(),
            issuer: true,
        }
    }

    /// Returns who must act.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        if self.issuer {
            Fault::Issuer
        } else {
            Fault::Passing
        }
    }
}

/// Future of a [`Signer`], boxed so that the trait is dyn-compatible.
pub type Signing<'a> = Pin<Box<dyn Future<Output = Result<Signature, SignError>> + Send + 'a>>;

/// Object that holds the issuer's private key or can reach it.
pub trait Signer: Send + Sync {
    /// Signs the payload and returns the octets of signatureValue: ECDSA as DER Ecdsa-Sig-Value.
    /// The payload is already hashed if the algorithm has a pre-hash; do not hash it again.
    ///
    /// May wait for a token. Dropping the future abandons the answer, but the token may still sign.
    /// The caller verifies the result under the issuer's certificate.
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a>;
}
