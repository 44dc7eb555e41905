//! Tests which names of every type are well formed.

use super::{super::testing::*, *};

fn check(tag: u8, value: &[u8]) -> Result<(), SanError> {
    SubjectAltNames::parse(&san(&[(tag, value)]))?.check(DnsSyntax::Strict)
}

#[test]
fn well_formed_names_pass() {
    for dns in [
        "a",
        "a.example",
        "*.a.example",
        "xn--bcher-kva.example",
        "A-1.Example",
        "1.example",
    ] {
        assert_eq!(check(DNS, dns.as_bytes()), Ok(()), "{dns}");
    }
    for uri in [
        "spiffe://td.example/ns/a/sa/b",
        "urn:uuid:0",
        "https://[2001:db8::1]:8443/a?b#c",
        "http://a/%20",
    ] {
        assert_eq!(check(URI, uri.as_bytes()), Ok(()), "{uri}");
    }
    assert_eq!(check(EMAIL, b"first.last+tag@mail.example"), Ok(()));
    assert_eq!(check(IP, &[10, 0, 0, 1]), Ok(()));
    assert_eq!(check(IP, &[0; 16]), Ok(()));
}

#[test]
fn underscores_are_allowed_only_by_the_underscore_syntax() {
    let names = SubjectAltNames::parse(&san(&[(DNS, b"_http._tcp.a.example")])).unwrap();
    assert!(names.check(DnsSyntax::Strict).is_err());
    assert_eq!(names.check(DnsSyntax::Underscore), Ok(()));
}

#[test]
fn an_other_name_is_a_type_and_one_value() {
    let kind = oid_der(oid("1.3.6.1.4.1.311.20.2.3"));
    let good = [&kind[..], &tlv(0xa0, &tlv(0x0c, b"a@b"))].concat();
    assert_eq!(check(0xa0, &good), Ok(()));
    for bad in [
        Vec::new(),
        kind.clone(),
        [&kind[..], &tlv(0x0c, b"a@b")].concat(),
        [&kind[..], &tlv(0xa0, &[])].concat(),
        [&good[..], &tlv(5, &[])].concat(),
    ] {
        assert!(matches!(check(0xa0, &bad), Err(SanError::Encoding(_))));
    }
}

#[test]
fn a_known_other_name_has_the_string_type_of_its_definition() {
    let value = |kind: &str, tag: u8, text: &[u8]| {
        [&oid_der(oid(kind))[..], &tlv(0xa0, &tlv(tag, text))].concat()
    };
    const UTF8: u8 = 0x0c;
    const IA5: u8 = 0x16;
    for (kind, fit) in [
        ("1.3.6.1.4.1.311.20.2.3", UTF8),
        ("1.3.6.1.5.5.7.8.5", UTF8),
        ("1.3.6.1.5.5.7.8.7", IA5),
        ("1.3.6.1.5.5.7.8.8", UTF8),
        ("1.3.6.1.5.5.7.8.9", UTF8),
    ] {
        assert_eq!(check(0xa0, &value(kind, fit, b"jim@corp.example")), Ok(()));
        for (tag, text) in [
            (
                if fit == UTF8 { IA5 } else { UTF8 },
                &b"jim@corp.example"[..],
            ),
            (0x13, b"jim"),
            (0x1e, b"\0j\0i\0m"),
            (4, b"jim"),
            (0x30, b""),
            (fit, b""),
            (fit, b"\xff"),
            (fit, b"ji\0m"),
            (fit, b"ji\nm"),
        ] {
            let found = check(0xa0, &value(kind, tag, text));
            assert!(
                matches!(found, Err(SanError::OtherName { .. })),
                "{kind} {tag} {text:?}: {found:?}"
            );
        }
    }
    // The value of an unknown type is not checked.
    assert_eq!(check(0xa0, &value("1.3.6.1.5.2.2", 0x30, b"")), Ok(()));
}

