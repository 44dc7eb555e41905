//! Subject alternative names.

use super::*;

type Names = &'static [(u8, &'static [u8])];

pub(super) fn names(corpus: &mut Corpus) {
    let long_label = "a".repeat(64);
    let long_name = ["abc"; 64].join(".");
    for dns in [
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "*",
        "*.",
        "*.*.a",
        "a.*.b",
        "*a.b",
        "a*.b",
        "**.a",
        "-a.b",
        "a-.b",
        "a_b.c",
        "a b",
        "a\0.b",
        "a.example\n",
        "10.0.0.1",
        "1.2.3.4.5",
        "a/b",
        "a:443",
        "user@a",
        "[::1]",
        "xn--.\u{1}",
        "%61.b",
        &long_label,
        &long_name,
    ] {
        corpus.refused(
            format!("DNS {dns:?}"),
            plain().names(&[(DNS, dns.as_bytes())]).pem(key()),
            "bad-san",
        );
    }
    for uri in [
        "",
        "a",
        "/a",
        "//a/b",
        "?a",
        "http:",
        "http://",
        "http:///a",
        "http://:80",
        "1a:b",
        "a b:c",
        "a:b c",
        "a:%2",
        "a:%zz",
        "a:\n",
        "a:<b>",
        "a:\"",
        "a:{b}",
        "a:^",
    ] {
        corpus.refused(
            format!("URI {uri:?}"),
            plain().names(&[(URI, uri.as_bytes())]).pem(key()),
            "bad-san",
        );
    }
    for email in [
        "",
        "a",
        "@",
        "a@",
        "@a",
        "a@b@c",
        ".a@b",
        "a.@b",
        "a..b@c",
        "a b@c",
        "a@b c",
        "a@*.b",
        "\"a\"@b",
        "a@[10.0.0.1]",
        "a@b.",
        "<a@b>",
        "a@b\0.c",
    ] {
        corpus.refused(
            format!("e-mail {email:?}"),
            plain().names(&[(EMAIL, email.as_bytes())]).pem(key()),
            "bad-san",
        );
    }
    for length in [0, 1, 3, 5, 8, 15, 17, 32] {
        corpus.refused(
            format!("IP of {length} octets"),
            plain().names(&[(IP, &vec![1; length])]).pem(key()),
            "bad-san",
        );
    }
    let mapped = [&[0; 10][..], &[0xff, 0xff, 10, 0, 0, 1]].concat();
    let principal = oid_der(oid("1.3.6.1.4.1.311.20.2.3"));
    let principal = [&principal[..], &tlv(0xa0, &tlv(0x16, b"jim@corp.example"))].concat();
    for (name, tag, value) in [
        ("an IPv4 address mapped into IPv6", IP, &mapped[..]),
        ("a userPrincipalName of an IA5String", 0xa0, &principal),
        (
            "an IPv4 address mapped into IPv6 in a URI",
            URI,
            b"https://[::ffff:10.0.0.1]/",
        ),
        ("UTF-8 in a dNSName", DNS, "ü.example".as_bytes()),
        ("Latin-1 in a URI", URI, b"http://a/\xfc"),
        (
            "UTF-8 in an e-mail address",
            EMAIL,
            "ü@a.example".as_bytes(),
        ),
        ("a tag that does not exist", 0x89, b"a"),
        ("a universal tag", 0x0c, b"a"),
        ("a constructed dNSName", 0xa2, b""),
        ("an otherName without a value", 0xa0, &[6, 2, 0x2a, 3]),
        ("a primitive directoryName", 0x84, b""),
        ("a directoryName that is no Name", 0xa4, &[0x0c, 1, b'a']),
        ("an empty directoryName", 0xa4, &[0x30, 0]),
        ("a directoryName cut short", 0xa4, &common_name("a")[..9]),
        (
            "a directoryName of 65 characters",
            0xa4,
            &common_name(&"a".repeat(65)),
        ),
        ("an empty registeredID", 0x88, b""),
        ("a registeredID cut short", 0x88, &[0x2a, 0x83]),
        ("a registeredID with a leading zero", 0x88, &[0x2a, 0x80, 1]),
        ("a constructed registeredID", 0xa8, &[0x2a, 3]),
    ] {
        corpus.refused(name, plain().names(&[(tag, value)]).pem(key()), "bad-san");
    }
    let other = [&oid_der(oid("1.2.3"))[..], &tlv(0xa0, &tlv(0x0c, b"a"))].concat();
    for (name, tag, value) in [
        ("an otherName", 0xa0, &other[..]),
        ("an x400Address", 0xa3, b""),
        ("a directoryName", 0xa4, &common_name("a")),
        ("an ediPartyName", 0xa5, b""),
        ("a registeredID", 0x88, &[0x2a, 3]),
    ] {
        corpus.refused(
            name,
            plain().names(&[(tag, value)]).pem(key()),
            "san-not-allowed",
        );
    }
    for large in LARGE {
        let kind = large_oid(large);
        let other = [&oid_der(kind.clone())[..], &tlv(0xa0, &tlv(0x0c, b"a"))].concat();
        for (what, tag, value) in [
            ("an otherName of type", 0xa0, &other[..]),
            ("the registeredID", 0x88, kind.as_bytes()),
        ] {
            corpus.refused(
                format!("{what} {large}"),
                plain().names(&[(tag, value)]).pem(key()),
                "san-not-allowed",
            );
        }
    }
    corpus.refused(
        "a SAN of no names",
        plain().names(&[]).pem(key()),
        "bad-san",
    );
    corpus.refused(
        "101 names",
        plain().names(&vec![(DNS, &b"a.b"[..]); 101]).pem(key()),
        "too-many-sans",
    );
    let sans: [(&str, Names); 9] = [
        ("capitals", &[(DNS, b"A.EXAMPLE")]),
        ("the same name twice", &[(DNS, b"a.b"), (DNS, b"a.b")]),
        ("a wildcard", &[(DNS, b"*.a.example")]),
        ("an A-label", &[(DNS, b"xn--bcher-kva.example")]),
        ("one label", &[(DNS, b"localhost")]),
        (
            "every type",
            &[
                (DNS, b"a.b"),
                (IP, &[10, 0, 0, 1]),
                (IP, &[0; 16]),
                (URI, b"urn:a:b"),
                (EMAIL, b"a@b"),
            ],
        ),
        (
            "a URI with an address",
            &[(URI, b"https://[2001:db8::1]:8443/a?b#c")],
        ),
        ("a SPIFFE ID", &[(URI, b"spiffe://td/ns/a/sa/b")]),
        (
            "an address with a tag",
            &[(EMAIL, b"first.last+tag@mail.example")],
        ),
    ];
    for (name, names) in sans {
        let expected = extension(ID_CE_SUBJECT_ALT_NAME, false, &san(names));
        corpus.add(name, plain().names(names).pem(key()), Ok(expected));
    }
    let nobody = Request::new("", key()).names(&[(DNS, b"a.b")]).pem(key());
    let critical = extension(ID_CE_SUBJECT_ALT_NAME, true, &san(&[(DNS, b"a.b")]));
    corpus.add("a name without a subject", nobody, Ok(critical));
}
