//! Several certificates of one authority, of which only some are valid: any valid path will do (RFC 4158, section 3.5).

use super::*;

/// Makes another certificate of an authority, with this first and last second.
fn again(name: &str, of: &Authority, issuer: Option<&Authority>, from: i64, to: i64) -> Authority {
    let builder = Authority::builder(name)
        .key(of.key())
        .validity(at(from), at(to));
    match issuer {
        Some(issuer) => builder.under(issuer),
        None => builder.root(),
    }
}

fn parsed(chain: &[&Authority], roots: Option<&[&Authority]>) -> Bundle {
    let roots = roots.map(bundle);
    let roots = roots.as_deref().map(str::as_bytes);
    Bundle::parse(bundle(chain).as_bytes(), roots).unwrap()
}

/// Returns the certificates of the path that is used at this second.
fn used(bundle: &Bundle, second: i64) -> String {
    let chain = bundle.at(at(second)).unwrap();
    assert!(chain.check_at(at(second)).is_ok());
    chain.ca_pem(CaField::Bundle).unwrap()
}

fn ended(bundle: &Bundle, second: i64) -> String {
    let why = bundle.at(at(second)).unwrap_err();
    let ChainError::Expired { subject, .. } = why else {
        panic!("{why}");
    };
    subject
}

/// Returns every order of these certificates.
fn orders<'a>(certificates: &[&'a Authority]) -> Vec<Vec<&'a Authority>> {
    match certificates {
        [] => vec![Vec::new()],
        _ => (0..certificates.len())
            .flat_map(|first| {
                let mut rest = certificates.to_vec();
                let first = rest.remove(first);
                orders(&rest).into_iter().map(move |mut order| {
                    order.insert(0, first);
                    order
                })
            })
            .collect(),
    }
}

#[test]
fn an_expired_twin_of_a_root_or_an_intermediate_does_no_harm_in_any_order() {
    let root = Authority::root("root");
    let upper = root.subordinate("upper");
    let issuing = upper.subordinate("issuing");
    let old_root = again("root", &root, None, 0, 1_000);
    let old_upper = again("upper", &upper, Some(&root), 0, 2_000);
    for order in orders(&[&old_upper, &upper, &old_root, &root]) {
        let given: Vec<_> = [&issuing].into_iter().chain(order).collect();
        let together = parsed(&given, None);
        for second in [500, 1_500, 2_500] {
            assert_eq!(used(&together, second), bundle(&[&issuing, &upper, &root]));
        }
    }
    for order in orders(&[&old_upper, &upper]) {
        let given: Vec<_> = [&issuing].into_iter().chain(order).collect();
        for roots in orders(&[&old_root, &root]) {
            let apart = parsed(&given, Some(&roots));
            assert_eq!(used(&apart, 2_500), bundle(&[&issuing, &upper, &root]));
        }
    }
}

#[test]
fn a_twin_takes_over_when_the_other_one_ends() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let first = again("root", &root, None, 0, 2_000);
    let second = again("root", &root, None, 1_000, 3_000);
    for roots in [[&first, &second], [&second, &first]] {
        let bundle_ = parsed(&[&issuing], Some(&roots));
        assert_eq!(used(&bundle_, 999), bundle(&[&issuing, &first]));
        assert_eq!(used(&bundle_, 1_000), bundle(&[&issuing, &second]));
        assert_eq!(used(&bundle_, 3_000), bundle(&[&issuing, &second]));
        assert_eq!(ended(&bundle_, 3_001), "CN=root");
    }
}

#[test]
fn a_longer_path_takes_over_when_the_shorter_one_ends() {
    // As with DST Root CA X3 in 2021: an older root certifies the new root, but its own certificate ends earlier.
    let old = Authority::builder("old").validity(at(0), at(1_000)).root();
    let new = Authority::builder("new").validity(at(0), at(9_000)).root();
    let crossed = again("new", &new, Some(&old), 0, 5_000);
    let issuing = new.subordinate("issuing");
    for order in orders(&[&old, &crossed, &new]) {
        let given: Vec<_> = [&issuing].into_iter().chain(order).collect();
        assert_eq!(used(&parsed(&given, None), 500), bundle(&[&issuing, &new]));
        let roots: [&Authority; 2] = [&old, &new];
        assert_eq!(
            used(&parsed(&given, Some(&roots)), 1_500),
            bundle(&[&issuing, &new])
        );
        assert_eq!(ended(&parsed(&given, Some(&roots)), 9_001), "CN=new");
    }
    let short = again("new", &new, None, 0, 1_000);
    let long = Authority::builder("old").key(old.key()).root();
    let both = parsed(&[&issuing, &crossed], Some(&[&short, &long]));
    // Of the valid paths, the one that stays valid longest.
    let through_old = bundle(&[&issuing, &crossed, &long]);
    assert_eq!(used(&both, 500), through_old);
    assert_eq!(used(&both, 2_000), through_old);
}

#[test]
fn an_expired_certificate_above_is_not_left_out_of_a_chain_without_a_root() {
    let root = Authority::root("root");
    let upper = again("upper", &Authority::root("upper"), Some(&root), 0, 1_000);
    let issuing = upper.subordinate("issuing");
    let bundle = parsed(&[&issuing, &upper], None);
    assert_eq!(ended(&bundle, 1_001), "CN=upper");
}

#[test]
fn an_expired_issuing_certificate_is_replaced_by_its_twin() {
    let root = Authority::root("root");
    let new = root.subordinate("issuing");
    let old = again("issuing", &new, Some(&root), 0, 1_000);
    for order in orders(&[&old, &new, &root]) {
        let given = parsed(&order, None);
        assert_eq!(used(&given, 1_500), bundle(&[&new, &root]));
    }
    // While both are valid, the first one is the owner's choice.
    let given = parsed(&[&old, &new, &root], None);
    assert_eq!(used(&given, 500), bundle(&[&old, &root]));
}

#[test]
fn a_path_that_exceeds_a_path_length_is_passed_over_for_another() {
    let root = Authority::root("root");
    let upper = root.subordinate("upper");
    let issuing = upper.subordinate("issuing");
    let tight = Authority::builder("root")
        .key(root.key())
        .path_length(0)
        .root();
    for roots in [[&tight, &root], [&root, &tight]] {
        let given = parsed(&[&issuing, &upper], Some(&roots));
        assert_eq!(used(&given, 500), bundle(&[&issuing, &upper, &root]));
    }
}

#[test]
fn a_path_ends_with_the_first_of_its_certificates_to_end() {
    let root = Authority::builder("root").validity(at(0), at(3_000)).root();
    let upper = Authority::builder("upper")
        .validity(at(0), at(2_000))
        .under(&root);
    let issuing = upper.subordinate("issuing");
    let chain = parsed(&[&issuing, &upper, &root], None).at(at(5)).unwrap();
    assert_eq!(chain.first_to_end().subject_text(), "CN=upper");
    assert_eq!(chain.first_to_end().not_after(), at(2_000));
}
