//! A correct CRL, spoilt at least once for each lint.

use const_oid::db::{rfc5280::*, rfc5912::ECDSA_WITH_SHA_384};

use super::*;
use crate::issuance::{
    crl::{CrlNumber, RevocationReason, Revoked},
    testing::*,
};

type Spoil = fn(&mut DraftCrl);

/// At least one way to break each lint.
const SPOILT: &[(&str, Spoil)] = &[
    ("decodable", |d| d.next_update = Vec::new()),
    ("decodable", |d| d.version = Vec::new()),
    ("decodable", |d| d.raw = vec![0]),
    ("decodable", |d| d.entries[0].at = tlv(0x17, b"2311142200Z")),
    ("rfc5280_crl_version_2", |d| d.version = integer(&[0])),
    ("rfc5280_crl_algorithm_fits_issuer_key", |d| {
        d.algorithm = sequence(&[&oid_der(ECDSA_WITH_SHA_384)]);
    }),
    ("rfc5280_crl_issuer_is_ca_subject", |d| {
        d.issuer = common_name("Root");
    }),
    ("rfc5280_crl_time_encoding", |d| {
        d.this_update = tlv(0x18, b"20231114221320Z");
    }),
    ("rfc5280_crl_time_encoding", |d| {
        d.next_update = tlv(0x18, b"20231121221320Z");
    }),
    ("rfc5280_crl_next_update_after_this_update", |d| {
        d.next_update = d.this_update.clone();
    }),
    ("rfc5280_crl_list_absent_if_empty", |d| d.entries.clear()),
    ("x509_crl_lists_every_revoked_certificate", |d| {
        d.entries.truncate(1);
    }),
    ("rfc5280_crl_extensions_at_most_once", |d| {
        d.raw = extension(ID_CE_CRL_NUMBER, false, &integer(&[1]));
    }),
    ("rfc5280_crl_authority_key_id_is_of_the_signing_key", |d| {
        let other = sequence(&[&tlv(0x80, b"another")]);
        d.set(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, other);
    }),
    ("rfc5280_crl_authority_key_id_is_of_the_signing_key", |d| {
        let own = sequence(&[&tlv(0x80, b"key id")]);
        d.set(ID_CE_AUTHORITY_KEY_IDENTIFIER, true, own);
    }),
    ("rfc5280_crl_authority_key_id_is_of_the_signing_key", |d| {
        d.extensions.remove(0);
    }),
    ("rfc5280_crl_authority_key_id_is_of_the_signing_key", |d| {
        let name = tlv(0xa1, &tlv(0xa4, &common_name("root")));
        let value = sequence(&[&tlv(0x80, b"key id"), &name, &tlv(0x82, &[1])]);
        d.set(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, value);
    }),
    ("rfc5280_crl_number_is_the_given_one", |d| {
        d.set(ID_CE_CRL_NUMBER, false, integer(&[0x12, 0x35]));
    }),
    ("rfc5280_crl_number_is_the_given_one", |d| {
        d.set(ID_CE_CRL_NUMBER, true, integer(&[0x12, 0x34]));
    }),
    ("rfc5280_crl_number_is_the_given_one", |d| {
        d.extensions.truncate(1);
    }),
    (
        "rfc5280_crl_issuing_distribution_point_where_partitioned",
        |d| {
            let url = distribution_point(b"http://a.example/0.crl");
            d.set(ID_CE_ISSUING_DISTRIBUTION_POINT, true, url);
        },
    ),
    ("x509_crl_only_extensions_that_were_meant", |d| {
        d.set(ID_CE_ISSUER_ALT_NAME, false, san(&[(DNS, b"a.example")]));
    }),
    ("x690_crl_extension_defaults_left_out", |d| {
        let value = tlv(4, &san(&[(DNS, b"a.example")]));
        d.raw = sequence(&[&oid_der(ID_CE_ISSUER_ALT_NAME), &[1, 1, 0], &value]);
    }),
    ("rfc5280_crl_entry_serial_positive_at_most_20_octets", |d| {
        d.entries[0].serial = integer(&[0]);
    }),
    ("rfc5280_crl_entry_serial_positive_at_most_20_octets", |d| {
        d.entries[0].serial = tlv(2, &[0x80; 16]);
    }),
    ("rfc5280_crl_entry_serial_positive_at_most_20_octets", |d| {
        d.entries[1].serial = integer(&[1; 21]);
    }),
    ("x509_crl_entries_in_order_and_distinct", |d| {
        d.entries[0].serial = d.entries[1].serial.clone();
    }),
    ("x509_crl_entries_in_order_and_distinct", |d| {
        d.entries.reverse();
    }),
    ("rfc5280_crl_entry_time_encoding", |d| {
        d.entries[0].at = tlv(0x18, b"20231114220000Z");
    }),
    ("rfc5280_crl_entry_not_after_this_update", |d| {
        d.entries[0].at = tlv(0x17, b"231114221321Z");
    }),
    ("rfc5280_crl_entry_extensions_at_most_once", |d| {
        let reason = extension(ID_CE_CRL_REASONS, false, &[10, 1, 1]);
        d.entries[0].extensions = sequence(&[&reason, &reason]);
    }),
    ("rfc5280_crl_entry_extensions_absent_if_none", |d| {
        d.entries[0].extensions = sequence(&[]);
    }),
    ("rfc5280_crl_entry_reason_is_stated_and_not_critical", |d| {
        let reason = extension(ID_CE_CRL_REASONS, false, &[10, 1, 0]);
        d.entries[0].extensions = sequence(&[&reason]);
    }),
    ("rfc5280_crl_entry_reason_is_stated_and_not_critical", |d| {
        let reason = extension(ID_CE_CRL_REASONS, false, &[10, 1, 8]);
        d.entries[0].extensions = sequence(&[&reason]);
    }),
    ("rfc5280_crl_entry_reason_is_stated_and_not_critical", |d| {
        let reason = extension(ID_CE_CRL_REASONS, true, &[10, 1, 1]);
        d.entries[0].extensions = sequence(&[&reason]);
    }),
    ("rfc5280_crl_entry_invalidity_date_is_not_critical", |d| {
        let date = tlv(0x18, b"20231101000000Z");
        let date = extension(ID_CE_INVALIDITY_DATE, true, &date);
        d.entries[0].extensions = sequence(&[&date]);
    }),
    ("x509_crl_entry_only_extensions_that_were_meant", |d| {
        let name = san(&[(DNS, b"a.example")]);
        let other = extension(ID_CE_SUBJECT_ALT_NAME, false, &name);
        d.entries[0].extensions = sequence(&[&other]);
    }),
    ("x690_crl_entry_extension_defaults_left_out", |d| {
        let value = tlv(4, &[10, 1, 1]);
        let reason = sequence(&[&oid_der(ID_CE_CRL_REASONS), &[1, 1, 0], &value]);
        d.entries[0].extensions = sequence(&[&reason]);
    }),
];

