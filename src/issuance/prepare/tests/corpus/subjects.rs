//! Subjects.

use super::*;

pub(super) fn subjects(corpus: &mut Corpus) {
    let long = [b'a'; 65];
    let utf8 = |kind: &str, text: &[u8]| name(&[&[(kind, Tag::Utf8String, text)]]);
    let of = |tag: Tag, text: &[u8]| name(&[&[("2.5.4.3", tag, text)]]);
    for (label, subject, slug) in [
        ("an empty RDN", vec![0x30, 2, 0x31, 0], "bad-subject"),
        ("an empty common name", utf8("2.5.4.3", b""), "bad-subject"),
        ("a common name of 65", utf8("2.5.4.3", &long), "bad-subject"),
        (
            "an organisation of 65",
            utf8("2.5.4.10", &long),
            "bad-subject",
        ),
        ("a unit of 65", utf8("2.5.4.11", &long), "bad-subject"),
        ("a country of three", utf8("2.5.4.6", b"DEU"), "bad-subject"),
        ("a country of one", utf8("2.5.4.6", b"D"), "bad-subject"),
        ("a country of digits", utf8("2.5.4.6", b"49"), "bad-subject"),
        (
            "a serial number of 65",
            utf8("2.5.4.5", &long),
            "bad-subject",
        ),
        ("the CA's name", fixture().subject().to_vec(), "bad-subject"),
        ("invalid UTF-8", utf8("2.5.4.3", b"\xc3\x28"), "bad-string"),
        ("overlong UTF-8", utf8("2.5.4.3", b"\xc0\xaf"), "bad-string"),
        ("a NUL", utf8("2.5.4.3", b"a\0b"), "bad-string"),
        ("a line feed", utf8("2.5.4.3", b"a\nb"), "bad-string"),
        ("a tab", utf8("2.5.4.3", b"a\tb"), "bad-string"),
        ("DEL", utf8("2.5.4.3", b"a\x7fb"), "bad-string"),
        (
            "a C1 control",
            utf8("2.5.4.3", "a\u{85}b".as_bytes()),
            "bad-string",
        ),
        (
            "an at sign in a PrintableString",
            of(Tag::PrintableString, b"a@b"),
            "bad-string",
        ),
        (
            "a star in a PrintableString",
            of(Tag::PrintableString, b"*.a"),
            "bad-string",
        ),
        (
            "UTF-8 in a PrintableString",
            of(Tag::PrintableString, "ü".as_bytes()),
            "bad-string",
        ),
        (
            "Latin-1 in an IA5String",
            of(Tag::Ia5String, b"\xfc"),
            "bad-string",
        ),
        (
            "Latin-1 in a TeletexString",
            of(Tag::TeletexString, b"\xfc"),
            "bad-string",
        ),
        (
            "half a character in a BMPString",
            of(Tag::BmpString, b"\0a\0"),
            "bad-string",
        ),
        (
            "a country that a PrintableString cannot hold",
            utf8("2.5.4.6", "\u{dc}S".as_bytes()),
            "bad-string",
        ),
        (
            "an emailAddress that an IA5String cannot hold",
            utf8("1.2.840.113549.1.9.1", "\u{fc}@a.example".as_bytes()),
            "bad-string",
        ),
        (
            "an emailAddress in a PrintableString, which has no at sign",
            name(&[&[("1.2.840.113549.1.9.1", Tag::PrintableString, b"a@a.example")]]),
            "bad-string",
        ),
        ("an INTEGER", of(Tag::Integer, &[1]), "bad-string"),
        ("a SEQUENCE", of(Tag::Sequence, &[]), "bad-string"),
        (
            "an unknown attribute with a NUL",
            utf8("1.2.3", b"\0"),
            "bad-string",
        ),
        (
            "the CA's name in capitals",
            common_name("ROOT"),
            "bad-subject",
        ),
        ("no subject", name(&[]), "no-identity"),
        ("a SEQUENCE of NULL", vec![0x30, 2, 5, 0], "bad-der"),
        (
            "an attribute without a value",
            sequence(&[&set(&[&sequence(&[&oid_der(oid("2.5.4.3"))])])]),
            "bad-der",
        ),
    ] {
        let mut request = plain();
        request.subject = subject;
        corpus.refused(label, request.pem(key()), slug);
    }
    for (label, subject) in [
        (
            "64 characters of two octets",
            utf8("2.5.4.3", "ü".repeat(64).as_bytes()),
        ),
        (
            "an RDN that is not sorted",
            name(&[&[
                ("2.5.4.10", Tag::Utf8String, b"z"),
                ("2.5.4.3", Tag::Utf8String, b"a"),
            ]]),
        ),
        (
            "the same attribute twice",
            name(&[
                &[("2.5.4.11", Tag::Utf8String, b"a")],
                &[("2.5.4.11", Tag::Utf8String, b"a")],
            ]),
        ),
        ("an unknown attribute", utf8("1.2.3.4", b"a")),
        ("emoji", utf8("2.5.4.3", "🔑".as_bytes())),
        ("the CA's name and more", common_name("ROOT 2")),
    ] {
        let mut request = plain();
        request.subject.clone_from(&subject);
        corpus.add(label, request.pem(key()), Ok(subject));
    }
    for large in LARGE {
        let mut request = plain();
        request.subject = name(&[&[(large, Tag::Utf8String, b"a")]]);
        let expected = request.subject.clone();
        corpus.add(
            format!("an attribute {large} of the subject"),
            request.pem(key()),
            Ok(expected),
        );
    }
    strings(corpus);
}

/// Subjects with string types that RFC 5280, appendix A.1 does not allow.
fn strings(corpus: &mut Corpus) {
    let of = |kind: &str, tag: Tag, text: &[u8]| name(&[&[(kind, tag, text)]]);
    for (label, kind, tag, text, right) in [
        (
            "a country",
            "2.5.4.6",
            Tag::Utf8String,
            &b"DE"[..],
            Tag::PrintableString,
        ),
        (
            "a serial number",
            "2.5.4.5",
            Tag::Utf8String,
            b"4711",
            Tag::PrintableString,
        ),
        (
            "a domain component",
            "0.9.2342.19200300.100.1.25",
            Tag::Utf8String,
            b"a",
            Tag::Ia5String,
        ),
        (
            "an emailAddress",
            "1.2.840.113549.1.9.1",
            Tag::Utf8String,
            b"a@a.example",
            Tag::Ia5String,
        ),
        (
            "a common name",
            "2.5.4.3",
            Tag::Ia5String,
            b"a@b",
            Tag::Utf8String,
        ),
        (
            "an organisation",
            "2.5.4.10",
            Tag::Ia5String,
            b"a",
            Tag::Utf8String,
        ),
        (
            "a unit",
            "2.5.4.11",
            Tag::TeletexString,
            b"a",
            Tag::Utf8String,
        ),
    ] {
        let mut request = plain();
        request.subject = of(kind, tag, text);
        let expected = of(kind, right, text);
        corpus.add(
            format!("{label} as {tag}"),
            request.pem(key()),
            Ok(expected),
        );
    }
    let mut request = plain();
    request.subject = of("2.5.4.3", Tag::BmpString, b"\0a\x20\xac");
    let expected = of("2.5.4.3", Tag::Utf8String, "a\u{20ac}".as_bytes());
    corpus.add(
        "a common name as BMPString",
        request.pem(key()),
        Ok(expected),
    );
}
