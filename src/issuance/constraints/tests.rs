//! Tests each type of name against permitted and excluded subtrees.

use proptest::prelude::*;

use super::*;
use crate::issuance::{san::SubjectAltNames, testing::*};

fn constraints(permitted: &[(u8, &[u8])], excluded: &[(u8, &[u8])]) -> NameConstraints {
    NameConstraints::parse(&name_constraints(permitted, excluded)).unwrap()
}

/// Returns whether a leaf with only this name is accepted.
fn accepts(constraints: &NameConstraints, tag: u8, value: &[u8]) -> bool {
    let names = SubjectAltNames::parse(&san(&[(tag, value)])).unwrap();
    let nobody = Name::parse(&[0x30, 0]).unwrap();
    constraints
        .check(&nobody, names.names(), Role::Leaf)
        .is_ok()
}

fn accepts_subject(constraints: &NameConstraints, subject: &[u8]) -> bool {
    constraints
        .check(&Name::parse(subject).unwrap(), &[], Role::Leaf)
        .is_ok()
}

/// Type, constraint and name, then whether the name is accepted if the constraint is permitted, and if it is excluded.
type Row = (u8, &'static [u8], &'static [u8], bool, bool);

const TABLE: &[Row] = &[
    (DNS, b"a.example", b"a.example", true, false),
    (DNS, b"a.example", b"b.A.Example", true, false),
    (DNS, b"a.example", b"ba.example", false, true),
    (DNS, b"a.example", b"example", false, true),
    (DNS, b".a.example", b"a.example", false, true),
    (DNS, b".a.example", b"b.a.example", true, false),
    (DNS, b"", b"any.example", true, false),
    (DNS, b"a.example", b"*.a.example", true, false),
    // The wildcard may stand for names inside and outside the subtree.
    (DNS, b"b.a.example", b"*.a.example", false, false),
    (DNS, b"a.example", b"*.b.example", false, true),
    (URI, b"a.example", b"https://a.example/x", true, false),
    (URI, b"a.example", b"https://b.a.example/x", false, true),
    (URI, b".a.example", b"https://b.a.example:8443", true, false),
    (URI, b".a.example", b"https://a.example", false, true),
    (URI, b"td.example", b"spiffe://td.example/a", true, false),
    (
        URI,
        b"td.example",
        b"https://td.example@evil.example/",
        false,
        true,
    ),
    // These URIs have no host name that can be compared.
    (URI, b"a.example", b"urn:uuid:0", false, false),
    (URI, b"a.example", b"https://10.0.0.1/", false, false),
    (URI, b"a.example", b"https://[2001:db8::1]/", false, false),
    (EMAIL, b"a.example", b"x@A.example", true, false),
    (EMAIL, b"a.example", b"x@b.a.example", false, true),
    (EMAIL, b".a.example", b"x@b.a.example", true, false),
    (EMAIL, b"x@a.example", b"x@a.example", true, false),
    (EMAIL, b"x@a.example", b"X@a.example", false, true),
    (
        IP,
        &[10, 0, 0, 0, 255, 0, 0, 0],
        &[10, 1, 2, 3],
        true,
        false,
    ),
    (
        IP,
        &[10, 0, 0, 0, 255, 0, 0, 0],
        &[11, 1, 2, 3],
        false,
        true,
    ),
    (IP, &[0; 8], &[0; 16], false, true),
    (IP, &[0; 32], &[7; 16], true, false),
    (DNS, b"a.example", b"b.example", false, true),
];

#[test]
fn a_subtree_permits_or_excludes_the_names_that_it_holds() {
    for (tag, constraint, name, permitted, excluded) in TABLE {
        let tree: &[(u8, &[u8])] = &[(*tag, *constraint)];
        let text = String::from_utf8_lossy(name);
        assert_eq!(
            accepts(&constraints(tree, &[]), *tag, name),
            *permitted,
            "permitted {text}"
        );
        assert_eq!(
            accepts(&constraints(&[], tree), *tag, name),
            *excluded,
            "excluded {text}"
        );
    }
}

