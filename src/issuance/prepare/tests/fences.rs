//! Every kind of name against every fence: the grant, the profile, and the name constraints of the chain.

use const_oid::db::rfc5280::ID_CE_NAME_CONSTRAINTS;
use der::Tag;

use super::*;
use crate::issuance::{pattern::Variables, profile::AllowedNames};

/// Three issuers that allow the same names: by their grant, by their profile, and by constraints of the issuing certificate.
struct Fences {
    grant: Arc<Issuer>,
    profile: Arc<Issuer>,
    chain: Arc<Issuer>,
}

impl Fences {
    fn new() -> Self {
        let names = || {
            AllowedNames::closed(
                vec![
                    "*.shop.example".parse().unwrap(),
                    "vault".parse().unwrap(),
                    "*.{{namespace}}.svc".parse().unwrap(),
                    "{{name}}.pods.example".parse().unwrap(),
                ],
                vec![
                    "10.1.0.0/16".parse().unwrap(),
                    "2001:db8::/32".parse().unwrap(),
                ],
                vec![
                    "spiffe://td/ns/{{namespace}}/*".parse().unwrap(),
                    "https://api.shop.example/*".parse().unwrap(),
                    "spiffe://td/names/{{name}}".parse().unwrap(),
                ],
                vec![
                    "*@shop.example".parse().unwrap(),
                    "{{name}}@mail.example".parse().unwrap(),
                ],
            )
        };
        let constraints = name_constraints(
            &[
                (DNS, b"shop.example"),
                (DNS, b"vault"),
                (DNS, b"shop.svc"),
                (IP, &[10, 1, 0, 0, 255, 255, 0, 0]),
                (URI, b"api.shop.example"),
                (EMAIL, b"shop.example"),
            ],
            &[],
        );
        let free = Authority::root("Root CA");
        let constrained = Authority::builder("Root CA")
            .extension(ID_CE_NAME_CONSTRAINTS, true, &constraints)
            .root();
        let issuer = |authority: &Authority, rules: Rules, limits: Limits| {
            let profile = Profile::new(rules, limits).unwrap();
            Arc::new(Issuer::new(authority.chain(), profile, None).unwrap())
        };
        let mut rules = Rules::default();
        rules.names.allowed = names();
        let limits = Limits {
            names: Some(names()),
            ..Limits::default()
        };
        Self {
            grant: issuer(&free, Rules::default(), limits),
            profile: issuer(&free, rules, Limits::default()),
            chain: issuer(&constrained, Rules::default(), Limits::default()),
        }
    }

    /// Returns which fences let a leaf pass: the grant, the profile, the chain.
    fn pass(&self, subject: &[u8], names: &[(u8, &[u8])], variables: Variables<'_>) -> [bool; 3] {
        let key = TestKey::each_kind()[1];
        let mut request = Request::new("", key);
        request.subject = subject.to_vec();
        if !names.is_empty() {
            request = request.names(names);
        }
        let csr = VerifiedCsr::parse(request.pem(key).as_bytes()).unwrap();
        let wanted = Wanted {
            variables,
            ..DEFAULT
        };
        [&self.grant, &self.profile, &self.chain].map(|issuer| {
            let admitted = issuer.profile().admit(&csr, &wanted);
            assert_explained(issuer.profile(), &csr, &wanted, &admitted);
            admitted.is_ok_and(|params| {
                PreparedCertificate::prepare(&params, issuer, now(), Serial::from_random(SERIAL))
                    .is_ok()
            })
        })
    }
}

/// Alternative names: tags and values.
type Names = &'static [(u8, &'static [u8])];

const ALL: [bool; 3] = [true; 3];
const NONE: [bool; 3] = [false; 3];

