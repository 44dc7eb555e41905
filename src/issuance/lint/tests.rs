//! A correct certificate, spoilt at least once for each lint.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::*,
    db::rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384},
};

use der::Tag;

use super::*;
use crate::issuance::{
    Limits, Profile, Rules,
    crl::{CaId, CrlRules},
    testing::*,
};

/// A correct TBSCertificate whose parts can be spoilt.
#[derive(Clone)]
struct Draft {
    version: Vec<u8>,
    serial: Vec<u8>,
    algorithm: Vec<u8>,
    issuer: Vec<u8>,
    validity: [Vec<u8>; 2],
    subject: Vec<u8>,
    spki: Vec<u8>,
    unique_id: Vec<u8>,
    extensions: Vec<(ObjectIdentifier, bool, Vec<u8>)>,
    /// Another extension, already encoded.
    raw: Vec<u8>,
}

impl Draft {
    fn new(key: &TestKey) -> Self {
        let identifier = PublicKey::parse(key.spki()).unwrap().key_identifier();
        Self {
            version: tlv(0xa0, &[2, 1, 2]),
            serial: integer(&[0x5a; 16]),
            algorithm: sequence(&[&oid_der(ECDSA_WITH_SHA_256)]),
            issuer: common_name("root"),
            validity: [tlv(0x17, b"231114221220Z"), tlv(0x17, b"240212221220Z")],
            subject: common_name("leaf"),
            spki: key.spki().to_vec(),
            unique_id: Vec::new(),
            extensions: vec![
                (
                    ID_CE_AUTHORITY_KEY_IDENTIFIER,
                    false,
                    sequence(&[&tlv(0x80, b"key id")]),
                ),
                (ID_CE_SUBJECT_KEY_IDENTIFIER, false, tlv(4, &identifier)),
                (ID_CE_KEY_USAGE, true, key_usage(&[0])),
                (ID_CE_BASIC_CONSTRAINTS, true, sequence(&[])),
                (
                    ID_CE_EXT_KEY_USAGE,
                    false,
                    purposes(&[oid("1.3.6.1.5.5.7.3.1")]),
                ),
                (ID_CE_SUBJECT_ALT_NAME, false, san(&[(DNS, b"a.example")])),
            ],
            raw: Vec::new(),
        }
    }

    fn der(&self) -> Vec<u8> {
        let extensions: Vec<_> = self
            .extensions
            .iter()
            .map(|(kind, critical, value)| extension(*kind, *critical, value))
            .collect();
        sequence(&[
            &self.version,
            &self.serial,
            &self.algorithm,
            &self.issuer,
            &sequence(&[&self.validity[0], &self.validity[1]]),
            &self.subject,
            &self.spki,
            &self.unique_id,
            &tlv(0xa3, &sequence(&[&extensions.concat(), &self.raw])),
        ])
    }

    fn set(&mut self, kind: ObjectIdentifier, critical: bool, value: Vec<u8>) {
        self.remove(kind);
        self.extensions.push((kind, critical, value));
    }

    /// Removes an extension and returns its value.
    fn remove(&mut self, kind: ObjectIdentifier) -> Vec<u8> {
        let value = self
            .extensions
            .iter()
            .find(|(present, ..)| *present == kind);
        let value = value.map(|(.., value)| value.clone()).unwrap_or_default();
        self.extensions.retain(|(present, ..)| *present != kind);
        value
    }

    fn make_ca(&mut self, path_length: &[u8]) {
        let constraints = sequence(&[&[1, 1, 0xff], path_length]);
        self.set(ID_CE_BASIC_CONSTRAINTS, true, constraints);
        self.set(ID_CE_KEY_USAGE, true, key_usage(&[0, 5]));
    }
}

fn issuer() -> Issuer {
    let root = Authority::builder("root")
        .validity(at(1_600_000_000), at(1_800_000_000))
        .root();
    Issuer::new(root.chain(), Profile::default(), None).unwrap()
}

type Spoil = fn(&mut Draft);

