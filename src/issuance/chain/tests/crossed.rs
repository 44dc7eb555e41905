//! Cross-certificates: an authority that more than one other certifies, and old and new keys of one name.

use super::*;

/// The chain's certificates, and its root.
fn ways(certificates: &[&Authority], roots: Option<&Authority>) -> (String, Option<String>) {
    let roots = roots.map(Authority::pem);
    let roots = roots.as_deref().map(str::as_bytes);
    let chain = IssuerChain::parse(bundle(certificates).as_bytes(), roots).unwrap();
    (chain.intermediates_pem(), chain.ca_pem(CaField::Root))
}

#[test]
fn of_two_ways_the_one_to_the_given_root_is_taken() {
    let old = Authority::root("old");
    let new = Authority::root("new");
    let crossed = new.crossed("new", &old);
    let issuing = new.subordinate("issuing");
    for order in [
        [&issuing, &new, &crossed, &old],
        [&issuing, &old, &crossed, &new],
        [&old, &new, &crossed, &issuing],
    ] {
        // Without a root of the user's choice, the shortest way.
        let short = (issuing.pem(), Some(new.pem()));
        assert_eq!(ways(&order, None), short);
        assert_eq!(ways(&order, Some(&new)), short);
        let long = (bundle(&[&issuing, &crossed]), Some(old.pem()));
        assert_eq!(ways(&order, Some(&old)), long);
    }
    let without_roots = [&issuing, &crossed];
    assert_eq!(
        ways(&without_roots, None),
        (bundle(&[&issuing, &crossed]), None)
    );
    let long = (bundle(&[&issuing, &crossed]), Some(old.pem()));
    assert_eq!(ways(&without_roots, Some(&old)), long);
}

#[test]
fn an_issuing_certificate_that_two_authorities_gave_goes_the_way_of_the_first() {
    let one = Authority::root("one");
    let two = Authority::root("two");
    let by_one = one.subordinate("issuing");
    let by_two = by_one.crossed("issuing", &two);
    assert_eq!(
        ways(&[&by_one, &by_two, &one, &two], None),
        (by_one.pem(), Some(one.pem()))
    );
    assert_eq!(
        ways(&[&by_two, &two, &by_one, &one], None),
        (by_two.pem(), Some(two.pem()))
    );
    // Root first: both could be the issuing one, and are of one authority.
    assert_eq!(
        ways(&[&two, &one, &by_two, &by_one], None),
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
        assert_eq!(ways(&given, None), (issuing.pem(), Some(signer.pem())));
        let long = (bundle(&[&issuing, crossed]), Some(other.pem()));
        assert_eq!(ways(&given, Some(other)), long);
    }
}

#[test]
fn authorities_that_certify_each_other_come_to_an_end() {
    let one = Authority::root("one");
    let two = Authority::root("two");
    let one_by_two = one.crossed("one", &two);
    let two_by_one = two.crossed("two", &one);
    let issuing = one.subordinate("issuing");
    let (chain, root) = ways(&[&issuing, &one_by_two, &two_by_one], None);
    assert_eq!(root, None);
    assert!(chain.starts_with(&bundle(&[&issuing, &one_by_two])));
    assert_eq!(
        ways(&[&issuing, &one_by_two, &two_by_one], Some(&two)),
        (bundle(&[&issuing, &one_by_two]), Some(two.pem()))
    );
}

#[test]
fn a_stranger_beside_cross_certificates_is_still_named() {
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