#[test]
fn every_kind_of_alternative_name_is_kept_within_every_fence() {
    let fences = Fences::new();
    let principal = [
        &oid_der(oid("1.3.6.1.4.1.311.20.2.3"))[..],
        &tlv(0xa0, &tlv(0x0c, b"a@b")),
    ]
    .concat();
    let directory = common_name("a");
    let mapped = "::ffff:10.1.0.1"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets();
    let documentation = "2001:db8::1"
        .parse::<std::net::Ipv6Addr>()
        .unwrap()
        .octets();
    let table: &[(&str, u8, &[u8], [bool; 3])] = &[
        ("inside", DNS, b"web.shop.example", ALL),
        ("deep inside", DNS, b"a.b.shop.example", ALL),
        ("inside by case", DNS, b"WEB.Shop.Example", ALL),
        // The name constraint `shop.example` also permits `shop.example` itself.
        ("the apex", DNS, b"shop.example", [false, false, true]),
        ("outside", DNS, b"www.bank.example", NONE),
        ("outside by a suffix", DNS, b"myshop.example", NONE),
        ("a trailing dot", DNS, b"web.shop.example.", NONE),
        ("a wildcard inside", DNS, b"*.shop.example", ALL),
        ("a wildcard above", DNS, b"*.example", NONE),
        ("a partial wildcard", DNS, b"w*.shop.example", NONE),
        ("an IDN outside", DNS, b"xn--bcher-kva.example", NONE),
        ("an IDN inside", DNS, b"xn--bcher-kva.shop.example", ALL),
        ("a name without a dot", DNS, b"vault", ALL),
        ("another name without a dot", DNS, b"alice", NONE),
        ("the namespace", DNS, b"web.shop.svc", ALL),
        ("another namespace", DNS, b"web.bank.svc", NONE),
        ("an address inside", IP, &[10, 1, 2, 3], ALL),
        ("an address outside", IP, &[10, 2, 2, 3], NONE),
        (
            "an IPv6 address inside",
            IP,
            &documentation,
            [true, true, false],
        ),
        ("an IPv4-mapped address", IP, &mapped, NONE),
        (
            "a URI inside",
            URI,
            b"spiffe://td/ns/shop/sa/web",
            [true, true, false],
        ),
        (
            "a URI of another namespace",
            URI,
            b"spiffe://td/ns/bank/sa/web",
            NONE,
        ),
        (
            "a URI outside by case",
            URI,
            b"SPIFFE://td/ns/shop/sa/web",
            NONE,
        ),
        (
            "a URI with dots",
            URI,
            b"spiffe://td/ns/shop/../bank/sa/web",
            NONE,
        ),
        (
            "a URI with an escape",
            URI,
            b"spiffe://td/ns/shop/%2e%2e/bank",
            NONE,
        ),
        ("a URI by host", URI, b"https://api.shop.example/v1", ALL),
        (
            "a URI with userinfo",
            URI,
            b"https://api.shop.example@bank.example/",
            NONE,
        ),
        (
            "a URI with userinfo before the host",
            URI,
            b"https://bank@api.shop.example/",
            [false, false, true],
        ),
        (
            "a URI with a port",
            URI,
            b"https://api.shop.example:8443/",
            [false, false, true],
        ),
        (
            "a URI with a fragment for a path",
            URI,
            b"https://api.shop.example#/",
            [false, false, true],
        ),
        (
            "a fragment inside",
            URI,
            b"https://api.shop.example/#x",
            ALL,
        ),
        ("an address in a URI", URI, b"https://10.1.0.1/", NONE),
        ("a mailbox inside", EMAIL, b"a@shop.example", ALL),
        ("a mailbox inside by case", EMAIL, b"a@SHOP.example", ALL),
        ("a mailbox outside", EMAIL, b"ceo@bank.example", NONE),
        ("a mailbox below", EMAIL, b"a@b.shop.example", NONE),
        ("a principal name", 0xa0, &principal, NONE),
        ("a directory name", 0xa4, &directory, NONE),
        ("a registered ID", 0x88, &[0x2a, 3], NONE),
    ];
    for (what, tag, value, expected) in table {
        let passed = fences.pass(&name(&[]), &[(*tag, value)], HERE);
        assert_eq!(passed, *expected, "{what}");
    }
}

