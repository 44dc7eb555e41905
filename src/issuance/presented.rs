//! A certificate that somebody presents, and the proof that they hold its key.
//!
//! Anybody can have a certificate: servers send it in every handshake. So a certificate alone proves nothing about the person
//! who presents it.

use aws_lc_rs::digest;
use jiff::Timestamp;

use super::{
    chain::IssuerCertificate,
    crl::{SerialNumber, SerialNumberError},
    key::{BadSignature, KeyAlgorithm, KeyError, PublicKey},
    pem::{self, PemError},
    raw::{SignedFrame, Tbs, timestamp},
    scheme::{Hash, SchemeError, SignatureScheme},
};

/// Most octets of PEM text that are read: the API server's limit for the field, and a certificate with its chain.
const MAX_PEM: usize = 400_000;

/// Beginning of what the key signs to prove possession.
///
/// No protocol in which the key of a certificate signs can be made to sign such a message of 60 octets: TLS 1.3 (RFC 8446,
/// section 4.4.3) signs 64 spaces first, TLS 1.2 (RFC 5246, sections 7.4.3 and 7.4.8) signs 64 random octets and more, or a
/// handshake, which begins with the octet 1, and a CSR or a certificate begins with the octet 0x30.
const CONTEXT: &[u8] = b"pkcs11-issuer revocation v1\0";

/// A certificate that somebody presents. It is well encoded; nothing else of it is trusted.
#[derive(Clone, Debug)]
pub struct PresentedCertificate {
    sha256: [u8; 32],
    serial: SerialNumber,
    issuer: Vec<u8>,
    spki: Vec<u8>,
    not_after: Timestamp,
    tbs: Vec<u8>,
    scheme: Result<SignatureScheme, SchemeError>,
    signature: Vec<u8>,
}

/// Reason why a text is not a certificate.
#[derive(Debug, thiserror::Error)]
pub enum PresentedError {
    /// The text is too long.
    #[error("the text has {0} octets, at most {MAX_PEM} are read; give the certificate alone")]
    TooLarge(usize),
    /// The text is not PEM.
    #[error("not PEM")]
    Pem(#[source] PemError),
    /// The first block is something else.
    #[error("the first PEM block is labelled {0:?}; it must be CERTIFICATE")]
    Label(String),
    /// The block is not a certificate.
    #[error("not the DER encoding of an X.509 certificate")]
    Encoding(#[source] der::Error),
    /// Its serial number is not one that a CRL can list.
    #[error("its serial number cannot be revoked")]
    Serial(#[source] SerialNumberError),
}

/// Reason why a signature does not prove possession of a certificate's key.
#[derive(Debug, thiserror::Error)]
pub enum PossessionError {
    /// The certificate's key is not supported.
    #[error("the certificate's key is not supported")]
    Key(#[source] KeyError),
    /// Another key made the signature, or it is for another certificate.
    #[error("the proof is not a signature of the certificate's key for this certificate")]
    Signature(#[source] BadSignature),
}

impl PresentedCertificate {
    /// Reads the first certificate of a PEM text. Takes time in proportion to its length.
    ///
    /// # Errors
    ///
    /// The text does not begin with a well encoded certificate.
    pub fn parse_pem(text: &[u8]) -> Result<Self, PresentedError> {
        if text.len() > MAX_PEM {
            return Err(PresentedError::TooLarge(text.len()));
        }
        let read = pem::scan(text).map_err(PresentedError::Pem)?;
        let block = read.blocks.into_iter().next();
        let block = block.ok_or(PresentedError::Pem(PemError::NoBlock))?;
        if block.label != b"CERTIFICATE" {
            let label = String::from_utf8_lossy(block.label);
            return Err(PresentedError::Label(label.into_owned()));
        }
        Self::parse(&block.der)
    }

    /// Reads the DER of a certificate.
    ///
    /// # Errors
    ///
    /// It is not well encoded.
    pub fn parse(der: &[u8]) -> Result<Self, PresentedError> {
        let signed = SignedFrame::parse(der).map_err(PresentedError::Encoding)?;
        let tbs = Tbs::parse(signed.to_be_signed).map_err(PresentedError::Encoding)?;
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest::digest(&digest::SHA256, der).as_ref());
        Ok(Self {
            sha256,
            serial: SerialNumber::from_octets(tbs.serial).map_err(PresentedError::Serial)?,
            issuer: tbs.issuer.to_vec(),
            spki: tbs.spki.to_vec(),
            not_after: timestamp(tbs.not_after),
            tbs: signed.to_be_signed.to_vec(),
            scheme: SignatureScheme::parse(signed.algorithm),
            signature: signed.signature.to_vec(),
        })
    }

    /// Returns whether this CA issued it: its issuer is the CA's subject, octet by octet, and the CA's key made its signature.
    #[must_use]
    pub fn is_issued_by(&self, ca: &IssuerCertificate) -> bool {
        self.issuer == ca.subject_der()
            && self.scheme.as_ref().is_ok_and(|scheme| {
                let key = ca.public_key().key();
                key.verify(*scheme, &self.tbs, &self.signature).is_ok()
            })
    }

    /// Returns whether it certifies this key. A CSR's key is copied into its certificate octet by octet.
    #[must_use]
    pub fn has_key(&self, key: &PublicKey) -> bool {
        self.spki == key.spki_der()
    }

    /// Returns its key.
    ///
    /// # Errors
    ///
    /// The key is not supported.
    pub fn public_key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::parse(&self.spki)
    }

    /// The serial number.
    #[must_use]
    pub const fn serial(&self) -> &SerialNumber {
        &self.serial
    }

    /// Last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Returns what the certificate's key signs to prove that somebody holds it: a fixed text and the SHA-256 of the
    /// certificate's DER.
    #[must_use]
    pub fn possession_message(&self) -> Vec<u8> {
        [CONTEXT, &self.sha256].concat()
    }

    /// Verifies that `signature` proves possession of the certificate's key.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn prove_possession(&self, signature: &[u8]) -> Result<(), PossessionError> {
        let key = self.public_key().map_err(PossessionError::Key)?;
        let scheme = possession_scheme(key.algorithm());
        key.verify(scheme, &self.possession_message(), signature)
            .map_err(PossessionError::Signature)
    }
}

/// Returns the one scheme with which a key of this kind proves possession: PKCS #1 v1.5 with SHA-256 for RSA, the hash of the
/// curve for ECDSA.
#[must_use]
pub const fn possession_scheme(key: KeyAlgorithm) -> SignatureScheme {
    match key {
        KeyAlgorithm::Rsa { .. } => SignatureScheme::RsaPkcs1(Hash::Sha256),
        KeyAlgorithm::EcdsaP256 => SignatureScheme::Ecdsa(Hash::Sha256),
        KeyAlgorithm::EcdsaP384 => SignatureScheme::Ecdsa(Hash::Sha384),
        KeyAlgorithm::EcdsaP521 => SignatureScheme::Ecdsa(Hash::Sha512),
        KeyAlgorithm::Ed25519 => SignatureScheme::Ed25519,
        KeyAlgorithm::MlDsa(set) => SignatureScheme::MlDsa(set),
    }
}

#[cfg(test)]
mod tests;
