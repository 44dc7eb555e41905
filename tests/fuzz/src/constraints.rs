//! Checks the engine of name constraints. An input has three pieces, subject, permitted and excluded subtrees; the rest is
//! names.
//!
//! Compares the result with rustls-webpki, because a CA must not certify names that verifiers would refuse.

mod webpki;

use pkcs11_issuer::issuance::{
    claim::Role,
    constraints::NameConstraints,
    name::Name,
    san::{GeneralName, SubjectAltNames},
};

use crate::{
    as_piece,
    der::{DIRECTORY, DNS, EMAIL, IP, OTHER, URI, names, rdns, subtrees, tlv},
    piece,
};

/// Checks that for any constraints and names: the verdict on several names follows from the verdict on each; case does not
/// matter; an allowed wildcard does not cover a forbidden name; fewer constraints never forbid more; and names that webpki
/// forbids are forbidden.
///
/// # Panics
///
/// One of these does not hold.
pub fn check(mut input: &[u8]) {
    let subject = tlv(0x30, piece(&mut input));
    let [permitted, excluded] = [0xa0, 0xa1].map(|tag| match piece(&mut input) {
        [] => Vec::new(),
        subtrees => tlv(tag, subtrees),
    });
    // Also parse the raw octets, because the same engine reads the structure around the subtrees.
    drop(NameConstraints::parse(input));
    let read = |lists: &[&[u8]]| NameConstraints::parse(&tlv(0x30, &lists.concat())).ok();
    let Some(constraints) = read(&[&permitted, &excluded]) else {
        return;
    };
    let Ok(subject) = Name::parse(&subject) else {
        return;
    };
    let nobody = Name::parse(&[0x30, 0]).expect("the empty name");
    let names = SubjectAltNames::parse(&tlv(0x30, input));
    let names = names.as_ref().map_or(&[][..], SubjectAltNames::names);
    let allowed = |name: &GeneralName| {
        constraints
            .check(&nobody, std::slice::from_ref(name), Role::Leaf)
            .is_ok()
    };
    let whole = constraints.check(&subject, names, Role::Leaf).is_ok();
    // The common name of a leaf counts as a host only without a DNS name; the common name of a CA never does.
    let authority = constraints.check(&subject, names, Role::Authority).is_ok();
    let parts =
        constraints.check(&subject, &[], Role::Authority).is_ok() && names.iter().all(allowed);
    assert_eq!(
        authority, parts,
        "the verdict on all names must follow from the verdict on each"
    );
    assert!(
        authority || !whole,
        "names that a leaf may have must be allowed for a CA"
    );

    for name in names {
        let upper = in_capitals(name);
        assert_eq!(
            allowed(name),
            allowed(&upper),
            "{name:?} in upper case must get the same verdict"
        );
    }
    for name in names.iter().filter(|name| allowed(name)) {
        if let GeneralName::Dns(dns) = name
            && let Some(host) = dns.strip_prefix("*.")
        {
            let below = GeneralName::Dns(format!("label.{host}"));
            assert!(
                allowed(&below),
                "{dns:?} is allowed, so {below:?} must be allowed"
            );
        }
    }
    if !excluded.is_empty() && whole {
        for fewer in [read(&[&permitted]), read(&[&excluded])] {
            let allows = fewer.is_none_or(|fewer| fewer.check(&subject, names, Role::Leaf).is_ok());
            assert!(allows, "fewer constraints must not forbid more");
        }
    }
    if whole {
        let lists = tlv(0x30, &[permitted, excluded].concat());
        assert!(
            !webpki::forbids(&lists, names),
            "webpki forbids names that we allow"
        );
    }
}

