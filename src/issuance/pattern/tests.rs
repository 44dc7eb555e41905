//! Tests what each kind of pattern covers, and which texts are not patterns.

use super::*;
use crate::issuance::testing::HERE;

fn dns(text: &str) -> DnsPattern {
    text.parse().unwrap()
}

#[test]
fn a_dns_pattern_covers_its_own_name_or_the_names_below() {
    let table = [
        ("a.example", "a.example", true),
        ("a.example", "A.Example", true),
        ("a.example", "b.a.example", false),
        ("a.example", "*.a.example", false),
        ("*.a.example", "b.a.example", true),
        ("*.a.example", "c.b.a.example", true),
        ("*.a.example", "a.example", false),
        ("*.a.example", "ba.example", false),
        ("*.a.example", ".a.example", false),
        ("*.a.example", "*.a.example", true),
        ("*.a.example", "*.b.a.example", true),
        ("*.a.example", "*.example", false),
        ("*", "any.example", true),
        ("*.{{namespace}}.svc", "web.shop.svc", true),
        ("*.{{namespace}}.svc", "web.other.svc", false),
        ("{{name}}.{{namespace}}.svc", "web.shop.svc", true),
    ];
    for (pattern, name, covered) in table {
        assert_eq!(dns(pattern).covers(name, HERE), covered, "{pattern} {name}");
    }
}

#[test]
fn a_wildcard_touches_the_names_that_it_may_stand_for() {
    let table = [
        ("secret.a.example", "*.a.example", true),
        ("secret.a.example", "*.b.example", false),
        ("*.a.example", "*.a.example", true),
        ("*.a.example", "*.example", false),
        ("*.a.example", "*.b.a.example", true),
        ("a.example", "a.example", true),
        ("*", "*.a", true),
    ];
    for (pattern, name, touched) in table {
        assert_eq!(
            dns(pattern).touches(name, HERE),
            touched,
            "{pattern} {name}"
        );
    }
}

#[test]
fn a_network_contains_addresses_of_its_family_only() {
    let table = [
        ("10.0.0.0/8", "10.255.0.1", true),
        ("10.0.0.0/8", "11.0.0.1", false),
        ("0.0.0.0/0", "255.1.2.3", true),
        ("0.0.0.0/0", "::1", false),
        ("192.0.2.7", "192.0.2.7", true),
        ("192.0.2.7", "192.0.2.8", false),
        ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false),
        ("::/0", "10.0.0.1", false),
    ];
    for (network, address, contained) in table {
        let network: IpNetwork = network.parse().unwrap();
        assert_eq!(network.contains(address.parse().unwrap()), contained);
    }
    let network: IpNetwork = "10.0.0.0/9".parse().unwrap();
    assert_eq!(network.octets(), [10, 0, 0, 0, 255, 128, 0, 0]);
}

#[test]
fn an_open_uri_pattern_covers_only_plain_paths_below_it() {
    let pattern: UriPattern = "spiffe://td/ns/{{namespace}}/*".parse().unwrap();
    let table = [
        ("spiffe://td/ns/shop/sa/a", true),
        ("spiffe://td/ns/shop/", false),
        ("spiffe://td/ns/shop", false),
        ("spiffe://td/ns/other/sa/a", false),
        ("spiffe://td/ns/shop/../other", false),
        ("spiffe://td/ns/shop/./a", false),
        ("spiffe://td/ns/shop/%2e%2e/other", false),
        ("SPIFFE://td/ns/shop/a", false),
    ];
    for (uri, covered) in table {
        assert_eq!(pattern.covers(uri, HERE), covered, "{uri}");
    }
    let exact: UriPattern = "urn:a:{{name}}".parse().unwrap();
    assert!(exact.covers("urn:a:web", HERE));
    assert!(!exact.covers("urn:a:webs", HERE));
}

#[test]
fn an_email_pattern_covers_a_mailbox_or_all_of_a_host() {
    let all: EmailPattern = "*@mail.example".parse().unwrap();
    assert!(all.covers("a.b@Mail.Example", HERE));
    assert!(!all.covers("a@sub.mail.example", HERE));
    let one: EmailPattern = "{{name}}@mail.example".parse().unwrap();
    assert!(one.covers("web@mail.example", HERE));
    assert!(!one.covers("WEB@mail.example", HERE));
}

#[test]
fn malformed_patterns_are_rejected() {
    for text in [
        "",
        "*.",
        "a.*.b",
        "**",
        "*a",
        "a..b",
        "{{user}}.a",
        "{{name}.a",
        "{a}",
        "10.0.0.1",
    ] {
        assert!(text.parse::<DnsPattern>().is_err(), "{text}");
    }
    for text in [
        "",
        "10.0.0.0/33",
        "10.0.0.1/8",
        "::1/127",
        "10.0.0.0/",
        "10.0.0.0/+8",
        "a",
    ] {
        assert!(text.parse::<IpNetwork>().is_err(), "{text}");
    }
    for text in ["::ffff:10.0.0.1", "::ffff:0:0/96", "::ffff:a00:0/104"] {
        let error = text.parse::<IpNetwork>().unwrap_err();
        assert_eq!(error, PatternError::Mapped(text.to_owned()));
    }
    for text in [
        "",
        "*",
        "a/*",
        "https://*",
        "https://a*",
        "https://a/*/b",
        "https:///*",
        "https://a.*/b",
    ] {
        assert!(text.parse::<UriPattern>().is_err(), "{text}");
    }
    for text in ["", "a", "*@*.example", "*", "a*@b", "@b", "*@"] {
        assert!(text.parse::<EmailPattern>().is_err(), "{text}");
    }
}
