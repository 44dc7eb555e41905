//! CRLs of others: what is read of them, and each reason to read none.

use const_oid::db::{
    rfc5280::*,
    rfc5912::{ECDSA_WITH_SHA_384, SHA_1_WITH_RSA_ENCRYPTION},
};
use proptest::prelude::*;

use super::*;
use crate::issuance::testing::*;

fn root() -> Authority {
    Authority::root("root")
}

#[test]
fn a_crl_of_others_is_read_as_it_is() {
    let root = root();
    let mut draft = DraftCrl::new();
    // An extension that we do not know and that is not critical is of no importance.
    draft.set(ID_CE_ISSUER_ALT_NAME, false, san(&[(DNS, b"a.example")]));
    let der = draft.signed(&root);
    let read = ReadCrl::parse(&der).unwrap();
    let serial = |octet| SerialNumber::from_octets(&[octet; 16]).unwrap();
    // 2023-11-14T22:00:00Z and 2023-11-01T00:00:00Z.
    let (then, since) = (at(1_699_999_200), at(1_698_796_800));
    let entries = [
        Revoked::new(serial(0x5a), then, RevocationReason::Unspecified, None),
        Revoked::new(
            serial(0x5b),
            then,
            RevocationReason::KeyCompromise,
            Some(since),
        ),
    ];
    assert_eq!(read.entries(), entries.map(Result::unwrap));
    assert_eq!(read.der(), der);
    assert_eq!(read.issuer_der(), common_name("root"));
    assert_eq!(read.this_update(), at(1_700_000_000));
    assert_eq!(read.next_update(), at(1_700_604_800));
    assert_eq!(read.number(), Some(CrlNumber::new(0x1234)));
    assert_eq!((read.scope(), read.is_partition()), (CrlScope::All, false));
    read.verify(root.chain().issuing()).unwrap();
}

#[test]
fn numbers_above_64_bits_are_read_and_are_none_of_ours() {
    let mut draft = DraftCrl::new();
    let number = |draft: &DraftCrl| ReadCrl::parse(&draft.signed(&root())).map(|crl| crl.number());
    draft.set(ID_CE_CRL_NUMBER, false, integer(&[0xff; 8]));
    assert_eq!(number(&draft).unwrap(), Some(CrlNumber::new(u64::MAX)));
    for octets in [
        vec![1, 0, 0, 0, 0, 0, 0, 0, 0],
        vec![0x7f; 20],
        vec![0xff; 20],
    ] {
        draft.set(ID_CE_CRL_NUMBER, false, integer(&octets));
        assert_eq!(number(&draft).unwrap(), None);
    }
    draft
        .extensions
        .retain(|(kind, ..)| *kind != ID_CE_CRL_NUMBER);
    assert_eq!(number(&draft).unwrap(), None);
    for malformed in [
        integer(&[1; 21]),
        tlv(2, &[0x80]),
        tlv(2, &[0, 1]),
        tlv(4, &[1]),
    ] {
        draft.set(ID_CE_CRL_NUMBER, false, malformed);
        assert_eq!(number(&draft).unwrap_err().reason(), "bad-extension");
    }
}

#[test]
fn the_distribution_point_says_what_a_crl_is_about() {
    let url = tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a.example/0.crl")));
    let (users, authorities) = ([0x81, 1, 0xff], [0x82, 1, 0xff]);
    let read = |value: &[&[u8]]| {
        let mut draft = DraftCrl::new();
        draft.set(ID_CE_ISSUING_DISTRIBUTION_POINT, true, sequence(value));
        ReadCrl::parse(&draft.signed(&root()))
            .map(|crl| (crl.scope(), crl.is_partition()))
            .map_err(|error| error.reason())
    };
    assert_eq!(read(&[&url]), Ok((CrlScope::All, true)));
    assert_eq!(read(&[&url, &users]), Ok((CrlScope::EndEntities, true)));
    assert_eq!(read(&[&authorities]), Ok((CrlScope::Authorities, false)));
    assert_eq!(read(&[]), Ok((CrlScope::All, false)));
    assert_eq!(read(&[&users, &authorities]), Err("bad-extension"));
    assert_eq!(read(&[&[0x85, 1, 0xff]]), Err("bad-extension"));
    assert_eq!(read(&[&[0x83, 2, 6, 0x40]]), Err("some-reasons-only"));
    assert_eq!(read(&[&[0x84, 1, 0xff]]), Err("indirect-crl"));
    assert_eq!(read(&[&[5, 0]]), Err("bad-extension"));
}

type Spoil = fn(&mut DraftCrl);