#[test]
fn an_ipv4_address_mapped_into_ipv6_is_refused() {
    let mapped = |octets: [u8; 4]| [&[0; 10][..], &[0xff, 0xff], &octets].concat();
    for octets in [[10, 0, 0, 1], [0; 4], [255; 4]] {
        let found = check(IP, &mapped(octets));
        assert!(matches!(found, Err(SanError::Mapped(_))), "{found:?}");
    }
    for uri in [
        "https://[::ffff:10.0.0.1]/",
        "https://user@[::FFFF:a00:1]:8443/a?b#c",
    ] {
        let found = check(URI, uri.as_bytes());
        assert!(matches!(found, Err(SanError::Mapped(_))), "{found:?}");
    }
    // An address just outside the mapped range, an obsolete IPv4-compatible address, and the IPv4 address itself.
    let mut below = mapped([10, 0, 0, 1]);
    below[11] = 0xfe;
    let compatible = [&[0; 12][..], &[10, 0, 0, 1]].concat();
    for octets in [&below[..], &compatible, &[10, 0, 0, 1]] {
        assert_eq!(check(IP, octets), Ok(()));
    }
    assert_eq!(
        check(URI, b"https://[2001:db8::1]/?a=[::ffff:10.0.0.1]"),
        Ok(())
    );
}

#[test]
fn a_directory_name_obeys_the_rules_of_subjects() {
    assert_eq!(check(0xa4, &common_name("a")), Ok(()));
    let long = common_name(&"a".repeat(65));
    let control = name(&[&[("2.5.4.3", Tag::Utf8String, b"a\nb")]]);
    for bad in [long, control] {
        let found = check(0xa4, &bad);
        assert!(
            matches!(found, Err(SanError::Directory { .. })),
            "{found:?}"
        );
    }
    assert_eq!(check(0xa4, &sequence(&[])), Err(SanError::EmptyDirectory));
    let two = [common_name("a"), common_name("b")].concat();
    for bad in [&[][..], &[5, 0], &[0x0c, 1, b'a'], &two] {
        let found = check(0xa4, bad);
        assert!(matches!(found, Err(SanError::Encoding(_))), "{found:?}");
    }
}

#[test]
fn a_registered_id_is_a_complete_and_canonical_object_identifier() {
    assert_eq!(check(0x88, &[0x2a, 3]), Ok(()));
    for bad in [&[][..], &[0x2a, 0x83], &[0x2a, 0x80, 1]] {
        assert_eq!(check(0x88, bad), Err(SanError::Value("registeredID")));
    }
}

#[test]
fn malformed_names_are_refused() {
    let long_label = "a".repeat(64);
    let long_name = ["a"; 128].join(".");
    for dns in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "*",
        "*.",
        "a.*.b",
        "*a.b",
        "**.a",
        "-a.b",
        "a-.b",
        "a_b.c",
        "a b",
        "a\0.b",
        "10.0.0.1",
        &long_label,
        &long_name,
    ] {
        assert!(check(DNS, dns.as_bytes()).is_err(), "{dns}");
    }
    for uri in [
        "",
        "a",
        "//host/a",
        "/a",
        "http:",
        "http://",
        "http:///a",
        "http://:80",
        "1a:b",
        "a:b c",
        "a:%2",
        "a:%gg",
        "a:\n",
    ] {
        assert!(check(URI, uri.as_bytes()).is_err(), "{uri}");
    }
    for email in [
        "",
        "a",
        "@a",
        "a@",
        "a@b@c",
        ".a@b",
        "a..b@c",
        "a b@c",
        "a@*.b",
        "\"a b\"@c",
    ] {
        assert!(check(EMAIL, email.as_bytes()).is_err(), "{email}");
    }
    for octets in [&[][..], &[1], &[10, 0, 0, 0, 255, 0, 0, 0], &[0; 17]] {
        assert_eq!(check(IP, octets), Err(SanError::Value("iPAddress")));
    }
    assert_eq!(
        check(DNS, "bücher.example".as_bytes()),
        Err(SanError::Value("dNSName"))
    );
    assert!(matches!(check(0x89, b"a"), Err(SanError::Encoding(_))));
    assert!(matches!(check(0xa2, b""), Err(SanError::Encoding(_))));
    assert!(matches!(check(0x0c, b"a"), Err(SanError::Encoding(_))));
    assert_eq!(SubjectAltNames::parse(&[0x30, 0]), Err(SanError::Empty));
}
