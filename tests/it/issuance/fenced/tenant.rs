//! A CA certificate that we issued to a tenant, and the certificates that the tenant signs below it.

use std::{fs, path::Path, sync::Arc};

use futures::executor::block_on;
use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    Issuer, IssuerChain, Limits, PreparedCertificate, Profile, Serial, VerifiedCsr, Wanted,
    pattern::Variables,
    pem,
    profile::{CaRules, Constraint, Constraints, Rules},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, IsCa,
    Issuer as Signed, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::UnixTime;

use super::{
    super::{key::SoftwareKey, san::san},
    verifiers::{NAMES, Purpose, verdicts},
};

/// A root and a CA certificate that we issued below it.
pub(super) struct Fenced {
    folder: tempfile::TempDir,
    /// The signer below that CA certificate.
    sub: Signed<'static, KeyPair>,
    leaf_key: KeyPair,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(&[("CN", name)]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(super) fn named(subject: &[(&str, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        let kind = match *kind {
            "CN" => DnType::CommonName,
            // PKCS#9, emailAddress. OpenSSL accepts only an IA5String for it.
            "email" => DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
            other => panic!("unknown attribute {other}"),
        };
        let value = if kind == DnType::CommonName {
            DnValue::Utf8String((*value).to_owned())
        } else {
            DnValue::Ia5String((*value).try_into().unwrap())
        };
        params.distinguished_name.push(kind, value);
    }
    params
}

impl Fenced {
    pub(super) fn new(limits: Limits) -> Self {
        Self::excluding(Vec::new(), limits)
    }

    /// Makes a CA certificate whose profile excludes these names.
    pub(super) fn excluding(excluded: Vec<Constraint>, limits: Limits) -> Self {
        let root_key = KeyPair::generate().unwrap();
        let root = authority("Root").self_signed(&root_key).unwrap();
        let chain = IssuerChain::parse(root.pem().as_bytes(), None).unwrap();
        let rules = Rules {
            ca: CaRules {
                allow: true,
                constraints: Constraints {
                    permitted: Vec::new(),
                    excluded,
                },
                ..CaRules::default()
            },
            ..Rules::default()
        };
        let profile = Profile::new(rules, limits).unwrap();
        let issuer = Arc::new(Issuer::new(chain, profile, None).unwrap());

        let sub_key = KeyPair::generate().unwrap();
        let request = named(&[("CN", "Sub")]).serialize_request(&sub_key).unwrap();
        let csr = VerifiedCsr::parse(request.pem().unwrap().as_bytes()).unwrap();
        let wanted = Wanted {
            variables: Variables {
                namespace: Some("payments"),
                name: "sub",
            },
            usages: &["cert sign".to_owned()],
            is_ca: true,
            by_annotation: false,
            duration: None,
        };
        let params = issuer.profile().admit(&csr, &wanted).unwrap();
        let serial = Serial::from_random([0x11; 16]);
        let now = UnixTime::now().as_secs().try_into().unwrap();
        let now = Timestamp::from_second(now).unwrap();
        let prepared = PreparedCertificate::prepare(&params, &issuer, now, serial).unwrap();
        let signer = SoftwareKey::from_pkcs8(&root_key.serialize_der());
        let issued = block_on(prepared.issue(&signer)).unwrap();

        let folder = tempfile::tempdir().unwrap();
        for (name, der) in [("root", root.der().as_ref()), ("sub", issued.der())] {
            fs::write(folder.path().join(format!("{name}.der")), der).unwrap();
            let text = pem::encode("CERTIFICATE", der);
            fs::write(folder.path().join(format!("{name}.pem")), text).unwrap();
        }
        Self {
            folder,
            sub: Signed::new(authority("Sub"), sub_key),
            leaf_key: KeyPair::generate().unwrap(),
        }
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Signs a leaf below the CA certificate, with any content.
    pub(super) fn leaf(&self, name: &str, params: CertificateParams) {
        let leaf = params.signed_by(&self.leaf_key, &self.sub).unwrap();
        let file = self.folder().join(format!("{name}.leaf"));
        fs::write(file, leaf.der()).unwrap();
    }

    /// Checks which verifiers accept each of these leaves.
    pub(super) fn judges(&self, cases: &[Case]) {
        for (number, case) in cases.iter().enumerate() {
            let mut params = named(case.subject);
            params.subject_alt_names = case.names.iter().map(san).collect();
            self.leaf(&format!("{number:02}"), params);
        }
        let verdicts = verdicts(self.folder(), Purpose::Any);
        assert_eq!(verdicts.len(), cases.len());
        let mut wrong = Vec::new();
        for (case, verdict) in cases.iter().zip(verdicts.values()) {
            for ((verifier, verdict), accepts) in NAMES.iter().zip(verdict).zip(case.accepted) {
                if verdict.is_ok() != accepts {
                    let Case { subject, names, .. } = case;
                    wrong.push(format!("{verifier} of {subject:?} {names:?}: {verdict:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

pub(super) struct Case {
    pub(super) subject: &'static [(&'static str, &'static str)],
    pub(super) names: &'static [(&'static str, &'static str)],
    /// Whether OpenSSL, Go and webpki accept it.
    pub(super) accepted: [bool; 3],
}