/// Returns a DNS name in upper case, and other names unchanged because their case may matter.
fn in_capitals(name: &GeneralName) -> GeneralName {
    match name {
        GeneralName::Dns(dns) => GeneralName::Dns(dns.to_ascii_uppercase()),
        GeneralName::Ip(_)
        | GeneralName::Uri(_)
        | GeneralName::Email(_)
        | GeneralName::OtherName(_)
        | GeneralName::Directory(_)
        | GeneralName::RegisteredId(_)
        | GeneralName::Other(_) => name.clone(),
    }
}

/// Returns seeds with constraints and names of every type.
///
/// # Panics
///
/// webpki does not judge the seeds.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let subject = rdns(&[("2.5.4.10", "Shop"), ("2.5.4.3", "web.a.example")]);
    let start = tlv(0x30, &rdns(&[("2.5.4.10", "shop")]));
    let other = [6, 2, 0x2a, 3, 0xa0, 2, 5, 0];
    let network: [u8; 8] = [10, 0, 0, 0, 255, 0, 0, 0];
    let network_6 = [[0x20; 16], [0xff; 16]].concat();
    let all: [(u8, &[u8]); 6] = [
        (DNS, b"a.example"),
        (IP, &network),
        (IP, &network_6),
        (URI, b".a.example"),
        (EMAIL, b"a.example"),
        (DIRECTORY, &start),
    ];
    let bad: [(u8, &[u8]); 4] = [
        (DNS, b".b.a.example"),
        (URI, b"c.a.example"),
        (EMAIL, b"x@a.example"),
        (OTHER, &other),
    ];
    let named = names(&[
        (DNS, b"*.A.example"),
        (DNS, b"b.a.example"),
        (IP, &[10, 1, 2, 3]),
        (IP, &[0x20; 16]),
        (URI, b"https://u@c.a.example:1/p"),
        (EMAIL, b"x@a.example"),
        (OTHER, &other),
        (DIRECTORY, &start),
    ]);
    let of = |permitted: &[(u8, &[u8])], excluded: &[(u8, &[u8])], names: &[u8]| {
        [
            &*as_piece(&subject),
            &*as_piece(&subtrees(permitted)),
            &*as_piece(&subtrees(excluded)),
            names,
        ]
        .concat()
    };
    let mut seeds = vec![
        of(&all, &[], &named),
        of(&[], &all, &named),
        of(&all, &bad, &named),
        of(&[], &bad, &names(&[(DNS, b"*.a.example")])),
        of(&[(DNS, b"")], &[(IP, &network)], &names(&[(DNS, b"a")])),
    ];
    for name in [
        (DNS, &b"x.a.example"[..]),
        (IP, &[10, 9, 9, 9]),
        (URI, b"https://x.a.example/"),
        (EMAIL, b"y@a.example"),
    ] {
        seeds.push(of(&all, &bad, &names(&[name])));
    }
    // Allowed names of the types that webpki compares.
    let hosts: [(u8, &[u8]); 3] = [(DNS, b"a.example"), (IP, &network), (IP, &network_6)];
    let holes: [(u8, &[u8]); 2] = [(DNS, b"b.a.example"), (IP, &[10, 9, 0, 0, 255, 255, 0, 0])];
    let fine = names(&[
        (DNS, b"c.A.example"),
        (DNS, b"*.d.a.example"),
        (IP, &[10, 1, 2, 3]),
        (IP, &[0x20; 16]),
    ]);
    seeds.push(of(&hosts, &holes, &fine));
    seeds.push(of(&hosts, &[], &fine));
    seeds.push(of(&[], &holes, &fine));
    let excluded = tlv(0x30, &tlv(0xa1, &subtrees(&holes)));
    let below = GeneralName::Dns("x.b.a.example".into());
    assert!(
        webpki::forbids(&excluded, &[below]),
        "webpki must forbid an excluded name"
    );
    // A whole extension in the place of the names.
    let extension = tlv(
        0x30,
        &[tlv(0xa0, &subtrees(&all)), tlv(0xa1, &subtrees(&bad))].concat(),
    );
    seeds.push(of(&[], &[], &extension));
    seeds
}