/// At least one way to break each lint.
const SPOILT: &[(&str, Spoil)] = &[
    ("decodable", |d| d.subject = sequence(&[&[5, 0]])),
    ("rfc5280_version_3", |d| d.version = tlv(0xa0, &[2, 1, 1])),
    ("rfc5280_serial_positive_at_most_20_octets", |d| {
        d.serial = integer(&[0]);
    }),
    ("rfc5280_serial_positive_at_most_20_octets", |d| {
        d.serial = tlv(2, &[0x80; 16]);
    }),
    ("cabf_serial_at_least_64_bits", |d| {
        d.serial = integer(&[0x5a; 8]);
    }),
    ("rfc5280_algorithm_fits_issuer_key", |d| {
        d.algorithm = sequence(&[&oid_der(ECDSA_WITH_SHA_384)]);
    }),
    ("rfc5280_issuer_is_ca_subject", |d| {
        d.issuer = common_name("Root");
    }),
    ("rfc5280_time_encoding", |d| {
        d.validity[1] = tlv(0x18, b"20240212221220Z");
    }),
    ("rfc5280_validity_in_order", |d| {
        d.validity[1] = d.validity[0].clone();
    }),
    ("rfc5280_validity_within_ca", |d| {
        d.validity[0] = tlv(0x17, b"200101000000Z");
    }),
    ("rfc5280_validity_within_ca", |d| {
        d.validity[1] = tlv(0x17, b"280101000000Z");
    }),
    ("rfc5280_san_critical_without_subject_only", |d| {
        d.subject = sequence(&[]);
    }),
    ("rfc5280_ca_has_subject", |d| {
        d.subject = sequence(&[]);
        d.make_ca(&[]);
    }),
    ("rfc5280_subject_strings", |d| {
        d.subject = name(&[&[("2.5.4.3", Tag::PrintableString, b"a@b")]]);
    }),
    ("rfc5280_subject_within_upper_bounds", |d| {
        d.subject = common_name(&"a".repeat(65));
    }),
    ("rfc5280_san_critical_without_subject_only", |d| {
        d.set(ID_CE_SUBJECT_ALT_NAME, true, san(&[(DNS, b"a.example")]));
    }),
    ("rfc5280_identity_present", |d| {
        d.subject = sequence(&[]);
        d.remove(ID_CE_SUBJECT_ALT_NAME);
    }),
    ("rfc5280_subject_is_not_issuer", |d| {
        d.subject = common_name("root");
    }),
    ("rfc5280_no_unique_identifiers", |d| {
        d.unique_id = tlv(0x81, &[0, 1]);
    }),
    ("rfc5280_extensions_at_most_once", |d| {
        d.extensions.push(d.extensions[0].clone());
    }),
    ("rfc5280_authority_key_id_matches_ca", |d| {
        d.remove(ID_CE_AUTHORITY_KEY_IDENTIFIER);
    }),
    ("rfc5280_authority_key_id_matches_ca", |d| {
        d.set(
            ID_CE_AUTHORITY_KEY_IDENTIFIER,
            false,
            sequence(&[&tlv(0x80, b"another")]),
        );
    }),
    ("rfc5280_subject_key_id_is_of_the_key", |d| {
        d.set(ID_CE_SUBJECT_KEY_IDENTIFIER, false, tlv(4, b"another"));
    }),
    ("rfc5280_key_usage_critical_and_not_empty", |d| {
        d.set(ID_CE_KEY_USAGE, false, key_usage(&[0]));
    }),
    ("rfc5280_key_usage_critical_and_not_empty", |d| {
        d.set(ID_CE_KEY_USAGE, true, tlv(3, &[0]));
    }),
    ("rfc8813_key_usage_fits_key", |d| {
        d.set(ID_CE_KEY_USAGE, true, key_usage(&[0, 2]));
    }),
    ("rfc5280_basic_constraints_agree_with_key_usage", |d| {
        d.set(ID_CE_KEY_USAGE, true, key_usage(&[0, 5]));
    }),
    ("rfc5280_basic_constraints_agree_with_key_usage", |d| {
        d.set(ID_CE_BASIC_CONSTRAINTS, true, sequence(&[&[1, 1, 0xff]]));
    }),
    ("rfc5280_basic_constraints_agree_with_key_usage", |d| {
        d.remove(ID_CE_BASIC_CONSTRAINTS);
    }),
    ("rfc5280_extended_key_usage_names_purposes", |d| {
        d.set(ID_CE_EXT_KEY_USAGE, false, tlv(0x30, &[]));
    }),
    ("rfc5280_extended_key_usage_names_purposes", |d| {
        d.set(
            ID_CE_EXT_KEY_USAGE,
            false,
            purposes(&[ANY_EXTENDED_KEY_USAGE, oid("1.3.6.1.5.5.7.3.1")]),
        );
    }),
    ("rfc5280_san_well_formed", |d| {
        d.set(ID_CE_SUBJECT_ALT_NAME, false, san(&[(DNS, b"a b")]));
    }),
    ("x690_extension_defaults_left_out", |d| {
        let value = d.remove(ID_CE_SUBJECT_KEY_IDENTIFIER);
        d.raw = sequence(&[
            &oid_der(ID_CE_SUBJECT_KEY_IDENTIFIER),
            &[1, 1, 0],
            &tlv(4, &value),
        ]);
    }),
    ("x690_key_usage_minimal", |d| {
        d.set(ID_CE_KEY_USAGE, true, tlv(3, &[0, 0x80]));
    }),
    ("x690_basic_constraints_minimal", |d| {
        d.set(ID_CE_BASIC_CONSTRAINTS, true, sequence(&[&[1, 1, 0]]));
    }),
    ("x509_only_extensions_that_were_meant", |d| {
        d.set(oid("1.2.3.4"), false, vec![5, 0]);
    }),
    ("rfc5280_authority_key_id_names_the_key_only", |d| {
        let value = sequence(&[
            &tlv(0x80, b"key id"),
            &tlv(0xa1, &tlv(0xa4, &common_name("top"))),
            &tlv(0x82, &[1]),
        ]);
        d.set(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, value);
    }),
    ("rfc5280_encipher_only_needs_key_agreement", |d| {
        d.set(ID_CE_KEY_USAGE, true, key_usage(&[0, 7]));
    }),
    ("rfc5280_extended_key_usage_distinct", |d| {
        d.set(ID_CE_EXT_KEY_USAGE, false, purposes(&[SERVER, SERVER]));
    }),
    ("rfc5280_name_constraints_critical_and_in_ca_only", |d| {
        let value = name_constraints(&[(DNS, b"a.example")], &[]);
        d.set(ID_CE_NAME_CONSTRAINTS, true, value);
    }),
    ("rfc5280_name_constraints_critical_and_in_ca_only", |d| {
        d.make_ca(&[]);
        let value = name_constraints(&[(DNS, b"a.example")], &[]);
        d.set(ID_CE_NAME_CONSTRAINTS, false, value);
    }),
    ("rfc5280_name_constraints_enforceable", |d| {
        d.make_ca(&[]);
        d.set(ID_CE_NAME_CONSTRAINTS, true, sequence(&[]));
    }),
    ("rfc5280_policies_distinct_and_not_critical", |d| {
        let policy = sequence(&[&oid_der(oid("1.2.3"))]);
        let value = sequence(&[&policy, &policy]);
        d.set(ID_CE_CERTIFICATE_POLICIES, false, value);
    }),
    ("rfc5280_crl_distribution_points_http", |d| {
        d.set(ID_CE_CRL_DISTRIBUTION_POINTS, false, crl(b"https://a/"));
    }),
    ("rfc5280_crl_distribution_points_http", |d| {
        d.set(ID_CE_CRL_DISTRIBUTION_POINTS, true, crl(b"http://a/"));
    }),
    ("rfc5280_authority_information_access_http", |d| {
        d.set(ID_PE_AUTHORITY_INFO_ACCESS, false, ocsp(b"ldap://a/"));
    }),
    ("rfc9608_no_rev_avail_is_null_and_not_critical", |d| {
        d.set(oid("2.5.29.56"), false, vec![0x30, 0]);
    }),
    ("rfc9608_no_rev_avail_without_revocation", |d| {
        d.set(oid("2.5.29.56"), false, vec![5, 0]);
        d.set(ID_CE_CRL_DISTRIBUTION_POINTS, false, crl(b"http://a/"));
    }),
    ("rfc9608_no_rev_avail_without_revocation", |d| {
        d.set(oid("2.5.29.56"), false, vec![5, 0]);
        d.set(ID_PE_AUTHORITY_INFO_ACCESS, false, ocsp(b"http://a/"));
    }),
    ("rfc9608_no_rev_avail_without_revocation", |d| {
        d.set(oid("2.5.29.56"), false, vec![5, 0]);
        d.make_ca(&[]);
    }),
];

