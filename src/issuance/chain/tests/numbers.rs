//! Numbers that the standards leave unbounded: arcs of identifiers, path lengths, serial numbers.

use std::slice;

use const_oid::db::rfc5280::{
    ANY_EXTENDED_KEY_USAGE, ID_CE_BASIC_CONSTRAINTS, ID_CE_CERTIFICATE_POLICIES,
    ID_CE_EXT_KEY_USAGE,
};
use der::Tag;

use super::*;

const LARGE: [&str; 4] = [
    "2.25.329800735698586629295641978511506172918",
    "2.999.1",
    "1.3.6.1.4.1.32473.4294967296",
    // 71 octets.
    "1.3.6.1.4.1.32473.18446744073709551615.18446744073709551615.18446744073709551615.18446744073709551615.18446744073709551615.18446744073709551615.1",
];

#[test]
fn identifiers_of_any_size_are_valid_in_ca_certificates() {
    for large in LARGE {
        let kind = large_oid(large);
        let subject = name(&[&[(large, Tag::Utf8String, b"a")]]);
        let policy = sequence(&[&sequence(&[&oid_der(kind.clone())])]);
        let build = |name: &str| {
            Authority::builder(name)
                .extension(kind.clone(), false, &[5, 0])
                .extension(ID_CE_CERTIFICATE_POLICIES, false, &policy)
                .extension(
                    ID_CE_EXT_KEY_USAGE,
                    false,
                    &purposes(slice::from_ref(&kind)),
                )
        };
        let root = build("root").called(subject).root();
        let issuing = build("issuing").under(&root);
        for roots in [None, Some(root.pem())] {
            let roots = roots.as_deref().map(str::as_bytes);
            let text = bundle(&[&issuing, &root]);
            let chain = IssuerChain::parse(text.as_bytes(), roots).unwrap();
            assert_eq!(chain.ca_pem(CaField::Root), Some(root.pem()));
            assert!(chain.check_purposes(slice::from_ref(&kind)).is_ok());
            let other = [ANY_EXTENDED_KEY_USAGE.into()];
            assert!(chain.check_purposes(&other).is_err());
        }
    }
}

#[test]
fn a_path_length_of_any_size_is_valid() {
    for length in [&[0xff][..], &[1, 0], &[1; 30]] {
        let constraints = sequence(&[&[1, 1, 0xff], &integer(length)]);
        let root = Authority::builder("root")
            .without_basic_constraints()
            .extension(ID_CE_BASIC_CONSTRAINTS, true, &constraints)
            .root();
        let issuing = root.subordinate("issuing");
        let chain = IssuerChain::parse(bundle(&[&issuing, &root]).as_bytes(), None).unwrap();
        for wanted in [0, 253] {
            assert!(chain.check_authority(Some(wanted)).is_ok(), "{length:?}");
        }
    }
}
