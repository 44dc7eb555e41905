//! One certificate as it should be, spoilt once for each lint.

use std::sync::Arc;

use const_oid::{
    ObjectIdentifier,
    db::rfc5912::{ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384},
};

use super::*;
use crate::issuance::{Profile, testing::*};

/// A TBSCertificate as it should be, each part to be spoilt.
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
            &tlv(0xa3, &tlv(0x30, &extensions.concat())),
        ])
    }

    fn set(&mut self, kind: ObjectIdentifier, critical: bool, value: Vec<u8>) {
        self.remove(kind);
        self.extensions.push((kind, critical, value));
    }

    fn remove(&mut self, kind: ObjectIdentifier) {
        self.extensions.retain(|(present, ..)| *present != kind);
    }
}

fn issuer() -> Issuer {
    let root = Authority::builder("root")
        .validity(at(1_600_000_000), at(1_800_000_000))
        .root();
    Issuer::new(root.chain(), Profile::default(), None).unwrap()
}

type Spoil = fn(&mut Draft);

/// For each lint one way, at least, to break it.
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
    ("rfc5280_identity_present", |d| d.subject = sequence(&[])),
    ("rfc5280_identity_present", |d| {
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
        d.set(ID_CE_EXT_KEY_USAGE, false, purposes(&[]));
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
];

#[test]
fn each_lint_finds_what_breaks_its_rule() {
    let issuer = Arc::new(issuer());
    let key = TestKey::p256();
    assert_eq!(run(&Draft::new(&key).der(), &issuer), Ok(()));
    for (index, (lint, spoil)) in SPOILT.iter().enumerate() {
        let mut draft = Draft::new(&key);
        spoil(&mut draft);
        let found = run(&draft.der(), &issuer).unwrap_err();
        assert_eq!(found.lint, *lint, "row {index}: {found}");
    }
}

#[test]
fn every_lint_has_a_row_above_and_a_name_of_its_own() {
    let mut names: Vec<_> = LINTS.iter().map(|lint| lint.name).collect();
    for name in &names {
        assert!(SPOILT.iter().any(|(spoilt, _)| spoilt == name), "{name}");
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), LINTS.len());
}