#[test]
fn a_type_without_a_permitted_subtree_is_not_limited() {
    let dns_only = constraints(&[(DNS, b"a.example")], &[]);
    assert!(accepts(&dns_only, IP, &[10, 0, 0, 1]));
    assert!(accepts(&dns_only, URI, b"https://b.example/"));
    assert!(accepts_subject(&dns_only, &common_name("a person")));
}

#[test]
fn exclusion_overrides_permission_and_one_permitted_subtree_suffices() {
    let both = constraints(
        &[(DNS, b"a.example"), (DNS, b"b.example")],
        &[(DNS, b"secret.a.example")],
    );
    assert!(accepts(&both, DNS, b"x.a.example"));
    assert!(accepts(&both, DNS, b"b.example"));
    assert!(!accepts(&both, DNS, b"x.secret.a.example"));
    assert!(!accepts(&both, DNS, b"c.example"));
}

#[test]
fn a_directory_name_constraint_holds_subjects_that_begin_with_it() {
    let organisation = |text: &[u8]| name(&[&[("2.5.4.10", Tag::PrintableString, text)]]);
    let person = |o: &[u8]| {
        name(&[
            &[("2.5.4.10", Tag::Utf8String, o)],
            &[("2.5.4.3", Tag::Utf8String, b"x")],
        ])
    };
    let tree = organisation(b"My  Company");
    let permitted = constraints(&[(0xa4, &tree)], &[]);
    let excluded = constraints(&[], &[(0xa4, &tree)]);
    for (o, held) in [
        (&b"My Company"[..], true),
        (b" my company ", true),
        (b"MyCompany", false),
    ] {
        assert_eq!(accepts_subject(&permitted, &person(o)), held);
        assert_eq!(accepts_subject(&excluded, &person(o)), !held);
    }
    assert!(!accepts_subject(&permitted, &common_name("x")));
    // A value that cannot be compared is refused by a permitted and by an excluded subtree.
    let odd = name(&[&[("2.5.4.10", Tag::OctetString, b"My Company")]]);
    assert!(!accepts_subject(
        &constraints(&[(0xa4, &odd)], &[]),
        &person(b"My Company")
    ));
    assert!(!accepts_subject(
        &constraints(&[], &[(0xa4, &odd)]),
        &person(b"My Company")
    ));
}

#[test]
fn a_directory_name_among_the_alternative_names_is_checked_like_a_subject() {
    let organisation = |text: &[u8]| name(&[&[("2.5.4.10", Tag::Utf8String, text)]]);
    let tree = organisation(b"Company");
    let permitted = constraints(&[(0xa4, &tree)], &[]);
    let excluded = constraints(&[], &[(0xa4, &tree)]);
    for (o, held) in [(&b"company"[..], true), (b"other", false)] {
        assert_eq!(accepts(&permitted, 0xa4, &organisation(o)), held);
        assert_eq!(accepts(&excluded, 0xa4, &organisation(o)), !held);
    }
    let id = constraints(&[(0x88, &[0x2a, 3])], &[]);
    assert!(!accepts(&id, 0x88, &[0x2a, 3]));
    assert!(accepts(&id, DNS, b"a.example"));
}

#[test]
fn host_names_and_email_addresses_in_a_subject_are_checked() {
    let tree = constraints(&[(DNS, b"a.example"), (EMAIL, b"a.example")], &[]);
    assert!(accepts_subject(&tree, &common_name("x.a.example")));
    assert!(!accepts_subject(&tree, &common_name("bank.example")));
    let email = |text: &[u8]| name(&[&[("1.2.840.113549.1.9.1", Tag::Ia5String, text)]]);
    assert!(accepts_subject(&tree, &email(b"x@a.example")));
    assert!(!accepts_subject(&tree, &email(b"x@b.example")));
}

#[test]
fn a_constraint_that_is_not_compared_forbids_its_type() {
    let kind = [&oid_der(oid("1.2.3"))[..], &tlv(0xa0, &tlv(0x0c, b"a"))].concat();
    for tree in [
        constraints(&[(0xa0, &kind)], &[]),
        constraints(&[], &[(0xa0, &kind)]),
    ] {
        assert!(!accepts(&tree, 0xa0, &kind));
        assert!(accepts(&tree, DNS, b"a.example"));
    }
}

