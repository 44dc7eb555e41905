//! Which names are well formed, and which are the same.

use super::{super::testing::*, *};

const CN: &str = "2.5.4.3";

#[test]
fn names_print_last_first_and_escaped() {
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
fn each_unfit_value_is_refused_under_its_slug() {
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
fn sixty_four_characters_of_more_octets_are_a_fit_common_name() {
    let text = "ü".repeat(64);
    let der = name(&[&[(CN, Tag::Utf8String, text.as_bytes())]]);
    assert_eq!(Name::parse(&der).unwrap().check(), Ok(()));
}