/// Every reason that a change of a good CRL leads to.
const REFUSED: &[(&str, Spoil)] = &[
    ("bad-der", |d| d.this_update = integer(&[1])),
    ("bad-der", |d| d.next_update = tlv(0x17, b"2311212213Z")),
    ("bad-der", |d| d.raw = vec![0x30]),
    ("bad-version", |d| d.version = Vec::new()),
    ("bad-version", |d| d.version = integer(&[0])),
    ("bad-issuer", |d| d.issuer = sequence(&[])),
    ("bad-issuer", |d| {
        d.issuer = common_name(&"a".repeat(70_000));
    }),
    ("bad-next-update", |d| d.next_update = Vec::new()),
    ("bad-next-update", |d| d.next_update = d.this_update.clone()),
    ("bad-entry", |d| d.entries[1].serial = integer(&[0])),
    ("bad-entry", |d| d.entries[1].serial = tlv(2, &[0xff])),
    ("bad-entry", |d| d.entries[1].serial = integer(&[1; 21])),
    ("bad-entry", |d| d.entries[1].at = Vec::new()),
    ("bad-entry", |d| {
        let reason = extension(ID_CE_CRL_REASONS, false, &[10, 1, 8]);
        d.entries[0].extensions = sequence(&[&reason]);
    }),
    ("bad-entry", |d| {
        let reason = extension(ID_CE_CRL_REASONS, false, &[10, 1, 7]);
        d.entries[0].extensions = sequence(&[&reason]);
    }),
    ("bad-entry", |d| {
        let date = extension(ID_CE_INVALIDITY_DATE, false, &tlv(0x17, b"231101000000Z"));
        d.entries[0].extensions = sequence(&[&date]);
    }),
    ("bad-entry", |d| {
        let other = extension(ID_CE_CERTIFICATE_ISSUER, true, &sequence(&[]));
        d.entries[0].extensions = sequence(&[&other]);
    }),
    ("bad-entry", |d| {
        let unknown = extension(oid("1.2.3"), true, &[5, 0]);
        d.entries[0].extensions = sequence(&[&unknown]);
    }),
    ("bad-entry", |d| {
        let unknown = extension(oid("1.2.3"), false, &[5, 0]);
        d.entries[0].extensions = sequence(&[&unknown, &unknown]);
    }),
    ("too-many-extensions", |d| {
        d.raw = extension(oid("1.2.3"), false, &[5, 0]).repeat(31);
    }),
    ("duplicate-extension", |d| {
        d.raw = extension(ID_CE_CRL_NUMBER, false, &integer(&[1]));
    }),
    ("bad-extension", |d| {
        d.set(oid("1.2.3"), false, vec![0; 65 * 1024]);
    }),
    ("bad-extension", |d| {
        d.set(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, vec![5, 0]);
    }),
    ("unknown-critical-extension", |d| {
        d.set(ID_CE_ISSUER_ALT_NAME, true, san(&[(DNS, b"a.example")]));
    }),
    ("delta-crl", |d| {
        d.set(ID_CE_DELTA_CRL_INDICATOR, true, integer(&[1]));
    }),
    ("indirect-crl", |d| {
        let value = sequence(&[&[0x84, 1, 0xff]]);
        d.set(ID_CE_ISSUING_DISTRIBUTION_POINT, true, value);
    }),
    ("some-reasons-only", |d| {
        let value = sequence(&[&[0x83, 2, 6, 0x40]]);
        d.set(ID_CE_ISSUING_DISTRIBUTION_POINT, true, value);
    }),
];

#[test]
fn each_fault_of_a_crl_has_its_own_reason() {
    let root = root();
    for (index, (reason, spoil)) in REFUSED.iter().enumerate() {
        let mut draft = DraftCrl::new();
        spoil(&mut draft);
        let error = ReadCrl::parse(&draft.signed(&root)).unwrap_err();
        assert_eq!(error.reason(), *reason, "row {index}: {error}");
    }
    let good = DraftCrl::new();
    let tbs = good.der();
    let other = sequence(&[&oid_der(ECDSA_WITH_SHA_384)]);
    let differing = sequence(&[&tbs, &other, &bit_string(&[1])]);
    let error = ReadCrl::parse(&differing).unwrap_err();
    assert_eq!(error.reason(), "algorithms-differ");
    let longer = [good.signed(&root), vec![0]].concat();
    assert_eq!(ReadCrl::parse(&longer).unwrap_err().reason(), "bad-der");
}

#[test]
fn an_empty_list_and_any_order_of_entries_are_accepted_from_others() {
    let root = root();
    let mut draft = DraftCrl::new();
    draft.entries.reverse();
    let entry = draft.entries[0].clone();
    draft.entries.push(entry);
    assert_eq!(
        ReadCrl::parse(&draft.signed(&root))
            .unwrap()
            .entries()
            .len(),
        3
    );
    draft.entries.clear();
    assert!(
        ReadCrl::parse(&draft.signed(&root))
            .unwrap()
            .entries()
            .is_empty()
    );
    draft.has_list = false;
    draft.extensions.clear();
    let bare = ReadCrl::parse(&draft.signed(&root)).unwrap();
    assert!(bare.entries().is_empty());
    bare.verify(root.chain().issuing()).unwrap();
}