/// Ways to break a lint for the CRL of a shard.
const SPOILT_IN_A_SHARD: &[(&str, Spoil)] = &[
    (
        "rfc5280_crl_issuing_distribution_point_where_partitioned",
        |d| {
            d.extensions.truncate(2);
        },
    ),
    (
        "rfc5280_crl_issuing_distribution_point_where_partitioned",
        |d| {
            let url = distribution_point(b"http://a.example/0.crl");
            d.set(ID_CE_ISSUING_DISTRIBUTION_POINT, false, url);
        },
    ),
    (
        "rfc5280_crl_issuing_distribution_point_where_partitioned",
        |d| {
            let url = distribution_point(b"http://a.example/1.crl");
            d.set(ID_CE_ISSUING_DISTRIBUTION_POINT, true, url);
        },
    ),
    (
        "rfc5280_crl_issuing_distribution_point_where_partitioned",
        |d| {
            let url = tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a.example/0.crl")));
            let value = sequence(&[&url, &[0x81, 1, 0xff]]);
            d.set(ID_CE_ISSUING_DISTRIBUTION_POINT, true, value);
        },
    ),
];

/// A CA, and the CRL that is asked of it.
struct Wanted<'a> {
    authority: &'a Authority,
    params: CrlParams<'a>,
}

