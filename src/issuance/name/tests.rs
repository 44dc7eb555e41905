//! Tests which names are well formed and which are the same.

use super::{super::testing::*, *};

const CN: &str = "2.5.4.3";

#[test]
fn a_name_prints_its_last_rdn_first_and_escapes_special_characters() {
    let der = name(&[
        &[("2.5.4.6", Tag::PrintableString, b"DE")],
        &[
            (CN, Tag::Utf8String, b" a,b\x01"),
            ("1.2.3", Tag::Utf8String, b"x"),
        ],
    ]);
    assert_eq!(
        Name::parse(&der).unwrap().to_string(),
        "CN=\\ a\\,b\\01+1.2.3=#0c0178,C=DE"
    );
}

#[test]
fn each_malformed_value_is_refused_under_its_slug() {
    use RefusalReason::{BadString, BadSubject};
    let long = [b'a'; 65];
    let table: &[(&str, Tag, &[u8], RefusalReason)] = &[
        (CN, Tag::Utf8String, b"\xff", BadString),
        (CN, Tag::Utf8String, b"a\0b", BadString),
        (CN, Tag::Utf8String, b"a\nb", BadString),
        (CN, Tag::PrintableString, b"a*b", BadString),
        (CN, Tag::Ia5String, b"\x80", BadString),
        (CN, Tag::TeletexString, b"a", BadString),
        (CN, Tag::BmpString, b"\0a", BadString),
        (CN, Tag::Integer, b"\x01", BadString),
        (CN, Tag::Utf8String, b"", BadSubject),
        (CN, Tag::Utf8String, &long, BadSubject),
        ("2.5.4.6", Tag::PrintableString, b"DEU", BadSubject),
        ("2.5.4.6", Tag::PrintableString, b"D1", BadSubject),
    ];
    for (oid, tag, value, reason) in table {
        let der = name(&[&[(oid, *tag, value)]]);
        let error = Name::parse(&der).unwrap().check().unwrap_err();
        assert_eq!(error.reason(), *reason, "{value:?}");
    }
    let empty_rdn = Name::parse(&[0x30, 2, 0x31, 0]).unwrap();
    assert_eq!(empty_rdn.check(), Err(NameError::EmptyRdn));
}

#[test]
fn the_length_of_a_common_name_counts_characters_not_octets() {
    let text = "ü".repeat(64);
    let der = name(&[&[(CN, Tag::Utf8String, text.as_bytes())]]);
    assert_eq!(Name::parse(&der).unwrap().check(), Ok(()));
}

#[test]
fn names_compare_without_case_white_space_and_string_types() {
    use der::Tag::*;
    let named = |rdns: &[&[(&str, Tag, &[u8])]]| Name::parse(&name(rdns)).unwrap();
    let cn = |tag, text: &[u8]| named(&[&[(CN, tag, text)]]);
    let plain = cn(Utf8String, b"My Company");
    for same in [
        cn(PrintableString, b"My Company"),
        cn(Ia5String, b"my company"),
        cn(VisibleString, b"MY COMPANY"),
        cn(TeletexString, b" My   Company "),
        cn(BmpString, b"\0M\0y\0 \0C\0o\0m\0p\0a\0n\0y"),
    ] {
        assert_eq!(plain.is_same_as(&same), Some(true), "{same:?}");
        assert_eq!(same.is_same_as(&plain), Some(true), "{same:?}");
        assert_ne!(plain, same);
    }
    for (one, other) in [
        ("STRASSE", "straße"),
        ("ΟΔΟΣ", "οδος"),
        ("Ünïcode", "ÜNÏCODE"),
    ] {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        assert_eq!(
            cn(Utf8String, one).is_same_as(&cn(Utf8String, other)),
            Some(true)
        );
    }
    assert_eq!(
        cn(TeletexString, b"M\xfcller").is_same_as(&cn(Utf8String, "MÜLLER".as_bytes())),
        Some(true)
    );
    for different in [
        cn(Utf8String, b"MyCompany"),
        cn(Utf8String, b"My Company 2"),
        named(&[&[("2.5.4.10", Utf8String, b"My Company")]]),
        named(&[&[
            (CN, Utf8String, b"My Company"),
            ("2.5.4.11", Utf8String, b"a"),
        ]]),
        named(&[
            &[(CN, Utf8String, b"My Company")],
            &[("2.5.4.11", Utf8String, b"a")],
        ]),
        named(&[]),
    ] {
        assert_eq!(plain.is_same_as(&different), Some(false), "{different:?}");
        assert_eq!(different.is_same_as(&plain), Some(false), "{different:?}");
    }
    // The order within an RDN depends on the encoding, and therefore on the string type.
    let one = named(&[&[(CN, Utf8String, b"a"), ("2.5.4.11", PrintableString, b"b")]]);
    let other = named(&[&[("2.5.4.11", Utf8String, b"B"), (CN, PrintableString, b"A")]]);
    assert_eq!(one.is_same_as(&other), Some(true));
    // Values that are not text are the same only if their octets are equal.
    assert_eq!(
        cn(OctetString, b"a").is_same_as(&cn(OctetString, b"a")),
        Some(true)
    );
    assert_eq!(
        cn(OctetString, b"a").is_same_as(&cn(Utf8String, b"a")),
        None
    );
    assert_eq!(cn(BmpString, b"a").is_same_as(&cn(Utf8String, b"a")), None);
}
