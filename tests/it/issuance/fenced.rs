//! A CA certificate that a grant's names and usages fence in, before the verifiers that must obey it: what is signed below
//! it by somebody else is refused outside of the fence and accepted inside.

mod verifiers;

use std::{fs, path::Path, sync::Arc};

use futures::executor::block_on;
use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    Issuer, IssuerChain, Limits, PreparedCertificate, Profile, Serial, VerifiedCsr, Wanted,
    pattern::Variables,
    pem,
    profile::{AllowedNames, CaLimits, CaRules, Rules},
    usage::Usage,
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue,
    ExtendedKeyUsagePurpose, IsCa, Issuer as Signed, KeyPair, KeyUsagePurpose, OtherNameValue,
    SanType,
};
use rustls_pki_types::UnixTime;

use self::verifiers::{NAMES, Purpose, verdicts};
use super::key::SoftwareKey;

/// A root, and a CA certificate of ours below it.
struct Fenced {
    folder: tempfile::TempDir,
    /// Signs below that CA certificate.
    sub: Signed<'static, KeyPair>,
    leaf_key: KeyPair,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(&[("CN", name)]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn named(subject: &[(&str, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in subject {
        let kind = match *kind {
            "CN" => DnType::CommonName,
            // PKCS#9, emailAddress. OpenSSL takes nothing but an IA5String for one.
            "email" => DnType::CustomDnType(vec![1, 2, 840, 113_549, 1, 9, 1]),
            other => panic!("no attribute {other}"),
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
    fn new(limits: Limits) -> Self {
        let root_key = KeyPair::generate().unwrap();
        let root = authority("Root").self_signed(&root_key).unwrap();
        let chain = IssuerChain::parse(root.pem().as_bytes(), None).unwrap();
        let rules = Rules {
            ca: CaRules {
                allow: true,
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

    fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Signs what the sub-CA's owner likes.
    fn leaf(&self, name: &str, params: CertificateParams) {
        let leaf = params.signed_by(&self.leaf_key, &self.sub).unwrap();
        let file = self.folder().join(format!("{name}.leaf"));
        fs::write(file, leaf.der()).unwrap();
    }

    /// Which verifiers accept each of these leaves is as it should be.
    fn judges(&self, cases: &[Case]) {
        for (number, case) in cases.iter().enumerate() {
            let mut params = named(case.subject);
            params.subject_alt_names = case.names.iter().map(name).collect();
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

fn name(&(kind, value): &(&str, &str)) -> SanType {
    match kind {
        "DNS" => SanType::DnsName(value.try_into().unwrap()),
        "IP" => SanType::IpAddress(value.parse().unwrap()),
        "URI" => SanType::URI(value.try_into().unwrap()),
        "email" => SanType::Rfc822Name(value.try_into().unwrap()),
        "principal" => SanType::OtherName((
            vec![1, 3, 6, 1, 4, 1, 311, 20, 2, 3],
            OtherNameValue::Utf8String(value.to_owned()),
        )),
        other => panic!("no name of type {other}"),
    }
}

struct Case {
    subject: &'static [(&'static str, &'static str)],
    names: &'static [(&'static str, &'static str)],
    /// By OpenSSL, Go and webpki.
    accepted: [bool; 3],
}

const ALL: [bool; 3] = [true, true, true];
const NONE: [bool; 3] = [false, false, false];
/// webpki refuses every name of a type that it cannot compare and that is constrained.
const NOT_WEBPKI: [bool; 3] = [true, true, false];
/// Go and webpki take no name from a subject, so that there is nothing to be fenced.
const NOT_OPENSSL: [bool; 3] = [false, true, true];

const fn names(accepted: [bool; 3], names: &'static [(&'static str, &'static str)]) -> Case {
    Case {
        subject: &[("CN", "A person")],
        names,
        accepted,
    }
}

const fn subject(accepted: [bool; 3], subject: &'static [(&'static str, &'static str)]) -> Case {
    Case {
        subject,
        names: &[],
        accepted,
    }
}

fn below(names: AllowedNames) -> Limits {
    Limits {
        names: Some(names),
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    }
}

#[test]
fn openssl_go_and_webpki_hold_what_is_below_a_ca_to_the_names_of_the_grant() {
    let names_of_grant = AllowedNames::closed(
        vec![
            "*.payments.example".parse().unwrap(),
            "*.{{namespace}}.svc.cluster.local".parse().unwrap(),
            "exact.example".parse().unwrap(),
        ],
        vec![
            "10.1.0.0/16".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ],
        vec!["spiffe://prod/*".parse().unwrap()],
        vec![
            "*@payments.example".parse().unwrap(),
            "ops@mail.example".parse().unwrap(),
        ],
    );
    Fenced::new(below(names_of_grant)).judges(&[
        names(ALL, &[]),
        names(ALL, &[("DNS", "a.payments.example")]),
        names(ALL, &[("DNS", "*.payments.example")]),
        names(ALL, &[("DNS", "A.PAYMENTS.EXAMPLE")]),
        names(ALL, &[("DNS", "a.payments.svc.cluster.local")]),
        // The apex is in the subtree, as docs/tenants.md says.
        names(ALL, &[("DNS", "payments.example")]),
        names(ALL, &[("DNS", "exact.example")]),
        names(NONE, &[("DNS", "below.exact.example")]),
        names(NONE, &[("DNS", "a.bank.example")]),
        names(NONE, &[("DNS", "notpayments.example")]),
        names(NONE, &[("DNS", "a.orders.svc.cluster.local")]),
        names(
            NONE,
            &[("DNS", "a.payments.example"), ("DNS", "bank.example")],
        ),
        names(ALL, &[("IP", "10.1.2.3")]),
        names(ALL, &[("IP", "2001:db8::1")]),
        names(NONE, &[("IP", "10.2.0.1")]),
        names(NONE, &[("IP", "2001:db9::1")]),
        names(NONE, &[("IP", "::ffff:10.1.2.3")]),
        names(NOT_WEBPKI, &[("URI", "spiffe://prod/ns/payments")]),
        // Verifiers look at the host alone.
        names(NOT_WEBPKI, &[("URI", "https://prod/")]),
        names(NONE, &[("URI", "spiffe://dev/ns/payments")]),
        names(NONE, &[("URI", "spiffe://a.prod/ns/payments")]),
        names(NOT_WEBPKI, &[("email", "a@payments.example")]),
        names(NOT_WEBPKI, &[("email", "ops@mail.example")]),
        names(NONE, &[("email", "ceo@mail.example")]),
        names(NONE, &[("email", "ceo@bank.example")]),
        names(NONE, &[("email", "ceo@a.payments.example")]),
        // Not constrained, for no verifier would know how.
        names(ALL, &[("principal", "ceo@bank.example")]),
        subject(ALL, &[("CN", "a.payments.example")]),
        subject(NOT_OPENSSL, &[("CN", "www.bank.example")]),
        subject(ALL, &[("email", "a@payments.example")]),
        subject(
            NOT_OPENSSL,
            &[("CN", "A person"), ("email", "ceo@bank.example")],
        ),
    ]);
}

#[test]
fn below_a_ca_of_a_grant_without_names_every_name_that_can_be_constrained_is_refused() {
    let none = AllowedNames::closed(Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Fenced::new(below(none)).judges(&[
        names(ALL, &[]),
        names(NONE, &[("DNS", "a.example")]),
        names(NONE, &[("DNS", "localhost")]),
        names(NONE, &[("IP", "10.1.2.3")]),
        names(NONE, &[("IP", "::1")]),
        names(NONE, &[("URI", "spiffe://prod/ns/payments")]),
        names(NONE, &[("URI", "https://a.example/")]),
        names(NONE, &[("email", "a@payments.example")]),
        subject(NOT_OPENSSL, &[("CN", "www.bank.example")]),
        subject(NOT_OPENSSL, &[("email", "ceo@bank.example")]),
    ]);
}

#[test]
fn addresses_of_the_family_that_a_grant_does_not_list_are_refused_too() {
    let addresses = |network: &str| {
        let networks = vec![network.parse().unwrap()];
        below(AllowedNames::closed(
            Vec::new(),
            networks,
            Vec::new(),
            Vec::new(),
        ))
    };
    Fenced::new(addresses("10.1.0.0/16")).judges(&[
        names(ALL, &[("IP", "10.1.2.3")]),
        names(NONE, &[("IP", "2001:db8::1")]),
        names(NONE, &[("IP", "::ffff:10.1.2.3")]),
    ]);
    Fenced::new(addresses("2001:db8::/32")).judges(&[
        names(ALL, &[("IP", "2001:db8::1")]),
        names(NONE, &[("IP", "10.1.2.3")]),
    ]);
}

#[test]
fn below_a_ca_of_a_grant_for_servers_nothing_is_good_for_clients() {
    let limits = Limits {
        usages: Some(
            ["digital signature", "server auth"]
                .map(|word| Usage::parse(word).unwrap())
                .to_vec(),
        ),
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    let fenced = Fenced::new(limits);
    let mut params = named(&[("CN", "A server")]);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    fenced.leaf("both", params);
    for (purpose, accepted) in [(Purpose::Server, true), (Purpose::Client, false)] {
        for (verifier, verdict) in NAMES
            .iter()
            .zip(&verdicts(fenced.folder(), purpose)["both"])
        {
            assert_eq!(verdict.is_ok(), accepted, "{verifier}: {verdict:?}");
        }
    }
}