const SERVER: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.1");

fn crl(url: &[u8]) -> Vec<u8> {
    sequence(&[&sequence(&[&tlv(0xa0, &tlv(0xa0, &tlv(URI, url)))])])
}

fn ocsp(url: &[u8]) -> Vec<u8> {
    sequence(&[&sequence(&[&oid_der(ID_AD_OCSP), &tlv(URI, url)])])
}

/// Ways to break the lints that need a strict issuer: no CA below it, one domain, one purpose, only SVIDs.
const SPOILT_FOR_STRICT: &[(&str, Spoil)] = &[
    ("rfc5280_path_length_within_ca", |d| d.make_ca(&[2, 1, 0])),
    ("cabf_extended_key_usage_within_ca", |d| {
        d.set(ID_CE_EXT_KEY_USAGE, false, purposes(&[ID_KP_CLIENT_AUTH]));
    }),
    ("rfc5280_names_within_constraints", |d| {
        let names = san(&[(DNS, b"b.example"), (URI, b"spiffe://td/a")]);
        d.set(ID_CE_SUBJECT_ALT_NAME, false, names);
    }),
    ("spiffe_svid_names_one_workload", |d| {
        let names = san(&[(DNS, b"a.example")]);
        d.set(ID_CE_SUBJECT_ALT_NAME, false, names);
    }),
    ("spiffe_svid_signs_and_certifies_nothing", |d| {
        d.set(ID_CE_KEY_USAGE, true, key_usage(&[1]));
    }),
];