#[test]
fn malformed_constraints_are_refused() {
    let subtree = |content: &[u8]| sequence(&[&tlv(0xa0, &sequence(&[content]))]);
    let table = [
        vec![],
        sequence(&[]),
        sequence(&[&tlv(0xa0, &[])]),
        sequence(&[&tlv(0xa2, &sequence(&[&tlv(DNS, b"a")]))]),
        sequence(&[
            &tlv(0xa1, &sequence(&[&tlv(DNS, b"a")])),
            &tlv(0xa0, &sequence(&[&tlv(DNS, b"a")])),
        ]),
        subtree(&[]),
        subtree(&tlv(0x89, &[])),
        subtree(&tlv(12, b"a")),
    ];
    for der in table {
        assert!(NameConstraints::parse(&der).is_err(), "{der:02x?}");
    }
}

/// Names of each type that the forms below constrain.
const NAMES: &[(u8, &[u8])] = &[
    (EMAIL, b"x@a.example"),
    (DNS, b"a.example"),
    (URI, b"https://a.example/"),
    (IP, &[10, 0, 0, 1]),
    (IP, &[0x20; 16]),
];

/// Constraints in forms that RFC 5280, section 4.2.1.10 does not define, as CAs have written them.
const UNREADABLE: &[(u8, &[u8])] = &[
    (EMAIL, b"@a.example"),
    (EMAIL, b"@.a.example"),
    (EMAIL, b"x@"),
    (EMAIL, b"x@.a.example"),
    (EMAIL, b"*@a.example"),
    (EMAIL, b"*.a.example"),
    (EMAIL, b"x@*.a.example"),
    (EMAIL, b"a.example."),
    (EMAIL, b"mailto:x@a.example"),
    (EMAIL, b"x@[10.0.0.1]"),
    (EMAIL, b"."),
    (EMAIL, b""),
    (EMAIL, "x@b\u{fc}cher.example".as_bytes()),
    (EMAIL, b"x@\xff.example"),
    (DNS, b"*.a.example"),
    (DNS, b"*"),
    (DNS, b"."),
    (DNS, b"..a.example"),
    (DNS, b"a.example."),
    (DNS, b"a example"),
    (DNS, b"https://a.example"),
    (DNS, b"a.example:443"),
    (DNS, "b\u{fc}cher.example".as_bytes()),
    (DNS, b"\xff"),
    (URI, b"https://a.example"),
    (URI, b"a.example:443"),
    (URI, b"a.example/"),
    (URI, b"*.a.example"),
    (URI, b"x@a.example"),
    (URI, b"10.0.0.1"),
    (URI, b"[2001:db8::1]"),
    (URI, b"."),
    (URI, b""),
    (URI, b"\xff"),
    (IP, &[]),
    (IP, &[10, 0, 0, 1]),
    (IP, &[0; 16]),
    (IP, &[0; 20]),
    (IP, b"10.0.0.0/8"),
    (IP, &[10, 0, 0, 0, 255, 0, 255, 0]),
    (IP, &[10, 0, 0, 0, 0, 0, 0, 255]),
    (IP, &[10, 0, 0, 0, 0b1010_0000, 0, 0, 0]),
];

#[test]
fn a_constraint_that_cannot_be_read_permits_nothing_and_excludes_every_name_of_its_type() {
    for (tag, constraint) in UNREADABLE {
        let tree: &[(u8, &[u8])] = &[(*tag, *constraint)];
        let (permitted, excluded) = (constraints(tree, &[]), constraints(&[], tree));
        for (kind, name) in NAMES {
            let of_another_type = kind != tag;
            let what = String::from_utf8_lossy(constraint);
            assert_eq!(accepts(&permitted, *kind, name), of_another_type, "{what}");
            assert_eq!(accepts(&excluded, *kind, name), of_another_type, "{what}");
        }
    }
    let names = SubjectAltNames::parse(&san(&[(EMAIL, b"x@a.example")])).unwrap();
    let nobody = Name::parse(&[0x30, 0]).unwrap();
    let refused = constraints(&[], &[(EMAIL, b"@b.example")])
        .check(&nobody, names.names(), Role::Leaf)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "e-mail address \"x@a.example\" is excluded, like every name of its type, by an unreadable subtree of the name \
         constraints"
    );
}

