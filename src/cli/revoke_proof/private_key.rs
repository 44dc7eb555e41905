//! Private keys in PEM: PKCS #8, PKCS #1 and SEC 1, as cert-manager and openssl write them.

use aws_lc_rs::{
    error::KeyRejected,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, PqdsaKeyPair},
};
use zeroize::Zeroizing;

use crate::issuance::{
    KeyAlgorithm, MlDsa,
    pem::{self, PemError},
};

/// A private key that was read from a file.
pub(super) enum PrivateKey {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

/// Reason why a private key cannot be used. The text of the key is never repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum PrivateKeyError {
    /// The key is encrypted.
    #[error(
        "it is encrypted; decrypt it on the way: openssl pkey -in FILE | pkcs11-issuer revoke-proof --key - …"
    )]
    Encrypted,
    /// The file is not PEM.
    #[error("it is not PEM")]
    Pem(#[source] PemError),
    /// The file has no private key.
    #[error("it has no private key: its blocks are {0}")]
    NoKey(String),
    /// The key is malformed, or of another kind than the certificate's.
    #[error("it is not a well encoded {0} key, which the certificate has ({1})")]
    Kind(KeyAlgorithm, KeyRejected),
    /// The library made no signature.
    #[error("it made no signature")]
    Sign,
}

impl PrivateKey {
    /// Reads the first private key of a PEM text, which must be of this kind.
    pub(super) fn parse(text: &[u8], kind: KeyAlgorithm) -> Result<Self, PrivateKeyError> {
        // Encrypted keys in OpenSSL's old form have headers, which are refused as such.
        let has_headers = text
            .windows(b"Proc-Type:".len())
            .any(|some| some == b"Proc-Type:");
        if has_headers {
            return Err(PrivateKeyError::Encrypted);
        }
        let read = pem::scan(text).map_err(PrivateKeyError::Pem)?;
        let mut labels = Vec::new();
        for block in read.blocks {
            let der = Zeroizing::new(block.der);
            match block.label {
                b"ENCRYPTED PRIVATE KEY" => return Err(PrivateKeyError::Encrypted),
                b"PRIVATE KEY" | b"RSA PRIVATE KEY" | b"EC PRIVATE KEY" => {
                    return Self::of_kind(&der, kind);
                }
                // openssl ecparam writes the parameters before the key.
                other => labels.push(String::from_utf8_lossy(other).into_owned()),
            }
        }
        Err(PrivateKeyError::NoKey(labels.join(", ")))
    }

    fn of_kind(der: &[u8], kind: KeyAlgorithm) -> Result<Self, PrivateKeyError> {
        let ecdsa = |signing| EcdsaKeyPair::from_private_key_der(signing, der).map(Self::Ecdsa);
        let read = match kind {
            KeyAlgorithm::Rsa { .. } => RsaKeyPair::from_pkcs8(der)
                .or_else(|_| RsaKeyPair::from_der(der))
                .map(Self::Rsa),
            KeyAlgorithm::EcdsaP256 => ecdsa(&lc::ECDSA_P256_SHA256_ASN1_SIGNING),
            KeyAlgorithm::EcdsaP384 => ecdsa(&lc::ECDSA_P384_SHA384_ASN1_SIGNING),
            KeyAlgorithm::EcdsaP521 => ecdsa(&lc::ECDSA_P521_SHA512_ASN1_SIGNING),
            KeyAlgorithm::Ed25519 => {
                Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self::Ed25519)
            }
            KeyAlgorithm::MlDsa(set) => {
                let signing = match set {
                    MlDsa::MlDsa44 => &lc::ML_DSA_44_SIGNING,
                    MlDsa::MlDsa65 => &lc::ML_DSA_65_SIGNING,
                    MlDsa::MlDsa87 => &lc::ML_DSA_87_SIGNING,
                };
                PqdsaKeyPair::from_pkcs8(signing, der).map(Self::MlDsa)
            }
        };
        read.map_err(|rejected| PrivateKeyError::Kind(kind, rejected))
    }

    /// Signs a message by the scheme of
    /// [`possession_scheme`](crate::issuance::presented::possession_scheme).
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PrivateKeyError> {
        let failed = |_| PrivateKeyError::Sign;
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&lc::RSA_PKCS1_SHA256, &random, message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            Self::Ecdsa(key) => {
                let signature = key.sign(&random, message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::MlDsa(key) => {
                let mut signature = vec![0; key.algorithm().signature_len()];
                key.sign(message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}
