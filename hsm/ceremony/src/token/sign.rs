//! Signs what was prepared with a key of the token.

use cryptoki::{
    mechanism::{
        Mechanism,
        dsa::{HedgeType, SignAdditionalContext},
        eddsa::{EddsaParams, EddsaSignatureScheme},
    },
    object::ObjectHandle,
};
use pkcs11_issuer::issuance::{
    KeyAlgorithm, SignError, Signature, Signer, SigningInput,
    scheme::{Hash, SignatureScheme},
    signature::Signing,
};

use super::{Halves, Token, TokenError, failed};
/// One key of the token.
pub(crate) struct TokenSigner<'a> {
    token: &'a Token,
    key: ObjectHandle,
}

impl Token {
    /// Returns the signer of a key.
    pub(crate) const fn signer(&self, key: &Halves) -> TokenSigner<'_> {
        TokenSigner {
            token: self,
            key: key.private,
        }
    }

    /// Signs a checkpoint of the transcript: Ed25519 as 64 octets, ECDSA with SHA-256 as DER.
    pub(crate) fn sign_text(&self, key: &Halves, text: &[u8]) -> Result<Vec<u8>, TokenError> {
        let scheme = match key.facts.public.algorithm() {
            KeyAlgorithm::EcdsaP256 => SignatureScheme::Ecdsa(Hash::Sha256),
            KeyAlgorithm::Ed25519
            | KeyAlgorithm::Rsa { .. }
            | KeyAlgorithm::EcdsaP384
            | KeyAlgorithm::EcdsaP521
            | KeyAlgorithm::MlDsa(_) => SignatureScheme::Ed25519,
        };
        let digest = Hash::Sha256.digest(text);
        self.sign(key.private, scheme, text, &digest)
            .map(|signature| signature.as_octets().to_vec())
    }

    fn sign(
        &self,
        key: ObjectHandle,
        scheme: SignatureScheme,
        message: &[u8],
        payload: &[u8],
    ) -> Result<Signature, TokenError> {
        let refused = |what: &str| TokenError::Key {
            label: String::new(),
            why: what.to_owned(),
        };
        // RSA: the token hashes the message itself, so that it signs the approved bytes and not a digest of ours.
        let (mechanism, input) = match scheme {
            SignatureScheme::RsaPkcs1(Hash::Sha256) => (Mechanism::Sha256RsaPkcs, message),
            SignatureScheme::RsaPkcs1(Hash::Sha384) => (Mechanism::Sha384RsaPkcs, message),
            SignatureScheme::RsaPkcs1(Hash::Sha512) => (Mechanism::Sha512RsaPkcs, message),
            SignatureScheme::RsaPss(_) => {
                return Err(refused("RSA keys of a ceremony sign with PKCS #1 v1.5"));
            }
            SignatureScheme::Ecdsa(_) => (Mechanism::Ecdsa, payload),
            SignatureScheme::Ed25519 => (
                Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
                message,
            ),
            // RFC 9881, section 3: pure ML-DSA with an empty context.
            SignatureScheme::MlDsa(_) => (
                Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None)),
                message,
            ),
        };
        let octets = self
            .session()
            .sign(&mechanism, key, input)
            .map_err(failed("sign"))?;
        match scheme {
            SignatureScheme::Ecdsa(_) => {
                Signature::from_raw_ecdsa(&octets).map_err(|error| refused(&error.to_string()))
            }
            SignatureScheme::RsaPkcs1(_)
            | SignatureScheme::RsaPss(_)
            | SignatureScheme::Ed25519
            | SignatureScheme::MlDsa(_) => Ok(Signature::from_octets(octets)),
        }
    }
}

impl Signer for TokenSigner<'_> {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let signed = self
            .token
            .sign(
                self.key,
                input.algorithm().scheme(),
                input.message(),
                input.payload(),
            )
            .map_err(SignError::issuer);
        Box::pin(std::future::ready(signed))
    }
}
