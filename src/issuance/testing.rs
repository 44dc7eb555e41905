//! Keys, authorities and certification requests for tests, written octet by octet: odd ones too.

use std::sync::OnceLock;

use aws_lc_rs::{
    digest::{self, Digest},
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _},
};
use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::{
            ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME, ID_CE_SUBJECT_KEY_IDENTIFIER,
        },
        rfc5912::{ID_EC_PUBLIC_KEY, ID_EXTENSION_REQ, RSA_ENCRYPTION, SECP_256_R_1, SECP_384_R_1, SECP_521_R_1},
        rfc8410::ID_ED_25519,
    },
};
use der::{DateTime, Encode as _, Tag};
use jiff::{SignedDuration, Timestamp};
use x509_cert::time::Time;

use super::{
    IssuerChain, KeyAlgorithm, SignError, Signature, Signer, SigningInput, Wanted, pem,
    signature::{Hash, SignatureScheme, Signing},
};

// ---- octets ------------------------------------------------------------------------------------

/// One element.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut element = vec![tag];
    match content.len() {
        short @ 0..=0x7f => element.push(u8::try_from(short).unwrap()),
        long => {
            let octets = long.to_be_bytes();
            let octets: Vec<_> = octets.into_iter().skip_while(|&octet| octet == 0).collect();
            element.push(0x80 | u8::try_from(octets.len()).unwrap());
            element.extend(octets);
        }
    }
    element.extend_from_slice(content);
    element
}

pub(super) fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &elements.concat())
}

pub(super) fn set(elements: &[&[u8]]) -> Vec<u8> {
    tlv(0x31, &elements.concat())
}

pub(super) fn bit_string(octets: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], octets].concat())
}

pub(super) fn oid_der(oid: ObjectIdentifier) -> Vec<u8> {
    tlv(6, oid.as_bytes())
}

pub(super) fn oid(text: &str) -> ObjectIdentifier {
    ObjectIdentifier::new_unwrap(text)
}

/// A positive INTEGER.
pub(super) fn integer(octets: &[u8]) -> Vec<u8> {
    match octets.first() {
        Some(0x80..) => tlv(2, &[&[0], octets].concat()),
        Some(_) | None => tlv(2, octets),
    }
}

pub(super) fn spki(algorithm: ObjectIdentifier, parameters: Option<Vec<u8>>, key: &[u8]) -> Vec<u8> {
    let parameters = parameters.unwrap_or_default();
    sequence(&[&sequence(&[&oid_der(algorithm), &parameters]), &bit_string(key)])
}

pub(super) fn rsa_public_key(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    sequence(&[&integer(modulus), &integer(exponent)])
}

/// A Name of these RDNs, each of these attributes.
pub(super) fn name(rdns: &[&[(&str, Tag, &[u8])]]) -> Vec<u8> {
    let rdns: Vec<_> = rdns
        .iter()
        .map(|attributes| {
            let attributes: Vec<_> = attributes
                .iter()
                .map(|(kind, tag, value)| sequence(&[&oid_der(oid(kind)), &tlv(u8::from(*tag), value)]))
                .collect();
            tlv(0x31, &attributes.concat())
        })
        .collect();
    tlv(0x30, &rdns.concat())
}

pub(super) fn common_name(text: &str) -> Vec<u8> {
    name(&[&[("2.5.4.3", Tag::Utf8String, text.as_bytes())]])
}

pub(super) const EMAIL: u8 = 0x81;
pub(super) const DNS: u8 = 0x82;
pub(super) const URI: u8 = 0x86;
pub(super) const IP: u8 = 0x87;

/// The value of a SAN extension.
pub(super) fn san(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|(tag, value)| tlv(*tag, value)).collect();
    tlv(0x30, &names.concat())
}

pub(super) fn extension(kind: ObjectIdentifier, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { vec![1, 1, 0xff] } else { Vec::new() };
    sequence(&[&oid_der(kind), &critical, &tlv(4, value)])
}

