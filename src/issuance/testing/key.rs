//! Software keys, and a signer that always fails.

use std::sync::OnceLock;

use aws_lc_rs::{
    digest::{self, Digest},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, PqdsaKeyPair},
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5912::{ID_EC_PUBLIC_KEY, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1},
        rfc8410::ID_ED_25519,
    },
};

use super::{oid_der, sequence, spki, tlv};
use crate::issuance::{
    KeyAlgorithm, MlDsa, SignError, Signature, Signer, SigningInput,
    scheme::{Hash, SignatureScheme},
    signature::Signing,
};

/// A software key whose public half is available as octets.
pub(in crate::issuance) struct TestKey {
    private: Private,
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    octets: Vec<u8>,
}

enum Private {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    MlDsa(PqdsaKeyPair),
}

impl TestKey {
    /// Returns an RSA-2048 key, the same for the whole run because such keys are slow to make.
    pub(in crate::issuance) fn rsa() -> &'static Self {
        static KEY: OnceLock<TestKey> = OnceLock::new();
        KEY.get_or_init(|| {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
            let octets = pair.public_key().as_ref().to_vec();
            Self {
                private: Private::Rsa(pair),
                algorithm: KeyAlgorithm::Rsa { bits: 2048 },
                spki: spki(RSA_ENCRYPTION, Some(vec![5, 0]), &octets),
                octets,
            }
        })
    }

    /// Returns one key of each kind, the same for the whole run.
    pub(in crate::issuance) fn each_kind() -> [&'static Self; 8] {
        static KEYS: OnceLock<[TestKey; 7]> = OnceLock::new();
        let [p256, p384, p521, ed25519, ml44, ml65, ml87] = KEYS.get_or_init(|| {
            let [ml44, ml65, ml87] = MlDsa::ALL.map(Self::ml_dsa);
            [
                Self::p256(),
                Self::p384(),
                Self::p521(),
                Self::ed25519(),
                ml44,
                ml65,
                ml87,
            ]
        });
        [Self::rsa(), p256, p384, p521, ed25519, ml44, ml65, ml87]
    }

    fn ml_dsa(set: MlDsa) -> Self {
        let pair = PqdsaKeyPair::generate(match set {
            MlDsa::MlDsa44 => &lc::ML_DSA_44_SIGNING,
            MlDsa::MlDsa65 => &lc::ML_DSA_65_SIGNING,
            MlDsa::MlDsa87 => &lc::ML_DSA_87_SIGNING,
        })
        .unwrap();
        let octets = pair.public_key().as_ref().to_vec();
        Self {
            private: Private::MlDsa(pair),
            algorithm: KeyAlgorithm::MlDsa(set),
            spki: spki(set.oid(), None, &octets),
            octets,
        }
    }

    pub(in crate::issuance) fn p256() -> Self {
        Self::ecdsa(
            &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            SECP_256_R_1,
            KeyAlgorithm::EcdsaP256,
        )
    }

    pub(in crate::issuance) fn p384() -> Self {
        Self::ecdsa(
            &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
            SECP_384_R_1,
            KeyAlgorithm::EcdsaP384,
        )
    }

    pub(in crate::issuance) fn p521() -> Self {
        Self::ecdsa(
            &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
            SECP_521_R_1,
            KeyAlgorithm::EcdsaP521,
        )
    }

    fn ecdsa(
        signing: &'static lc::EcdsaSigningAlgorithm,
        curve: ObjectIdentifier,
        algorithm: KeyAlgorithm,
    ) -> Self {
        let pair = EcdsaKeyPair::generate(signing).unwrap();
        let octets = pair.public_key().as_ref().to_vec();
        Self {
            private: Private::Ecdsa(pair),
            algorithm,
            spki: spki(ID_EC_PUBLIC_KEY, Some(oid_der(curve)), &octets),
            octets,
        }
    }

    pub(in crate::issuance) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let octets = pair.public_key().as_ref().to_vec();
        Self {
            private: Private::Ed25519(pair),
            algorithm: KeyAlgorithm::Ed25519,
            spki: spki(ID_ED_25519, None, &octets),
            octets,
        }
    }

    /// Returns the same P-256 key in every run.
    pub(in crate::issuance) fn fixed() -> Self {
        let scalar = [0x2a; 32];
        let generator = EcdsaKeyPair::from_private_key_der(
            &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            &sequence(&[
                &[2, 1, 1],
                &tlv(4, &scalar),
                &tlv(0xa0, &oid_der(SECP_256_R_1)),
            ]),
        )
        .unwrap();
        let octets = generator.public_key().as_ref().to_vec();
        Self {
            private: Private::Ecdsa(generator),
            algorithm: KeyAlgorithm::EcdsaP256,
            spki: spki(ID_EC_PUBLIC_KEY, Some(oid_der(SECP_256_R_1)), &octets),
            octets,
        }
    }

    pub(in crate::issuance) const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    pub(in crate::issuance) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(in crate::issuance) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(in crate::issuance) const fn scheme(&self) -> SignatureScheme {
        match self.algorithm {
            KeyAlgorithm::Rsa { .. } => SignatureScheme::RsaPkcs1(Hash::Sha256),
            KeyAlgorithm::EcdsaP256 => SignatureScheme::Ecdsa(Hash::Sha256),
            KeyAlgorithm::EcdsaP384 => SignatureScheme::Ecdsa(Hash::Sha384),
            KeyAlgorithm::EcdsaP521 => SignatureScheme::Ecdsa(Hash::Sha512),
            KeyAlgorithm::Ed25519 => SignatureScheme::Ed25519,
            KeyAlgorithm::MlDsa(set) => SignatureScheme::MlDsa(set),
        }
    }

    pub(in crate::issuance) fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Vec<u8> {
        match scheme {
            SignatureScheme::Ed25519 | SignatureScheme::MlDsa(_) => {
                self.sign_payload(scheme, message)
            }
            SignatureScheme::RsaPkcs1(hash)
            | SignatureScheme::RsaPss(hash)
            | SignatureScheme::Ecdsa(hash) => self.sign_payload(
                scheme,
                digest::digest(hash_algorithm(hash), message).as_ref(),
            ),
        }
    }

    fn sign_payload(&self, scheme: SignatureScheme, payload: &[u8]) -> Vec<u8> {
        let imported = |hash| Digest::import_less_safe(payload, hash_algorithm(hash)).unwrap();
        match (&self.private, scheme) {
            (Private::Rsa(pair), SignatureScheme::RsaPkcs1(hash)) => {
                let padding = match hash {
                    Hash::Sha256 => &lc::RSA_PKCS1_SHA256,
                    Hash::Sha384 => &lc::RSA_PKCS1_SHA384,
                    Hash::Sha512 => &lc::RSA_PKCS1_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &imported(hash), &mut signature)
                    .unwrap();
                signature
            }
            (Private::Rsa(pair), SignatureScheme::RsaPss(hash)) => {
                let padding = match hash {
                    Hash::Sha256 => &lc::RSA_PSS_SHA256,
                    Hash::Sha384 => &lc::RSA_PSS_SHA384,
                    Hash::Sha512 => &lc::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &imported(hash), &mut signature)
                    .unwrap();
                signature
            }
            (Private::Ecdsa(pair), SignatureScheme::Ecdsa(hash)) => {
                pair.sign_digest(&imported(hash)).unwrap().as_ref().to_vec()
            }
            (Private::Ed25519(pair), SignatureScheme::Ed25519) => {
                pair.sign(payload).as_ref().to_vec()
            }
            (Private::MlDsa(pair), SignatureScheme::MlDsa(_)) => {
                let mut signature = vec![0; pair.algorithm().signature_len()];
                pair.sign(payload, &mut signature).unwrap();
                signature
            }
            (
                Private::Rsa(_) | Private::Ecdsa(_) | Private::Ed25519(_) | Private::MlDsa(_),
                scheme,
            ) => {
                panic!("a {} key cannot sign with {scheme:?}", self.algorithm)
            }
        }
    }
}

fn hash_algorithm(hash: Hash) -> &'static digest::Algorithm {
    match hash {
        Hash::Sha256 => &digest::SHA256,
        Hash::Sha384 => &digest::SHA384,
        Hash::Sha512 => &digest::SHA512,
    }
}

impl Signer for TestKey {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let octets = self.sign_payload(input.algorithm().scheme(), input.payload());
        Box::pin(std::future::ready(Ok(Signature::from_octets(octets))))
    }
}

/// A signer that always fails with the passing fault "overloaded".
pub(in crate::issuance) struct Unwilling;

impl Signer for Unwilling {
    fn sign<'a>(&'a self, _: SigningInput) -> Signing<'a> {
        Box::pin(std::future::ready(Err(SignError::passing("overloaded"))))
    }
}