#[test]
fn every_name_in_a_subject_is_kept_within_every_fence() {
    let fences = Fences::new();
    let dns: Names = &[(DNS, b"web.shop.example")];
    let uri: Names = &[(URI, b"https://api.shop.example/v1")];
    let table: &[(&str, &str, Names, [bool; 3])] = &[
        ("2.5.4.3", "web.shop.example", dns, ALL),
        ("2.5.4.3", "web.shop.example.", dns, ALL),
        ("2.5.4.3", "www.bank.example", dns, NONE),
        ("2.5.4.3", "www.bank.example.", dns, NONE),
        ("2.5.4.3", "WWW.Bank.Example", dns, NONE),
        ("2.5.4.3", "w*.bank.example", dns, NONE),
        ("2.5.4.3", "w*.shop.example", dns, ALL),
        ("2.5.4.3", "*.*.example", dns, NONE),
        ("2.5.4.3", "*", uri, NONE),
        ("2.5.4.3", "vault", dns, ALL),
        ("2.5.4.3", "alice", dns, ALL),
        ("2.5.4.3", "vault", uri, ALL),
        ("2.5.4.3", "alice", uri, NONE),
        ("2.5.4.3", "Alice Example", uri, ALL),
        ("2.5.4.3", "10.1.0.1", dns, ALL),
        ("2.5.4.3", "10.2.0.1", dns, NONE),
        ("2.5.4.3", "::ffff:10.1.0.1", dns, NONE),
        ("1.2.840.113549.1.9.1", "a@shop.example", dns, ALL),
        ("1.2.840.113549.1.9.1", "ceo@bank.example", dns, NONE),
        ("1.2.840.113549.1.9.1", "no mailbox", dns, NONE),
        (
            "1.2.840.113549.1.9.1",
            "ceo@bank.example@shop.example",
            dns,
            NONE,
        ),
        (
            "1.2.840.113549.1.9.1",
            "ceo@bank.example,a@shop.example",
            dns,
            NONE,
        ),
        (
            "1.2.840.113549.1.9.1",
            "<ceo@bank.example> a@shop.example",
            dns,
            NONE,
        ),
        ("1.2.840.113549.1.9.1", "@shop.example", dns, NONE),
    ];
    for (kind, text, names, expected) in table {
        let tag = if *kind == "2.5.4.3" {
            Tag::Utf8String
        } else {
            Tag::Ia5String
        };
        let subject = name(&[&[(kind, tag, text.as_bytes())]]);
        assert_eq!(fences.pass(&subject, names, HERE), *expected, "{text}");
    }
}

#[test]
fn a_variable_that_does_not_fit_its_place_covers_nothing() {
    let fences = Fences::new();
    let table: &[(&str, u8, &[u8], bool)] = &[
        ("web", URI, b"spiffe://td/names/web", true),
        (
            "web/../../ns/bank",
            URI,
            b"spiffe://td/names/web/../../ns/bank",
            false,
        ),
        ("web/admin", URI, b"spiffe://td/names/web/admin", false),
        ("web#admin", URI, b"spiffe://td/names/web#admin", false),
        ("..", URI, b"spiffe://td/names/..", false),
        ("web", EMAIL, b"web@mail.example", true),
        (
            "ceo@bank.example",
            EMAIL,
            b"ceo@bank.example@mail.example",
            false,
        ),
        ("a.b", DNS, b"a.b.pods.example", true),
        ("*", DNS, b"*.pods.example", false),
        ("a#b", DNS, b"a#b.pods.example", false),
    ];
    for (request, tag, value, passes) in table {
        let variables = Variables {
            namespace: Some("shop"),
            name: request,
        };
        let [grant, profile, _] = fences.pass(&name(&[]), &[(*tag, value)], variables);
        assert_eq!([grant, profile], [*passes; 2], "{request}");
    }
}

#[test]
fn a_pattern_with_an_unknown_namespace_covers_nothing() {
    let fences = Fences::new();
    let nowhere = Variables {
        namespace: None,
        name: "web",
    };
    let verdict = |names: &[(u8, &[u8])]| {
        let [grant, profile, _] = fences.pass(&name(&[]), names, nowhere);
        [grant, profile]
    };
    assert_eq!(verdict(&[(DNS, b"web.shop.example")]), [true; 2]);
    assert_eq!(verdict(&[(DNS, b"web.shop.svc")]), [false; 2]);
    assert_eq!(verdict(&[(DNS, b"web..svc")]), [false; 2]);
    assert_eq!(verdict(&[(URI, b"spiffe://td/ns//sa/web")]), [false; 2]);
}
