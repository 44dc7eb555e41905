//! A CA key in memory, read from PKCS#8.

use std::{fs, path::Path};

use aws_lc_rs::{
    digest::{self, Digest},
    rsa,
    signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, PqdsaKeyPair},
};
use pkcs11_issuer::issuance::{
    Signature, SignatureAlgorithm, Signer, SigningInput, scheme::Hash, signature::Signing,
};

/// A CA key in memory.
pub(super) enum SoftwareKey {
    Rsa(rsa::KeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

impl SoftwareKey {
    pub(super) fn read(path: &Path) -> Self {
        Self::from_pkcs8(&fs::read(path).unwrap())
    }

    pub(super) fn from_pkcs8(der: &[u8]) -> Self {
        let curves = [
            &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
            &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
        ];
        if let Ok(pair) = rsa::KeyPair::from_pkcs8(der) {
            return Self::Rsa(pair);
        }
        if let Some(pair) = curves
            .into_iter()
            .find_map(|curve| EcdsaKeyPair::from_pkcs8(curve, der).ok())
        {
            return Self::Ecdsa(pair);
        }
        let sets = [
            &lc::ML_DSA_44_SIGNING,
            &lc::ML_DSA_65_SIGNING,
            &lc::ML_DSA_87_SIGNING,
        ];
        if let Some(pair) = sets
            .into_iter()
            .find_map(|set| PqdsaKeyPair::from_pkcs8(set, der).ok())
        {
            return Self::MlDsa(pair);
        }
        Self::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).unwrap())
    }

    fn octets(&self, input: &SigningInput) -> Vec<u8> {
        let algorithm = input.algorithm();
        let digest = || {
            let hash = match algorithm.pre_hash().unwrap() {
                Hash::Sha256 => &digest::SHA256,
                Hash::Sha384 => &digest::SHA384,
                Hash::Sha512 => &digest::SHA512,
            };
            Digest::import_less_safe(input.payload(), hash).unwrap()
        };
        match self {
            Self::Rsa(pair) => {
                let padding: &'static dyn lc::RsaEncoding = match algorithm {
                    SignatureAlgorithm::RsaPkcs1Sha256 => &lc::RSA_PKCS1_SHA256,
                    SignatureAlgorithm::RsaPkcs1Sha384 => &lc::RSA_PKCS1_SHA384,
                    SignatureAlgorithm::RsaPkcs1Sha512 => &lc::RSA_PKCS1_SHA512,
                    SignatureAlgorithm::RsaPssSha256 => &lc::RSA_PSS_SHA256,
                    SignatureAlgorithm::RsaPssSha384 => &lc::RSA_PSS_SHA384,
                    SignatureAlgorithm::RsaPssSha512 => &lc::RSA_PSS_SHA512,
                    SignatureAlgorithm::EcdsaP256Sha256
                    | SignatureAlgorithm::EcdsaP384Sha384
                    | SignatureAlgorithm::EcdsaP521Sha512
                    | SignatureAlgorithm::Ed25519
                    | SignatureAlgorithm::MlDsa44
                    | SignatureAlgorithm::MlDsa65
                    | SignatureAlgorithm::MlDsa87 => {
                        panic!("an RSA key cannot sign with {algorithm}")
                    }
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &digest(), &mut signature)
                    .unwrap();
                signature
            }
            Self::Ecdsa(pair) => pair.sign_digest(&digest()).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(input.payload()).as_ref().to_vec(),
            Self::MlDsa(pair) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                pair.sign(input.payload(), &mut signature).unwrap();
                signature
            }
        }
    }
}

impl Signer for SoftwareKey {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let signature = Signature::from_octets(self.octets(&input));
        Box::pin(std::future::ready(Ok(signature)))
    }
}