#[test]
fn a_readable_subtree_permits_its_names_beside_an_unreadable_one() {
    let both = constraints(&[(EMAIL, b"@b.example"), (EMAIL, b"a.example")], &[]);
    assert!(accepts(&both, EMAIL, b"x@a.example"));
    assert!(!accepts(&both, EMAIL, b"x@b.example"));
}

#[test]
fn a_directory_name_that_cannot_be_read_and_a_subtree_with_a_distance_count_as_unreadable() {
    let subtrees = |tag, content: &[u8]| {
        NameConstraints::parse(&sequence(&[&tlv(tag, &sequence(&[content]))])).unwrap()
    };
    for tag in [0xa0, 0xa1] {
        let directory = subtrees(tag, &tlv(0xa4, &[0x0c, 1, b'a']));
        assert!(!accepts_subject(&directory, &common_name("x")));
        assert!(accepts(&directory, DNS, b"a.example"));
        // A minimum of 1, and a maximum of 3.
        for distance in [tlv(0x80, &[1]), tlv(0x81, &[3])] {
            let distant = subtrees(tag, &[tlv(DNS, b"a.example"), distance].concat());
            assert!(!accepts(&distant, DNS, b"a.example"));
            assert!(!accepts(&distant, DNS, b"b.a.example"));
            assert!(accepts(&distant, IP, &[10, 0, 0, 1]));
        }
    }
}

#[test]
fn an_ipv4_address_and_its_form_mapped_into_ipv6_are_excluded_by_each_others_networks() {
    let mapped = |start: &[u8]| [&[0; 10][..], &[0xff, 0xff], start].concat();
    let address = mapped(&[10, 0, 0, 1]);
    let ipv4: &[u8] = &[10, 0, 0, 0, 255, 0, 0, 0];
    let within_mapped = [mapped(&[10, 0, 0, 0]), vec![0xff; 13], vec![0; 3]].concat();
    let everything: &[u8] = &[0; 32];
    for (network, name, permitted, excluded) in [
        (ipv4, &[10, 0, 0, 1][..], true, false),
        (ipv4, &address, false, false),
        (ipv4, &mapped(&[11, 0, 0, 1]), false, true),
        (&within_mapped, &[10, 0, 0, 1], false, false),
        (&within_mapped, &[11, 0, 0, 1], false, true),
        (&within_mapped, &address, true, false),
        (everything, &[10, 0, 0, 1], false, true),
    ] {
        let tree: &[(u8, &[u8])] = &[(IP, network)];
        let what = format!("{network:?} {name:?}");
        assert_eq!(
            accepts(&constraints(tree, &[]), IP, name),
            permitted,
            "{what}"
        );
        assert_eq!(
            accepts(&constraints(&[], tree), IP, name),
            excluded,
            "{what}"
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _unread = NameConstraints::parse(&octets);
        let _inside = NameConstraints::parse(&sequence(&[&tlv(0xa0, &octets)]));
        let _subtree = NameConstraints::parse(&sequence(&[&tlv(0xa1, &sequence(&[&octets]))]));
    }

    #[test]
    fn an_excluded_name_is_not_accepted_even_by_wildcard(
        tree in "[a-c]{1,2}(\\.[a-c]{1,2}){0,2}",
        below in "[a-c]{1,2}",
    ) {
        let excluded = constraints(&[], &[(DNS, tree.as_bytes())]);
        prop_assert!(!accepts(&excluded, DNS, tree.as_bytes()));
        let under = format!("{below}.{tree}");
        prop_assert!(!accepts(&excluded, DNS, under.as_bytes()));
        let wildcard = format!("*.{tree}");
        prop_assert!(!accepts(&excluded, DNS, wildcard.as_bytes()));
        if let Some((_, parent)) = tree.split_once('.') {
            let wildcard = format!("*.{parent}");
            prop_assert!(!accepts(&excluded, DNS, wildcard.as_bytes()));
        }
    }
}
