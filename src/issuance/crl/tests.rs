//! CRLs from their arguments to their octets.

use const_oid::db::rfc5280::*;
use futures::executor::block_on;

use super::*;
use crate::issuance::{SignError, testing::*};

/// 2023-11-14T22:13:20Z.
const NOW: i64 = 1_700_000_000;
const WEEK: i64 = 604_800;

fn revoked(serial: &[u8], second: i64, reason: RevocationReason) -> Revoked {
    let serial = SerialNumber::from_octets(serial).unwrap();
    Revoked::new(serial, at(second), reason, None).unwrap()
}

fn params(revoked: &[Revoked]) -> CrlParams<'_> {
    CrlParams {
        number: CrlNumber::new(0x1234),
        this_update: at(NOW),
        next_update: at(NOW + WEEK),
        partition: None,
        revoked,
    }
}

fn prepare(authority: &Authority, params: &CrlParams<'_>) -> Result<PreparedCrl, PrepareCrlError> {
    let chain = authority.chain();
    let algorithm = SignatureAlgorithm::auto(chain.issuing().public_key());
    PreparedCrl::prepare(params, chain.issuing(), algorithm)
}

fn own_key(identifier: &[u8]) -> Vec<u8> {
    let value = sequence(&[&tlv(0x80, identifier)]);
    extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &value)
}

#[test]
fn a_crl_has_exactly_these_bytes() {
    let root = Authority::root("root");
    let serial = SerialNumber::from_octets(&[0, 0x80]).unwrap();
    let since = Some(at(NOW - WEEK));
    let held = Revoked::new(serial, at(NOW), RevocationReason::AaCompromise, since).unwrap();
    let entries = [
        held,
        revoked(&[0x5a; 20], NOW - 1, RevocationReason::KeyCompromise),
        // By a clock that is ahead.
        revoked(&[1], NOW + 5, RevocationReason::Unspecified),
    ];
    let reason = |code| extension(ID_CE_CRL_REASONS, false, &[10, 1, code]);
    let invalidity = extension(ID_CE_INVALIDITY_DATE, false, &tlv(0x18, b"20231107221320Z"));
    let expected = sequence(&[
        &[2, 1, 1],
        &sequence(&[&oid_der(const_oid::db::rfc5912::ECDSA_WITH_SHA_256)]),
        &common_name("root"),
        &tlv(0x17, b"231114221320Z"),
        &tlv(0x17, b"231121221320Z"),
        &sequence(&[
            &sequence(&[&[2, 1, 1], &tlv(0x17, b"231114221320Z")]),
            &sequence(&[
                &[2, 2, 0, 0x80],
                &tlv(0x17, b"231114221320Z"),
                &sequence(&[&reason(10), &invalidity]),
            ]),
            &sequence(&[
                &tlv(2, &[0x5a; 20]),
                &tlv(0x17, b"231114221319Z"),
                &sequence(&[&reason(1)]),
            ]),
        ]),
        &tlv(
            0xa0,
            &sequence(&[
                &own_key(b"key id"),
                &extension(ID_CE_CRL_NUMBER, false, &[2, 2, 0x12, 0x34]),
            ]),
        ),
    ]);
    let tbs = prepare(&root, &params(&entries)).unwrap().tbs;
    assert_eq!(hex::encode(tbs), hex::encode(expected));
}

#[test]
fn a_crl_of_a_shard_past_2049_has_exactly_these_bytes() {
    let root = Authority::root("root");
    let urls = ["http://a.example/0.crl", "http://b.example/0.crl"].map(|url| url.parse().unwrap());
    let params = CrlParams {
        number: CrlNumber::new(u64::MAX),
        // 2050-01-01T00:00:00.5Z.
        this_update: Timestamp::from_millisecond(2_524_608_000_500).unwrap(),
        next_update: at(2_524_608_001),
        partition: Some(&urls),
        revoked: &[
            revoked(&[1], 2_524_608_000, RevocationReason::Unspecified),
            revoked(&[2], 2_524_607_999, RevocationReason::Unspecified),
        ],
    };
    let names: Vec<u8> = urls
        .iter()
        .flat_map(|url| tlv(0x86, url.as_str().as_bytes()))
        .collect();
    let point = sequence(&[&tlv(0xa0, &tlv(0xa0, &names))]);
    let expected = sequence(&[
        &[2, 1, 1],
        &sequence(&[&oid_der(const_oid::db::rfc5912::ECDSA_WITH_SHA_256)]),
        &common_name("root"),
        &tlv(0x18, b"20500101000000Z"),
        &tlv(0x18, b"20500101000001Z"),
        &sequence(&[
            &sequence(&[&[2, 1, 1], &tlv(0x18, b"20500101000000Z")]),
            &sequence(&[&[2, 1, 2], &tlv(0x17, b"491231235959Z")]),
        ]),
        &tlv(
            0xa0,
            &sequence(&[
                &own_key(b"key id"),
                &extension(ID_CE_CRL_NUMBER, false, &integer(&[0xff; 8])),
                &extension(ID_CE_ISSUING_DISTRIBUTION_POINT, true, &point),
            ]),
        ),
    ]);
    let tbs = prepare(&root, &params).unwrap().tbs;
    assert_eq!(hex::encode(tbs), hex::encode(expected));
}