fn strict_issuer() -> Issuer {
    let top = Authority::builder("top")
        .validity(at(1_600_000_000), at(1_800_000_000))
        .root();
    let root = Authority::builder("root")
        .validity(at(1_600_000_000), at(1_800_000_000))
        .path_length(0)
        .extension(
            ID_CE_NAME_CONSTRAINTS,
            true,
            &name_constraints(&[(DNS, b"a.example")], &[]),
        )
        .extension(ID_CE_EXT_KEY_USAGE, false, &purposes(&[SERVER]))
        .under(&top);
    let mut rules = Rules::default();
    rules.names.spiffe = true;
    let profile = Profile::new(rules, Limits::default()).unwrap();
    Issuer::new(root.chain(), profile, None).unwrap()
}

/// Ways to break the lint that needs an issuer with CRLs.
const SPOILT_WITH_CRLS: &[(&str, Spoil)] = &[
    ("rfc5280_crl_distribution_point_of_the_shard", |d| {
        d.remove(ID_CE_CRL_DISTRIBUTION_POINTS);
    }),
    ("rfc5280_crl_distribution_point_of_the_shard", |d| {
        let other = crl(b"http://a.example/0.crl");
        d.set(ID_CE_CRL_DISTRIBUTION_POINTS, false, other);
    }),
    ("rfc5280_crl_distribution_point_of_the_shard", |d| {
        d.serial = integer(&[0x5c; 16]);
    }),
];

/// An issuer with four shards. The serial number of a draft is in the first.
fn issuer_with_crls() -> (Issuer, String) {
    let issuer = issuer();
    let url = "http://a.example".parse().unwrap();
    let rules = CrlRules::new(
        jiff::SignedDuration::from_hours(24),
        None,
        Some(url),
        4.try_into().unwrap(),
    );
    let ca = CaId::of(issuer.chain().issuing());
    let issuer = issuer.with_crl(rules.unwrap()).unwrap();
    (issuer, format!("http://a.example/{ca}/0.crl"))
}