#[test]
fn sizes_and_numbers_are_bounded() {
    let huge = vec![0x30; MAX_DER + 1];
    assert_eq!(ReadCrl::parse(&huge).unwrap_err().reason(), "too-large");
    let huge = vec![b'\n'; MAX_TEXT + 1];
    assert_eq!(ReadCrl::parse_pem(&huge).unwrap_err().reason(), "too-large");
    let mut draft = DraftCrl::new();
    let DraftEntry { at, .. } = draft.entries[0].clone();
    let root = root();
    draft.entries = (0..=u32::try_from(MAX_ENTRIES).unwrap())
        .map(|number| DraftEntry {
            serial: integer(&[&[0x40][..], &number.to_be_bytes()].concat()),
            at: at.clone(),
            extensions: Vec::new(),
        })
        .collect();
    let error = ReadCrl::parse(&draft.signed(&root)).unwrap_err();
    assert_eq!(error.reason(), "too-many-entries");
    draft.entries.pop();
    let most = ReadCrl::parse(&draft.signed(&root)).unwrap();
    assert_eq!(most.entries().len(), MAX_ENTRIES);
    let largest = pem::encode(LABEL, &vec![0; MAX_DER]);
    assert!(largest.len() <= MAX_TEXT, "{} octets", largest.len());
}

#[test]
fn a_text_has_one_or_more_crls_and_nothing_else() {
    let root = root();
    let der = DraftCrl::new().signed(&root);
    let text = pem::encode(LABEL, &der);
    let read = |octets: &[u8]| {
        let read = ReadCrl::parse_either(octets);
        read.map(|all| all.len()).map_err(|error| error.reason())
    };
    assert_eq!(read(&der), Ok(1));
    assert_eq!(read(text.as_bytes()), Ok(1));
    assert_eq!(
        read(format!("# root\n{text}\n# again\n{text}").as_bytes()),
        Ok(2)
    );
    assert_eq!(read(text.repeat(MAX_CRLS).as_bytes()), Ok(MAX_CRLS));
    assert_eq!(
        read(text.repeat(MAX_CRLS + 1).as_bytes()),
        Err("too-many-crls")
    );
    assert_eq!(read(b""), Err("bad-pem"));
    assert_eq!(read(b"CRL"), Err("bad-pem"));
    assert_eq!(read(&[0x30]), Err("bad-der"));
    assert_eq!(read((text + &root.pem()).as_bytes()), Err("not-a-crl"));
    assert_eq!(read(pem::encode(LABEL, &[5, 0]).as_bytes()), Err("bad-der"));
}

#[test]
fn only_the_ca_that_made_a_crl_verifies_it() {
    let root = root();
    let reason = |draft: &DraftCrl, authority: &Authority| {
        let crl = ReadCrl::parse(&draft.signed(&root)).unwrap();
        let verdict = crl.verify(authority.chain().issuing());
        verdict.map_err(|error| error.reason())
    };
    let draft = DraftCrl::new();
    assert_eq!(reason(&draft, &root), Ok(()));
    assert_eq!(
        reason(&draft, &Authority::root("Root")),
        Err("other-issuer")
    );
    assert_eq!(
        reason(&draft, &Authority::root("root")),
        Err("bad-signature")
    );
    let renewed = |usage: &[u8]| Authority::builder("root").key(root.key()).key_usage(usage);
    assert_eq!(reason(&draft, &renewed(&[5, 6]).root()), Ok(()));
    assert_eq!(reason(&draft, &renewed(&[5]).root()), Err("no-crl-sign"));
    let other = renewed(&[5, 6]).key_ids(b"other", b"other").root();
    assert_eq!(reason(&draft, &other), Err("other-key"));
    let silent = renewed(&[5, 6]).without_subject_key_id().root();
    assert_eq!(reason(&draft, &silent), Ok(()));
    let mut weak = DraftCrl::new();
    weak.algorithm = sequence(&[&oid_der(SHA_1_WITH_RSA_ENCRYPTION), &[5, 0]]);
    assert_eq!(reason(&weak, &root), Err("bad-algorithm"));
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(ReadCrl::parse(&octets));
        drop(ReadCrl::parse_either(&octets));
    }

    #[test]
    fn a_changed_octet_never_gives_a_crl_that_verifies(
        place in any::<proptest::sample::Index>(),
        change in 1..=u8::MAX,
    ) {
        let root = root();
        let mut der = DraftCrl::new().signed(&root);
        let place = place.index(der.len());
        der[place] ^= change;
        if let Ok(crl) = ReadCrl::parse(&der) {
            prop_assert!(crl.verify(root.chain().issuing()).is_err());
        }
    }
}