impl Wanted<'_> {
    /// Returns the names of the lints that fail, and the verdict on the whole CRL.
    fn judge(&self, tbs: &[u8]) -> (Vec<&'static str>, Result<(), LintError>) {
        let chain = self.authority.chain();
        let algorithm = SignatureAlgorithm::auto(chain.issuing().public_key());
        let algorithm_der = algorithm.scheme().to_der().unwrap();
        let verdict = run(
            tbs,
            &self.params,
            chain.issuing(),
            algorithm,
            &algorithm_der,
        );
        let read = LintedCrl::read(
            tbs,
            &self.params,
            chain.issuing(),
            algorithm,
            &algorithm_der,
        );
        let crl = match read {
            Ok(crl) => crl,
            Err(error) => return (vec![error.lint], verdict),
        };
        let entries: Vec<_> = crl.entries().map(Result::unwrap).collect();
        let fails = |lint: &&CrlLint| match lint.check {
            Check::List(check) => check(&crl).is_err(),
            Check::Entry(check) => entries.iter().any(|entry| check(entry).is_err()),
        };
        let failing = LINTS.into_iter().flatten().filter(fails);
        (failing.map(|lint| lint.name).collect(), verdict)
    }
}

fn revoked() -> Vec<Revoked> {
    let revoked = |octet, reason| {
        let serial = SerialNumber::from_octets(&[octet; 16]).unwrap();
        Revoked::new(serial, at(1_700_000_000), reason, None).unwrap()
    };
    vec![
        revoked(0x5a, RevocationReason::Unspecified),
        revoked(0x5b, RevocationReason::KeyCompromise),
    ]
}

#[test]
fn each_lint_fails_for_a_crl_that_breaks_its_rule() {
    let revoked = revoked();
    let urls = ["http://a.example/0.crl".parse().unwrap()];
    let authority = Authority::root("root");
    let plain = CrlParams {
        number: CrlNumber::new(0x1234),
        this_update: at(1_700_000_000),
        next_update: at(1_700_604_800),
        partition: None,
        revoked: &revoked,
    };
    let of_shard = CrlParams {
        partition: Some(&urls),
        ..plain
    };
    let mut shard = DraftCrl::new();
    let url = distribution_point(b"http://a.example/0.crl");
    shard.set(ID_CE_ISSUING_DISTRIBUTION_POINT, true, url);
    for (sound, params, table) in [
        (DraftCrl::new(), plain, SPOILT),
        (shard, of_shard, SPOILT_IN_A_SHARD),
    ] {
        let wanted = Wanted {
            authority: &authority,
            params,
        };
        assert_eq!(wanted.judge(&sound.der()), (Vec::new(), Ok(())));
        for (index, (lint, spoil)) in table.iter().enumerate() {
            let mut draft = sound.clone();
            spoil(&mut draft);
            let (failing, verdict) = wanted.judge(&draft.der());
            assert!(failing.contains(lint), "row {index}, {lint}: {failing:?}");
            assert!(verdict.is_err(), "row {index}, {lint}");
        }
    }
}

#[test]
fn a_crl_of_a_ca_that_may_sign_none_fails() {
    let revoked = revoked();
    let authority = Authority::builder("root").key_usage(&[5]).root();
    let wanted = Wanted {
        authority: &authority,
        params: CrlParams {
            number: CrlNumber::new(0x1234),
            this_update: at(1_700_000_000),
            next_update: at(1_700_604_800),
            partition: None,
            revoked: &revoked,
        },
    };
    let (failing, verdict) = wanted.judge(&DraftCrl::new().der());
    assert_eq!(failing, ["rfc5280_crl_issuer_may_sign_crls"]);
    assert!(verdict.is_err());
}

#[test]
fn every_lint_on_crls_has_a_row_in_a_table_and_a_name_of_its_own() {
    let lints = || LINTS.into_iter().flatten();
    let mut names: Vec<_> = lints().map(|lint| lint.name).collect();
    for name in &names {
        let mut rows = SPOILT.iter().chain(SPOILT_IN_A_SHARD);
        let listed = rows.any(|(spoilt, _)| spoilt == name);
        assert!(
            listed || *name == "rfc5280_crl_issuer_may_sign_crls",
            "{name}"
        );
    }
    let of_certificates = crate::issuance::lint::LINTS;
    names.extend(of_certificates.into_iter().flatten().map(|lint| lint.name));
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}
