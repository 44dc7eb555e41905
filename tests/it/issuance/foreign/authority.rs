//! The issuers of the golden certificates.

use std::sync::Arc;

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use pkcs11_issuer::{
    api::profile::ProfileSpec,
    issuance::{
        Issuer, IssuerChain, Limits, PreparedCertificate, Profile, Serial, SignatureAlgorithm,
        VerifiedCsr, Wanted,
        crl::{CrlParams, PreparedCrl},
        pattern::Variables,
        profile::CaLimits,
    },
};
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, IsCa,
    Issuer as Signed, KeyIdMethod, KeyPair, KeyUsagePurpose, SerialNumber, date_time_ymd,
};

use super::{
    super::{key::SoftwareKey, san::san},
    Shape, crls,
};

/// The issuers by name, with their signature algorithms.
pub(super) const ALGORITHMS: &[(&str, SignatureAlgorithm)] = &[
    ("by-rsa-pkcs1-sha256", SignatureAlgorithm::RsaPkcs1Sha256),
    ("by-rsa-pkcs1-sha384", SignatureAlgorithm::RsaPkcs1Sha384),
    ("by-rsa-pkcs1-sha512", SignatureAlgorithm::RsaPkcs1Sha512),
    ("by-rsa-pss-sha256", SignatureAlgorithm::RsaPssSha256),
    ("by-rsa-pss-sha384", SignatureAlgorithm::RsaPssSha384),
    ("by-rsa-pss-sha512", SignatureAlgorithm::RsaPssSha512),
    ("by-p256", SignatureAlgorithm::EcdsaP256Sha256),
    ("by-p384", SignatureAlgorithm::EcdsaP384Sha384),
    ("by-p521", SignatureAlgorithm::EcdsaP521Sha512),
    ("by-ml-dsa-44", SignatureAlgorithm::MlDsa44),
    ("by-ml-dsa-65", SignatureAlgorithm::MlDsa65),
    ("by-ml-dsa-87", SignatureAlgorithm::MlDsa87),
];

/// An issued certificate with the certificates above it.
pub(super) struct Issued {
    pub(super) name: &'static str,
    pub(super) der: Vec<u8>,
    /// The certificates from the issuing certificate upwards, without the root.
    pub(super) above: Vec<Vec<u8>>,
    pub(super) root: Vec<u8>,
    pub(super) is_ca: bool,
    /// A time, in seconds since 1970, at which all certificates are valid.
    pub(super) now: i64,
    /// Whether its own key or its issuer's key is an ML-DSA key.
    pub(super) has_ml_dsa: bool,
}

/// An issuing certificate below a root, with its key.
pub(super) struct Authority {
    key: SoftwareKey,
    algorithm: Option<SignatureAlgorithm>,
    above: Vec<Vec<u8>>,
    root: Vec<u8>,
    pem: String,
}

impl Authority {
    /// Returns the authority whose key is the same in every run.
    pub(super) fn golden() -> Self {
        Self::new(&fixed("Ed25519", 2), None)
    }

    pub(super) fn signing_with(algorithm: SignatureAlgorithm) -> Self {
        let kind = match algorithm {
            SignatureAlgorithm::RsaPkcs1Sha256
            | SignatureAlgorithm::RsaPkcs1Sha384
            | SignatureAlgorithm::RsaPkcs1Sha512
            | SignatureAlgorithm::RsaPssSha256
            | SignatureAlgorithm::RsaPssSha384
            | SignatureAlgorithm::RsaPssSha512 => "RSA-2048",
            SignatureAlgorithm::EcdsaP256Sha256 => "P-256",
            SignatureAlgorithm::EcdsaP384Sha384 => "P-384",
            SignatureAlgorithm::EcdsaP521Sha512 => "P-521",
            SignatureAlgorithm::Ed25519 => "Ed25519",
            SignatureAlgorithm::MlDsa44 => "ML-DSA-44",
            SignatureAlgorithm::MlDsa65 => "ML-DSA-65",
            SignatureAlgorithm::MlDsa87 => "ML-DSA-87",
        };
        Self::new(&fixed(kind, 4), Some(algorithm))
    }

