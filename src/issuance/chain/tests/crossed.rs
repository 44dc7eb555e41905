//! Cross-certificates: an authority that several others certify, and old and new keys of one name.

use super::*;

/// Returns the chain's certificates without the root, and its root.
fn path_of(certificates: &[&Authority], roots: Option<&Authority>) -> (String, Option<String>) {
    let roots = roots.map(Authority::pem);
    let roots = roots.as_deref().map(str::as_bytes);
    let chain = IssuerChain::parse(bundle(certificates).as_bytes(), roots).unwrap();
    (chain.intermediates_pem(), chain.ca_pem(CaField::Root))
}

#[test]
fn the_path_to_the_given_root_is_used() {
    let old = Authority::root("old");
    let new = Authority::root("new");
    let crossed = new.crossed("new", &old);
    let issuing = new.subordinate("issuing");
    for order in [
        [&issuing, &new, &crossed, &old],
        [&issuing, &old, &crossed, &new],
        [&old, &new, &crossed, &issuing],
    ] {
        // Without a given root, the shortest path is used.
        let short = (issuing.pem(), Some(new.pem()));
        assert_eq!(path_of(&order, None), short);
        assert_eq!(path_of(&order, Some(&new)), short);
        let long = (bundle(&[&issuing, &crossed]), Some(old.pem()));
        assert_eq!(path_of(&order, Some(&old)), long);
    }
    let without_roots = [&issuing, &crossed];
    assert_eq!(
        path_of(&without_roots, None),
        (bundle(&[&issuing, &crossed]), None)
    );
    let long = (bundle(&[&issuing, &crossed]), Some(old.pem()));
    assert_eq!(path_of(&without_roots, Some(&old)), long);
}

#[test]
fn the_first_of_two_issuing_certificates_with_one_key_decides_the_path() {
    let one = Authority::root("one");
    let two = Authority::root("two");
    let by_one = one.subordinate("issuing");
    let by_two = by_one.crossed("issuing", &two);
    assert_eq!(
        path_of(&[&by_one, &by_two, &one, &two], None),
        (by_one.pem(), Some(one.pem()))
    );
    assert_eq!(
        path_of(&[&by_two, &two, &by_one, &one], None),
        (by_two.pem(), Some(two.pem()))
    );
    // The roots are first. Both other certificates could be the issuing one, and both belong to one authority.
    assert_eq!(
        path_of(&[&two, &one, &by_two, &by_one], None),
        (by_two.pem(), Some(two.pem()))
    );
    assert!(matches!(
        error(&[&by_one, &one], Some(&two)),
        ChainError::OtherRoot(subject) if subject == "CN=one"
    ));
}

/// RFC 4210, section 4.4: the new root certified by the old one, and the old one by the new.
#[test]
fn a_root_that_changes_its_key_may_come_with_all_its_certificates() {
    let old = Authority::root("root");
    let new = Authority::root("root");
    let new_with_old = new.crossed("root", &old);
    let old_with_new = old.crossed("root", &new);
    let all = [&old_with_new, &old, &new_with_old, &new];
    for (signer, crossed, other) in [(&old, &old_with_new, &new), (&new, &new_with_old, &old)] {
        let issuing = signer.subordinate("issuing");
        let given: Vec<_> = [&issuing].into_iter().chain(all).collect();
        assert_eq!(path_of(&given, None), (issuing.pem(), Some(signer.pem())));
        let long = (bundle(&[&issuing, crossed]), Some(other.pem()));
        assert_eq!(path_of(&given, Some(other)), long);
    }
}

#[test]
fn the_search_ends_if_authorities_certify_each_other() {
    let one = Authority::root("one");
    let two = Authority::root("two");
    let one_by_two = one.crossed("one", &two);
    let two_by_one = two.crossed("two", &one);
    let issuing = one.subordinate("issuing");
    let (chain, root) = path_of(&[&issuing, &one_by_two, &two_by_one], None);
    assert_eq!(root, None);
    assert!(chain.starts_with(&bundle(&[&issuing, &one_by_two])));
    assert_eq!(
        path_of(&[&issuing, &one_by_two, &two_by_one], Some(&two)),
        (bundle(&[&issuing, &one_by_two]), Some(two.pem()))
    );
}

#[test]
fn an_unrelated_certificate_is_named_despite_cross_certificates() {
    let old = Authority::root("old");
    let new = Authority::root("new");
    let crossed = new.crossed("new", &old);
    let issuing = new.subordinate("issuing");
    let stranger = Authority::root("new");
    assert!(matches!(
        error(&[&issuing, &new, &crossed, &old, &stranger], None),
        ChainError::NotInChain(subject) if subject == "CN=new"
    ));
}