/// The value of keyUsage with these bits.
pub(super) fn key_usage(bits: &[u8]) -> Vec<u8> {
    let octet = bits.iter().fold(0_u8, |octet, bit| octet | 0x80 >> bit);
    let unused = u8::try_from(octet.trailing_zeros()).unwrap().min(7);
    tlv(3, &[unused, octet])
}

/// The value of extKeyUsage.
pub(super) fn purposes(oids: &[ObjectIdentifier]) -> Vec<u8> {
    let oids: Vec<_> = oids.iter().copied().map(oid_der).collect();
    tlv(0x30, &oids.concat())
}

// ---- keys --------------------------------------------------------------------------------------

/// A software key, of which the public half is known octet by octet.
pub(super) struct TestKey {
    private: Private,
    algorithm: KeyAlgorithm,
    spki: Vec<u8>,
    octets: Vec<u8>,
}

enum Private {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl TestKey {
    /// RSA-2048; one for the whole run, for they are slow to make.
    pub(super) fn rsa() -> &'static Self {
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

    pub(super) fn p256() -> Self {
        Self::ecdsa(&lc::ECDSA_P256_SHA256_ASN1_SIGNING, SECP_256_R_1, KeyAlgorithm::EcdsaP256)
    }

    pub(super) fn p384() -> Self {
        Self::ecdsa(&lc::ECDSA_P384_SHA384_ASN1_SIGNING, SECP_384_R_1, KeyAlgorithm::EcdsaP384)
    }

    pub(super) fn p521() -> Self {
        Self::ecdsa(&lc::ECDSA_P521_SHA512_ASN1_SIGNING, SECP_521_R_1, KeyAlgorithm::EcdsaP521)
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

    pub(super) fn ed25519() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let octets = pair.public_key().as_ref().to_vec();
        Self {
            private: Private::Ed25519(pair),
            algorithm: KeyAlgorithm::Ed25519,
            spki: spki(ID_ED_25519, None, &octets),
            octets,
        }
    }