    fn new(issuing: &KeyPair, algorithm: Option<SignatureAlgorithm>) -> Self {
        let root = fixed("Ed25519", 1);
        let root_params = authority("Root", 1);
        let root_certificate = root_params.self_signed(&root).unwrap();
        let above = authority("Issuing", 2)
            .signed_by(issuing, &Signed::new(root_params, root))
            .unwrap();
        Self {
            key: SoftwareKey::from_pkcs8(&issuing.serialize_der()),
            algorithm,
            pem: above.pem() + &root_certificate.pem(),
            above: vec![above.der().to_vec()],
            root: root_certificate.der().to_vec(),
        }
    }

    /// Returns the authority of a CA certificate that we issued.
    pub(super) fn below(issued: &Issued) -> Self {
        let mut above = vec![issued.der.clone()];
        above.extend(issued.above.iter().cloned());
        let pem = above
            .iter()
            .chain([&issued.root])
            .map(|der| pkcs11_issuer::issuance::pem::encode("CERTIFICATE", der))
            .collect();
        Self {
            key: SoftwareKey::from_pkcs8(&fixed("P-256", 3).serialize_der()),
            algorithm: None,
            above,
            root: issued.root.clone(),
            pem,
        }
    }

    pub(super) fn chain(&self) -> IssuerChain {
        IssuerChain::parse(self.pem.as_bytes(), None).unwrap()
    }

    pub(super) fn issue_crl(&self, params: &CrlParams<'_>) -> Vec<u8> {
        let chain = self.chain();
        let issuing = chain.issuing();
        let algorithm = self.algorithm;
        let algorithm = algorithm.unwrap_or_else(|| SignatureAlgorithm::auto(issuing.public_key()));
        let prepared = PreparedCrl::prepare(params, issuing, algorithm).unwrap();
        block_on(prepared.issue(&self.key)).unwrap().der().to_vec()
    }

    pub(super) fn issue(&self, shape: &Shape) -> Issued {
        self.issue_as(shape, [0x5a; 16])
    }

    pub(super) fn issue_as(&self, shape: &Shape, serial: [u8; 16]) -> Issued {
        let spec: ProfileSpec = serde_json::from_value((shape.profile)()).unwrap();
        let limits = Limits {
            ca: CaLimits {
                allow: true,
                max_path_length: None,
            },
            ..Limits::default()
        };
        let profile = Profile::new(spec.try_into().unwrap(), limits).unwrap();
        let issuer = Issuer::new(self.chain(), profile, self.algorithm).unwrap();
        let issuer = Arc::new(match shape.crl {
            Some(shards) => issuer.with_crl(crls::rules(shards)).unwrap(),
            None => issuer,
        });
        let csr = VerifiedCsr::parse(request(shape).as_bytes()).unwrap();
        let usages: Vec<String> = shape.usages.iter().map(|&usage| usage.to_owned()).collect();
        let wanted = Wanted {
            variables: Variables {
                namespace: Some("shop"),
                name: "web",
            },
            usages: &usages,
            is_ca: shape.is_ca,
            by_annotation: false,
            duration: shape.hours.map(SignedDuration::from_hours),
        };
        let params = issuer
            .profile()
            .admit(&csr, &wanted)
            .unwrap_or_else(|refusal| panic!("{}: {refusal}", shape.name));
        let now = Timestamp::from_second(shape.now).unwrap();
        let prepared =
            PreparedCertificate::prepare(&params, &issuer, now, Serial::from_random(serial))
                .unwrap_or_else(|error| panic!("{}: {error}", shape.name));
        let issued = block_on(prepared.issue(&self.key)).unwrap();
        Issued {
            name: shape.name,
            der: issued.der().to_vec(),
            above: self.above.clone(),
            root: self.root.clone(),
            is_ca: shape.is_ca,
            now: shape.now,
            has_ml_dsa: [shape.name, shape.key]
                .iter()
                .any(|text| text.to_lowercase().contains("ml-dsa")),
        }
    }
}

