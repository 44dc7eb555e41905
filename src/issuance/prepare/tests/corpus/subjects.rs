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
            "a TeletexString",
            of(Tag::TeletexString, b"a"),
            "bad-string",
        ),
        ("a BMPString", of(Tag::BmpString, b"\0a"), "bad-string"),
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
        ("an IA5String", of(Tag::Ia5String, b"a@b")),
        ("emoji", utf8("2.5.4.3", "🔑".as_bytes())),
        ("the CA's name and more", common_name("ROOT 2")),
    ] {
        let mut request = plain();
        request.subject.clone_from(&subject);
        corpus.add(label, request.pem(key()), Ok(subject));
    }
}