    /// The same P-256 key each time.
    pub(super) fn fixed() -> Self {
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

    pub(super) const fn algorithm(&self) -> KeyAlgorithm {
        self.algorithm
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }

    pub(super) const fn scheme(&self) -> SignatureScheme {
        match self.algorithm {
            KeyAlgorithm::Rsa { .. } => SignatureScheme::RsaPkcs1(Hash::Sha256),
            KeyAlgorithm::EcdsaP256 => SignatureScheme::Ecdsa(Hash::Sha256),
            KeyAlgorithm::EcdsaP384 => SignatureScheme::Ecdsa(Hash::Sha384),
            KeyAlgorithm::EcdsaP521 => SignatureScheme::Ecdsa(Hash::Sha512),
            KeyAlgorithm::Ed25519 => SignatureScheme::Ed25519,
        }
    }

    pub(super) fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Vec<u8> {
        match scheme {
            SignatureScheme::Ed25519 => self.sign_payload(scheme, message),
            SignatureScheme::RsaPkcs1(hash) | SignatureScheme::RsaPss(hash) | SignatureScheme::Ecdsa(hash) => {
                self.sign_payload(scheme, digest::digest(hash_algorithm(hash), message).as_ref())
            }
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
                pair.sign_digest(padding, &imported(hash), &mut signature).unwrap();
                signature
            }
            (Private::Rsa(pair), SignatureScheme::RsaPss(hash)) => {
                let padding = match hash {
                    Hash::Sha256 => &lc::RSA_PSS_SHA256,
                    Hash::Sha384 => &lc::RSA_PSS_SHA384,
                    Hash::Sha512 => &lc::RSA_PSS_SHA512,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &imported(hash), &mut signature).unwrap();
                signature
            }
            (Private::Ecdsa(pair), SignatureScheme::Ecdsa(hash)) => {
                pair.sign_digest(&imported(hash)).unwrap().as_ref().to_vec()
            }
            (Private::Ed25519(pair), SignatureScheme::Ed25519) => pair.sign(payload).as_ref().to_vec(),
            (Private::Rsa(_) | Private::Ecdsa(_) | Private::Ed25519(_), scheme) => {
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

/// A signer that is too busy.
pub(super) struct Unwilling;

impl Signer for Unwilling {
    fn sign<'a>(&'a self, _: SigningInput) -> Signing<'a> {
        Box::pin(std::future::ready(Err(SignError::passing("overloaded"))))
    }
}

// ---- authorities -------------------------------------------------------------------------------

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A CA certificate and its key.
pub(super) struct Authority {
    subject: Vec<u8>,
    key: TestKey,
    der: Vec<u8>,
}

pub(super) struct AuthorityBuilder {
    subject: Vec<u8>,
    key: TestKey,
    version: u8,
    validity: (Timestamp, Timestamp),
    constraints: Option<(bool, Option<u8>)>,
    key_usage: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    duplicate: bool,
}

impl Authority {
    pub(super) fn builder(subject: &str) -> AuthorityBuilder {
        AuthorityBuilder {
            subject: common_name(subject),
            key: TestKey::p256(),
            version: 2,
            validity: (at(0), at(4_000_000_000)),
            constraints: Some((true, None)),
            key_usage: vec![5, 6],
            subject_key_id: Some(b"key id".to_vec()),
            duplicate: false,
        }
    }

    pub(super) fn root(subject: &str) -> Self {
        Self::builder(subject).root()
    }

    pub(super) fn subordinate(&self, subject: &str) -> Self {
        Self::builder(subject).under(self)
    }

    pub(super) fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    pub(super) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(super) fn key(&self) -> &TestKey {
        &self.key
    }

    /// A chain of this certificate alone.
    pub(super) fn chain(&self) -> IssuerChain {
        IssuerChain::parse(self.pem().as_bytes(), None).unwrap()
    }
}

pub(super) fn bundle(authorities: &[&Authority]) -> String {
    authorities.iter().map(|authority| authority.pem()).collect()
}

impl AuthorityBuilder {
    pub(super) fn key(self, key: TestKey) -> Self {
        Self { key, ..self }
    }

    pub(super) fn version(self, version: u8) -> Self {
        Self { version, ..self }
    }

    pub(super) fn validity(self, from: Timestamp, to: Timestamp) -> Self {
        Self {
            validity: (from, to),
            ..self
        }
    }

    pub(super) fn ca(self, ca: bool) -> Self {
        Self {
            constraints: Some((ca, None)),
            ..self
        }
    }

    pub(super) fn path_length(self, length: u8) -> Self {
        Self {
            constraints: Some((true, Some(length))),
            ..self
        }
    }

    pub(super) fn without_basic_constraints(self) -> Self {
        Self {
            constraints: None,
            ..self
        }
    }

    pub(super) fn key_usage(self, bits: &[u8]) -> Self {
        Self {
            key_usage: bits.to_vec(),
            ..self
        }
    }

    pub(super) fn without_subject_key_id(self) -> Self {
        Self {
            subject_key_id: None,
            ..self
        }
    }

    pub(super) fn duplicate_extension(self) -> Self {
        Self {
            duplicate: true,
            ..self
        }
    }

    pub(super) fn root(self) -> Authority {
        self.signed(None)
    }

    pub(super) fn under(self, issuer: &Authority) -> Authority {
        self.signed(Some(issuer))
    }

    fn signed(self, issuer: Option<&Authority>) -> Authority {
        let (issuer, key) = issuer.map_or((&self.subject, &self.key), |issuer| (&issuer.subject, &issuer.key));
        let scheme = key.scheme();
        let algorithm = scheme.to_der().unwrap();
        let mut extensions = Vec::new();
        if let Some((ca, length)) = self.constraints {
            let ca = if ca { vec![1, 1, 0xff] } else { Vec::new() };
            let length = length.map(|length| integer(&[length])).unwrap_or_default();
            extensions.push(extension(ID_CE_BASIC_CONSTRAINTS, true, &sequence(&[&ca, &length])));
        }
        let usage = extension(ID_CE_KEY_USAGE, true, &key_usage(&self.key_usage));
        if self.duplicate {
            extensions.push(usage.clone());
        }
        extensions.push(usage);
        if let Some(id) = &self.subject_key_id {
            extensions.push(extension(ID_CE_SUBJECT_KEY_IDENTIFIER, false, &tlv(4, id)));
        }
        let time = |timestamp: Timestamp| {
            let unix = std::time::Duration::from_secs(timestamp.as_second().unsigned_abs());
            Time::from(DateTime::from_unix_duration(unix).unwrap()).to_der().unwrap()
        };
        let tbs = sequence(&[
            &tlv(0xa0, &integer(&[self.version])),
            &integer(&[1, 2, 3]),
            &algorithm,
            issuer,
            &sequence(&[&time(self.validity.0), &time(self.validity.1)]),
            &self.subject,
            self.key.spki(),
            &tlv(0xa3, &tlv(0x30, &extensions.concat())),
        ]);
        let signature = key.sign(scheme, &tbs);
        let der = sequence(&[&tbs, &algorithm, &bit_string(&signature)]);
        Authority {
            subject: self.subject,
            key: self.key,
            der,
        }
    }
}

// ---- requests ----------------------------------------------------------------------------------

/// A certification request under construction; every part can be made wrong.
pub(super) struct Request {
    pub(super) version: Vec<u8>,
    pub(super) subject: Vec<u8>,
    pub(super) spki: Vec<u8>,
    pub(super) extensions: Vec<Vec<u8>>,
    pub(super) attributes: Vec<Vec<u8>>,
    pub(super) algorithm: Option<Vec<u8>>,
    pub(super) scheme: SignatureScheme,
}

impl Request {
    /// For this subject and this key, without extensions.
    pub(super) fn new(subject: &str, key: &TestKey) -> Self {
        Self {
            version: vec![0],
            subject: if subject.is_empty() { name(&[]) } else { common_name(subject) },
            spki: key.spki().to_vec(),
            extensions: Vec::new(),
            attributes: Vec::new(),
            algorithm: None,
            scheme: key.scheme(),
        }
    }

    pub(super) fn extension(mut self, kind: ObjectIdentifier, value: &[u8]) -> Self {
        self.extensions.push(extension(kind, false, value));
        self
    }

    pub(super) fn names(self, names: &[(u8, &[u8])]) -> Self {
        self.extension(ID_CE_SUBJECT_ALT_NAME, &san(names))
    }

    pub(super) fn attribute(mut self, kind: &str, values: &[&[u8]]) -> Self {
        self.attributes.push(sequence(&[&oid_der(oid(kind)), &set(values)]));
        self
    }

    pub(super) fn info(&self) -> Vec<u8> {
        let mut attributes = self.attributes.concat();
        if !self.extensions.is_empty() {
            let extensions = tlv(0x30, &self.extensions.concat());
            attributes.extend(sequence(&[&oid_der(ID_EXTENSION_REQ), &set(&[&extensions])]));
        }
        sequence(&[
            &tlv(2, &self.version),
            &self.subject,
            &self.spki,
            &tlv(0xa0, &attributes),
        ])
    }

    pub(super) fn der(&self, key: &TestKey) -> Vec<u8> {
        let info = self.info();
        let algorithm = self.algorithm.clone().unwrap_or_else(|| self.scheme.to_der().unwrap());
        let signature = key.sign(self.scheme, &info);
        sequence(&[&info, &algorithm, &bit_string(&signature)])
    }

    /// Signed with this key, as PEM.
    pub(super) fn pem(&self, key: &TestKey) -> String {
        pem::encode("CERTIFICATE REQUEST", &self.der(key))
    }
}

/// What most requests want: the default usages and duration.
pub(super) const DEFAULT: Wanted<'static> = Wanted {
    usages: &[],
    is_ca: false,
    duration: None,
};

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(super) fn wanting(usages: &[String]) -> Wanted<'_> {
    Wanted {
        usages,
        is_ca: false,
        duration: None,
    }
}

pub(super) fn lasting(duration: SignedDuration) -> Wanted<'static> {
    Wanted {
        usages: &[],
        is_ca: false,
        duration: Some(duration),
    }
}