/// Returns parameters that make a CA certificate the same in every run.
fn authority(name: &str, number: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Golden");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from_slice(&[number; 16]));
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2060, 1, 1);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![number; 20]);
    params.use_authority_key_identifier_extension = true;
    params
}

/// Returns a key of this kind. P-256 and Ed25519 keys are the same in every run; other keys are not.
fn fixed(kind: &str, number: u8) -> KeyPair {
    let algorithm = match kind {
        "RSA-2048" => &rcgen::PKCS_RSA_SHA256,
        "P-384" => &rcgen::PKCS_ECDSA_P384_SHA384,
        "P-521" => &rcgen::PKCS_ECDSA_P521_SHA512,
        "ML-DSA-44" => &rcgen::PKCS_ML_DSA_44,
        "ML-DSA-65" => &rcgen::PKCS_ML_DSA_65,
        "ML-DSA-87" => &rcgen::PKCS_ML_DSA_87,
        // PKCS#8 (RFC 5958 and RFC 5915) around 32 octets.
        "P-256" => {
            return from_octets(
                &[
                    0x30, 0x41, 2, 1, 0, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6,
                    8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7, 4, 0x27, 0x30, 0x25, 2, 1, 1, 4,
                    0x20,
                ],
                number,
                &rcgen::PKCS_ECDSA_P256_SHA256,
            );
        }
        "Ed25519" => {
            return from_octets(
                &[
                    0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20,
                ],
                number,
                &rcgen::PKCS_ED25519,
            );
        }
        other => panic!("unknown kind of key {other}"),
    };
    KeyPair::generate_for(algorithm).unwrap()
}

fn from_octets(start: &[u8], number: u8, algorithm: &'static rcgen::SignatureAlgorithm) -> KeyPair {
    let der = [start, &[number; 32]].concat();
    KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), algorithm).unwrap()
}

fn request(shape: &Shape) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in shape.subject {
        // RFC 5280, appendix A.1: countryName is a PrintableString. Some shapes ask for a wrong type.
        let (kind, string_type) = match kind.split_once(" as ") {
            Some((kind, string_type)) => (kind, string_type),
            None if *kind == "C" => (*kind, "PrintableString"),
            None => (*kind, "UTF8String"),
        };
        let kind = match kind {
            "C" => DnType::CountryName,
            "O" => DnType::OrganizationName,
            "OU" => DnType::OrganizationalUnitName,
            "CN" => DnType::CommonName,
            "serialNumber" => DnType::CustomDnType(vec![2, 5, 4, 5]),
            "DC" => DnType::CustomDnType(vec![0, 9, 2342, 19_200_300, 100, 1, 25]),
            "emailAddress" => DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
            other => panic!("unknown attribute {other}"),
        };
        let value = match string_type {
            "PrintableString" => DnValue::PrintableString((*value).try_into().unwrap()),
            "UTF8String" => DnValue::Utf8String((*value).to_owned()),
            "IA5String" => DnValue::Ia5String((*value).try_into().unwrap()),
            "BMPString" => DnValue::BmpString((*value).try_into().unwrap()),
            other => panic!("unknown type of string {other}"),
        };
        params.distinguished_name.push(kind, value);
    }
    params.subject_alt_names = shape.names.iter().map(san).collect();
    params.custom_extensions = shape
        .extension
        .iter()
        .map(|(oid, value)| CustomExtension::from_oid_content(oid, value.to_vec()))
        .collect();
    let key = fixed(shape.key, 3);
    params.serialize_request(&key).unwrap().pem().unwrap()
}
