//! Trust anchors: a name and a key for finding a path, and otherwise certificates like all others.

use const_oid::db::{rfc5280::ID_CE_BASIC_CONSTRAINTS, rfc5912::SHA_1_WITH_RSA_ENCRYPTION};
use der::Tag;

use super::*;

/// Returns the root that is found for a chain.
fn root_of(chain: &[&Authority], roots: &[&Authority]) -> Option<String> {
    let roots = bundle(roots);
    IssuerChain::parse(bundle(chain).as_bytes(), Some(roots.as_bytes()))
        .unwrap()
        .ca_pem(CaField::Root)
}

/// Makes another certificate of the same root.
fn renewed(root: &Authority, from: i64, to: i64) -> Authority {
    Authority::builder("root")
        .key(root.key())
        .validity(at(from), at(to))
        .root()
}

#[test]
fn the_root_that_ends_last_is_used_of_several_with_one_name_and_key() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let early = renewed(&root, 0, 1_000);
    let late = renewed(&root, 500, 5_000);
    let middle = renewed(&root, 100, 2_000);
    for order in [
        [&early, &late, &middle],
        [&late, &middle, &early],
        [&middle, &early, &late],
    ] {
        assert_eq!(root_of(&[&issuing], &order), Some(late.pem()));
        // It makes no difference if one of them is in the chain.
        assert_eq!(root_of(&[&issuing, &early], &order), Some(late.pem()));
    }
}

#[test]
fn an_expired_root_is_found_and_its_dates_count() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let roots = renewed(&root, 0, 1_000).pem();
    let chain = IssuerChain::parse(issuing.pem().as_bytes(), Some(roots.as_bytes())).unwrap();
    assert!(chain.check_at(at(1_000)).is_ok());
    assert!(matches!(
        chain.check_at(at(1_001)),
        Err(ChainError::Expired { subject, .. }) if subject == "CN=root"
    ));
    assert_eq!(chain.first_to_end().subject_text(), "CN=root");
}

#[test]
fn a_root_whose_name_is_encoded_differently_is_found() {
    let printable = |text: &[u8]| name(&[&[("2.5.4.3", Tag::PrintableString, text)]]);
    let root = Authority::root("The Root");
    let issuing = root.subordinate("issuing");
    let other = Authority::builder("")
        .called(printable(b" the  ROOT"))
        .key(root.key())
        .root();
    assert_eq!(root_of(&[&issuing], &[&other]), Some(other.pem()));
    // Within the chain, verifiers compare the octets of names.
    let refused = error(&[&issuing, &other], None);
    assert!(matches!(refused, ChainError::EncodedDifferently { .. }));
    assert_eq!(refused.reason(), RefusalReason::IssuerInvalid);
    assert_eq!(
        refused.to_string(),
        "\"CN=issuing\" was signed by \"CN=\\\\ the  ROOT\", but names its issuer in another encoding, and verifiers compare \
         octets: CN as UTF8String \"The Root\" against CN as PrintableString \" the  ROOT\"; have one of the two certificates \
         issued again"
    );
}

#[test]
fn a_root_needs_no_verifiable_signature() {
    let sha1 = sequence(&[&oid_der(SHA_1_WITH_RSA_ENCRYPTION), &[5, 0]]);
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let old = Authority::builder("root")
        .key(root.key())
        .claiming(sha1)
        .root();
    assert_eq!(root_of(&[&issuing], &[&old]), Some(old.pem()));
    // If no roots are given, the chain may end with it.
    let chain = IssuerChain::parse(bundle(&[&issuing, &old]).as_bytes(), None).unwrap();
    assert_eq!(chain.ca_pem(CaField::Root), Some(old.pem()));
    assert_eq!(chain.intermediates_pem(), issuing.pem());
    // The anchor is a name and a key. Its signature does not matter.
    let crossed = root.crossed("root", &Authority::root("root"));
    assert_eq!(root_of(&[&issuing], &[&crossed]), Some(crossed.pem()));
}

#[test]
fn a_faulty_root_with_the_right_name_is_an_error_only_if_no_other_root_fits() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let unfit = Authority::builder("root").key(root.key()).ca(false).root();
    assert_eq!(root_of(&[&issuing], &[&unfit, &root]), Some(root.pem()));
    assert!(matches!(
        error(&[&issuing], Some(&unfit)),
        ChainError::Root {
            position: 1,
            source: CertificateError::NotCa
        }
    ));
}

#[test]
fn a_root_of_version_1_has_no_extensions_and_limits_nothing() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    for version in [0, 1] {
        let old = Authority::builder("root")
            .key(root.key())
            .version(version)
            .root();
        assert_eq!(root_of(&[&issuing], &[&old]), Some(old.pem()));
        let together = bundle(&[&issuing, &old]);
        let chain = IssuerChain::parse(together.as_bytes(), None).unwrap();
        assert_eq!(chain.ca_pem(CaField::Root), Some(old.pem()));
        // Only a root may have such a version.
        let upper = Authority::builder("upper").version(version).under(&root);
        let below = upper.subordinate("issuing");
        for roots in [None, Some(&root)] {
            assert!(matches!(
                error(&[&below, &upper, &root], roots),
                ChainError::Certificate {
                    position: 2,
                    source: CertificateError::Version
                }
            ));
        }
    }
}

#[test]
fn roots_that_the_path_does_not_need_may_be_anything() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let sha1 = sequence(&[&oid_der(SHA_1_WITH_RSA_ENCRYPTION), &[5, 0]]);
    let weak = Authority::builder("weak").claiming(sha1).root();
    let old = Authority::builder("old").version(0).root();
    let crossed = Authority::root("crossed").crossed("crossed", &weak);
    let unreadable = pem::encode("CERTIFICATE", &[0x30, 0]);
    let others = [weak.pem(), old.pem(), crossed.pem(), unreadable].concat();
    for roots in [others.clone() + &root.pem(), root.pem() + &others] {
        let chain = IssuerChain::parse(issuing.pem().as_bytes(), Some(roots.as_bytes())).unwrap();
        // Only the chosen anchor is published.
        assert_eq!(chain.ca_pem(CaField::Root), Some(root.pem()));
        assert_eq!(
            chain.ca_pem(CaField::Bundle),
            Some(bundle(&[&issuing, &root]))
        );
    }
}

#[test]
fn only_the_names_are_read_of_roots_with_other_names() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let unreadable = Authority::builder("other")
        .extension(ID_CE_BASIC_CONSTRAINTS, true, b"rubbish")
        .duplicate_extension()
        .root();
    assert_eq!(
        root_of(&[&issuing], &[&unreadable, &root]),
        Some(root.pem())
    );
    assert!(matches!(
        IssuerChain::parse(
            issuing.pem().as_bytes(),
            Some(pem::encode("CERTIFICATE", &[0x30, 0]).as_bytes())
        ),
        Err(ChainError::Root { position: 1, .. })
    ));
}