#[test]
fn the_lints_check_against_every_certificate_of_the_chain() {
    let chain = |root: &Authority| {
        let issuing = Authority::builder("root")
            .validity(at(1_600_000_000), at(1_800_000_000))
            .under(root);
        let text = bundle(&[&issuing, root]);
        let chain = crate::issuance::IssuerChain::parse(text.as_bytes(), None).unwrap();
        Issuer::new(chain, Profile::default(), None).unwrap()
    };
    let key = TestKey::p256();
    let leaf = Draft::new(&key);
    // 2024-02-01: before the leaf ends.
    let short = Authority::builder("top")
        .validity(at(0), at(1_706_745_600))
        .root();
    assert_eq!(
        failing(&leaf.der(), &chain(&short)),
        ["rfc5280_validity_within_ca"]
    );
    let young = Authority::builder("top")
        .validity(at(1_706_745_600), at(1_900_000_000))
        .root();
    assert_eq!(
        failing(&leaf.der(), &chain(&young)),
        ["rfc5280_validity_within_ca"]
    );
    let of_clients = Authority::builder("top")
        .extension(ID_CE_EXT_KEY_USAGE, false, &purposes(&[ID_KP_CLIENT_AUTH]))
        .root();
    assert_eq!(
        failing(&leaf.der(), &chain(&of_clients)),
        ["cabf_extended_key_usage_within_ca"]
    );
    let top = Authority::root("top");
    let mut ca = Draft::new(&key);
    ca.make_ca(&[]);
    ca.subject = common_name("TOP");
    assert_eq!(
        failing(&ca.der(), &chain(&top)),
        ["rfc5280_subject_is_not_issuer"]
    );
    ca.subject = common_name("other");
    assert!(failing(&ca.der(), &chain(&top)).is_empty());
}

/// Returns the names of the lints that fail.
fn failing(tbs: &[u8], issuer: &Issuer) -> Vec<&'static str> {
    match Linted::read(tbs, issuer, None) {
        Err(error) => vec![error.lint],
        Ok(linted) => LINTS
            .into_iter()
            .flatten()
            .filter(|lint| (lint.check)(&linted).is_err())
            .map(|lint| lint.name)
            .collect(),
    }
}

#[test]
fn each_lint_fails_for_a_certificate_that_breaks_its_rule() {
    let key = TestKey::p256();
    let plain = Draft::new(&key);
    let mut svid = Draft::new(&key);
    let names = san(&[(DNS, b"a.example"), (URI, b"spiffe://td/a")]);
    svid.set(ID_CE_SUBJECT_ALT_NAME, false, names);
    let (with_crls, url) = issuer_with_crls();
    let mut listed = Draft::new(&key);
    listed.set(ID_CE_CRL_DISTRIBUTION_POINTS, false, crl(url.as_bytes()));
    for (sound, issuer, table) in [
        (plain, issuer(), SPOILT),
        (svid, strict_issuer(), SPOILT_FOR_STRICT),
        (listed, with_crls, SPOILT_WITH_CRLS),
    ] {
        assert_eq!(run(&sound.der(), &issuer), Ok(()));
        for (index, (lint, spoil)) in table.iter().enumerate() {
            let mut draft = sound.clone();
            spoil(&mut draft);
            let failing = failing(&draft.der(), &issuer);
            assert!(failing.contains(lint), "row {index}, {lint}: {failing:?}");
            assert!(run(&draft.der(), &issuer).is_err());
        }
    }
}

#[test]
fn every_lint_has_a_row_in_a_table_and_a_unique_name() {
    let lints = || LINTS.into_iter().flatten();
    let mut names: Vec<_> = lints().map(|lint| lint.name).collect();
    for name in &names {
        let tables = [SPOILT, SPOILT_FOR_STRICT, SPOILT_WITH_CRLS];
        let mut rows = tables.into_iter().flatten();
        assert!(rows.any(|(spoilt, _)| spoilt == name), "{name}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), lints().count());
}
