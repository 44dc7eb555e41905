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
    assert!(matches!(
        error(&[&issuing, &other], None),
        ChainError::NotInChain(_)
    ));
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
    assert!(matches!(
        error(&[&issuing, &old], None),
        ChainError::Certificate { position: 2, .. }
    ));
    // A signature that can be verified must be the root's own.
    let crossed = root.crossed("root", &Authority::root("root"));
    assert!(matches!(
        error(&[&issuing], Some(&crossed)),
        ChainError::NotRoot(subject) if subject == "CN=root"
    ));
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