#[test]
fn the_same_entries_in_any_order_give_the_same_bytes() {
    let root = Authority::root("root");
    let mut entries: Vec<_> = (1..=200_u8)
        .map(|number| {
            let serial = [0x40, number.wrapping_mul(77), number];
            revoked(&serial, NOW, RevocationReason::Superseded)
        })
        .collect();
    let tbs = prepare(&root, &params(&entries)).unwrap().tbs;
    entries.reverse();
    entries.swap(3, 70);
    assert_eq!(prepare(&root, &params(&entries)).unwrap().tbs, tbs);
    let other = CrlParams {
        number: CrlNumber::new(0x1235),
        ..params(&entries)
    };
    assert_ne!(prepare(&root, &other).unwrap().tbs, tbs);
}

#[test]
fn a_crl_names_the_key_that_signs_it_and_not_the_key_above() {
    let root = Authority::builder("root")
        .key_ids(b"above", b"above")
        .root();
    let issuing = Authority::builder("issuing")
        .key_ids(b"own", b"above")
        .under(&root);
    let tbs = prepare(&issuing, &params(&[])).unwrap().tbs;
    let list = list::CertList::parse(&tbs).unwrap();
    let extensions = list.extensions().unwrap();
    let found = list::find(&extensions, ID_CE_AUTHORITY_KEY_IDENTIFIER).unwrap();
    assert_eq!(found.extn_value.as_bytes(), sequence(&[&tlv(0x80, b"own")]));
    // RFC 7093, method 1, if the certificate names no identifier of its key.
    let bare = Authority::builder("bare").without_subject_key_id().root();
    let identifier = bare.chain().issuing().authority_key_id();
    let tbs = prepare(&bare, &params(&[])).unwrap().tbs;
    let list = list::CertList::parse(&tbs).unwrap();
    let extensions = list.extensions().unwrap();
    let found = list::find(&extensions, ID_CE_AUTHORITY_KEY_IDENTIFIER).unwrap();
    assert_eq!(
        found.extn_value.as_bytes(),
        sequence(&[&tlv(0x80, &identifier)])
    );
}

#[test]
fn a_crl_by_every_kind_of_key_is_read_back_as_it_was_meant() {
    let entries: Vec<_> = (1..)
        .zip(RevocationReason::ALL)
        .map(|(number, reason)| {
            let serial = SerialNumber::from_octets(&[number]).unwrap();
            let since = (number % 2 == 0).then(|| at(NOW - WEEK));
            Revoked::new(serial, at(NOW), *reason, since).unwrap()
        })
        .collect();
    let other = Authority::root("ca");
    for key in TestKey::each_kind() {
        let ca = Authority::builder("ca").key(key).root();
        let prepared = prepare(&ca, &params(&entries)).unwrap();
        let hash = prepared.tbs_sha256();
        assert_eq!(prepared.number(), CrlNumber::new(0x1234));
        let tbs = prepared.tbs.clone();
        assert_eq!(hash, hex::encode(digest::digest(&digest::SHA256, &tbs)));
        let issued = block_on(prepared.issue(key)).unwrap();
        let read = ReadCrl::parse(issued.der()).unwrap();
        assert_eq!(read.der(), issued.der());
        assert_eq!(read.issuer_der(), ca.subject());
        assert_eq!(read.issuer_text(), "CN=ca");
        assert_eq!(read.this_update(), at(NOW));
        assert_eq!(read.next_update(), at(NOW + WEEK));
        assert_eq!(read.number(), Some(CrlNumber::new(0x1234)));
        assert_eq!(issued.number(), CrlNumber::new(0x1234));
        assert_eq!((read.scope(), read.is_partition()), (CrlScope::All, false));
        assert_eq!(read.entries(), entries);
        read.verify(ca.chain().issuing()).unwrap();
        let error = read.verify(other.chain().issuing()).unwrap_err();
        assert_eq!(error.reason(), "bad-signature", "{error}");
        let again = ReadCrl::parse_pem(issued.pem().as_bytes()).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!(again[0].pem(), issued.pem());
        assert_eq!(again[0].der(), issued.der());
    }
}

#[test]
fn a_crl_that_may_not_be_or_cannot_be_is_not_prepared() {
    let root = Authority::root("root");
    let mute = Authority::builder("mute").key_usage(&[5]).root();
    let error = prepare(&mute, &params(&[])).unwrap_err();
    assert!(matches!(error, PrepareCrlError::NoCrlSign(_)), "{error}");
    assert!(error.to_string().contains("CN=mute"), "{error}");
    assert_eq!(error.fault(), Fault::Issuer);

    let chain = root.chain();
    let rsa = SignatureAlgorithm::RsaPkcs1Sha256;
    let error = PreparedCrl::prepare(&params(&[]), chain.issuing(), rsa).unwrap_err();
    assert!(matches!(error, PrepareCrlError::Algorithm(_)), "{error}");
    assert_eq!(error.fault(), Fault::Issuer);

    let one = revoked(&[7], NOW, RevocationReason::Unspecified);
    let error = prepare(&root, &params(&[one, one])).unwrap_err();
    assert!(matches!(error, PrepareCrlError::Duplicate(serial) if serial == *one.serial()));
    assert_eq!(error.fault(), Fault::Bug);

    let many = vec![one; MAX_ENTRIES + 1];
    let error = prepare(&root, &params(&many)).unwrap_err();
    assert!(
        matches!(error, PrepareCrlError::TooMany(200_001)),
        "{error}"
    );
    assert_eq!(error.fault(), Fault::Issuer);

    let backwards = CrlParams {
        next_update: at(NOW),
        ..params(&[])
    };
    let error = prepare(&root, &backwards).unwrap_err();
    assert!(matches!(error, PrepareCrlError::Lint(_)), "{error}");
    assert_eq!(error.fault(), Fault::Bug);

    let before = CrlParams {
        this_update: at(-1),
        ..params(&[])
    };
    let error = prepare(&root, &before).unwrap_err();
    assert!(matches!(error, PrepareCrlError::Encode(_)), "{error}");
    assert_eq!(error.fault(), Fault::Bug);
}

#[test]
fn the_largest_crl_that_we_make_can_be_read() {
    let root = Authority::root("root");
    let size = |entries: &[Revoked]| {
        let params = CrlParams {
            this_update: at(Timestamp::MAX.as_second() - 1),
            next_update: Timestamp::MAX,
            ..params(entries)
        };
        prepare(&root, &params).unwrap().tbs.len()
    };
    let largest = |last| {
        let mut serial = [0x7f; 20];
        serial[19] = last;
        let serial = SerialNumber::from_octets(&serial).unwrap();
        let late = Timestamp::MAX;
        Revoked::new(serial, late, RevocationReason::KeyCompromise, Some(late)).unwrap()
    };
    let entry = size(&[largest(1), largest(2)]) - size(&[largest(1)]);
    let rest = 64 * 1024;
    assert!(
        entry * MAX_ENTRIES + rest < MAX_DER,
        "{entry} octets for an entry"
    );
}

#[test]
fn a_crl_whose_signature_is_by_another_key_is_never_released() {
    let root = Authority::root("root");
    let prepared = prepare(&root, &params(&[])).unwrap();
    let error = block_on(prepared.issue(&TestKey::p256())).unwrap_err();
    assert!(matches!(error, IssueError::Unverified(_)), "{error}");
    assert_eq!(error.fault(), Fault::Bug);
    let prepared = prepare(&root, &params(&[])).unwrap();
    let error = block_on(prepared.issue(&Unwilling)).unwrap_err();
    assert_eq!(error.fault(), SignError::passing("overloaded").fault());
}

#[test]
fn a_crl_of_other_contents_or_by_another_key_is_not_taken_for_the_prepared_one() {
    let root = Authority::root("root");
    let issued = |authority: &Authority, entries: &[Revoked]| {
        let prepared = prepare(authority, &params(entries)).unwrap();
        block_on(prepared.issue(authority.key())).unwrap()
    };
    let entries = [revoked(&[1], NOW, RevocationReason::Superseded)];
    let prepared = prepare(&root, &params(&entries)).unwrap();
    assert!(prepared.check(issued(&root, &entries).der()).is_ok());
    assert!(prepared.check(issued(&root, &[]).der()).is_err());
    let namesake = Authority::root("root");
    assert!(prepared.check(issued(&namesake, &entries).der()).is_err());
    assert!(prepared.check(&prepared.unsigned().unwrap()).is_err());
}

#[test]
fn a_ca_without_key_usage_may_sign_crls() {
    let old = Authority::builder("old").key_usage(&[]).root();
    assert!(prepare(&old, &params(&[])).is_ok());
}
