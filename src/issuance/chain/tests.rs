//! Chains in any order, and errors of chains that cannot be used.

mod anchors;
mod bounds;
mod critical;
mod crossed;
mod numbers;
mod twins;

use super::*;
use crate::issuance::{pem::PemError, refusal::RefusalReason, testing::*};

fn error(certificates: &[&Authority], roots: Option<&Authority>) -> ChainError {
    let roots = roots.map(Authority::pem);
    IssuerChain::parse(
        bundle(certificates).as_bytes(),
        roots.as_deref().map(str::as_bytes),
    )
    .unwrap_err()
}

#[test]
fn a_bundle_in_any_order_becomes_one_chain() {
    let root = Authority::root("root");
    let upper = root.subordinate("upper");
    let issuing = upper.subordinate("issuing");
    for order in [
        [&issuing, &upper, &root],
        [&issuing, &root, &upper],
        [&upper, &issuing, &root],
        [&upper, &root, &issuing],
        [&root, &issuing, &upper],
        [&root, &upper, &issuing],
    ] {
        let chain = IssuerChain::parse(bundle(&order).as_bytes(), None).unwrap();
        assert!(chain.has_root());
        assert_eq!(chain.ca_pem(CaField::Root), Some(root.pem()));
        assert_eq!(chain.ca_pem(CaField::Issuing), Some(issuing.pem()));
        assert_eq!(
            chain.ca_pem(CaField::Bundle),
            Some(bundle(&[&issuing, &upper, &root]))
        );
        assert_eq!(chain.ca_pem(CaField::None), None);
        assert_eq!(chain.intermediates_pem(), bundle(&[&issuing, &upper]));
    }
}

#[test]
fn a_root_may_be_separate_or_missing_or_the_issuing_certificate() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let apart = IssuerChain::parse(issuing.pem().as_bytes(), Some(root.pem().as_bytes())).unwrap();
    assert_eq!(apart.ca_pem(CaField::Root), Some(root.pem()));
    let missing = IssuerChain::parse(issuing.pem().as_bytes(), None).unwrap();
    assert_eq!(missing.ca_pem(CaField::Root), None);
    let alone = IssuerChain::parse(root.pem().as_bytes(), Some(root.pem().as_bytes())).unwrap();
    assert_eq!(alone.ca_pem(CaField::Root), Some(root.pem()));
    assert_eq!(alone.intermediates_pem(), "");
}

#[test]
fn the_root_that_signed_is_used_of_two_with_one_name() {
    let old = Authority::root("root");
    let new = Authority::root("root");
    let issuing = new.subordinate("issuing");
    let roots = bundle(&[&old, &new]);
    let chain = IssuerChain::parse(issuing.pem().as_bytes(), Some(roots.as_bytes())).unwrap();
    assert_eq!(chain.ca_pem(CaField::Root), Some(new.pem()));
}

#[test]
fn a_bundle_without_its_root_becomes_the_same_chain_in_any_order() {
    let root = Authority::root("root");
    let upper = root.subordinate("upper");
    let issuing = upper.subordinate("issuing");
    for order in [[&issuing, &upper], [&upper, &issuing]] {
        for roots in [None, Some(root.pem())] {
            let roots = roots.as_deref().map(str::as_bytes);
            let chain = IssuerChain::parse(bundle(&order).as_bytes(), roots).unwrap();
            assert_eq!(chain.has_root(), roots.is_some());
            assert_eq!(chain.intermediates_pem(), bundle(&[&issuing, &upper]));
        }
    }
}

#[test]
fn an_ambiguous_issuing_certificate_is_an_error() {
    let root = Authority::root("root");
    let one = root.subordinate("one");
    let two = root.subordinate("two");
    let doubtful = error(&[&root, &one, &two], None);
    assert!(matches!(doubtful, ChainError::NoIssuing), "{doubtful}");
    assert_eq!(doubtful.reason(), RefusalReason::IssuerInvalid);
    assert!(
        matches!(error(&[&one, &root, &two], None), ChainError::NotInChain(s) if s == "CN=two")
    );
}

#[test]
fn a_bundle_with_too_many_certificates_is_refused() {
    let root = Authority::root("root");
    let mut chain = vec![root.subordinate("1")];
    for number in 2..=MAX_CERTIFICATES {
        chain.insert(0, chain[0].subordinate(&number.to_string()));
    }
    let mut many: Vec<_> = chain.iter().chain([&root]).collect();
    let refused = error(&many, None);
    assert!(matches!(refused, ChainError::TooMany(17)), "{refused}");
    assert_eq!(refused.reason(), RefusalReason::IssuerInvalid);
    // A duplicate does not count.
    many.pop();
    many.push(many[0]);
    let pem = bundle(&many);
    let parsed = IssuerChain::parse(pem.as_bytes(), Some(root.pem().as_bytes())).unwrap();
    assert_eq!(parsed.certificates().count(), MAX_CERTIFICATES + 1);
}

#[test]
fn the_error_of_a_broken_chain_names_the_certificate() {
    let root = Authority::root("root");
    let impostor = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let stranger = Authority::root("stranger");
    assert!(
        matches!(error(&[&issuing, &impostor], None), ChainError::WrongSigner { subject, .. } if subject == "CN=issuing")
    );
    assert!(
        matches!(error(&[&issuing, &root, &stranger], None), ChainError::NotInChain(s) if s == "CN=stranger")
    );
    assert!(
        matches!(error(&[&issuing], Some(&stranger)), ChainError::OtherRoot(s) if s == "CN=issuing")
    );
    assert!(
        matches!(error(&[&issuing], Some(&issuing)), ChainError::NotRoot(s) if s == "CN=issuing")
    );
}

#[test]
fn a_chain_that_exceeds_a_path_length_is_an_error() {
    let root = Authority::builder("root").path_length(1).root();
    let upper = root.subordinate("upper");
    let issuing = upper.subordinate("issuing");
    assert!(IssuerChain::parse(bundle(&[&upper, &root]).as_bytes(), None).is_ok());
    assert!(matches!(
        error(&[&issuing, &upper, &root], None),
        ChainError::PathLength {
            allowed: 1,
            present: 2,
            ..
        }
    ));
}

#[test]
fn only_certificates_that_may_sign_certificates_are_accepted() {
    let table: [(Authority, &str); 6] = [
        (Authority::builder("a").ca(false).root(), "CA:TRUE"),
        (
            Authority::builder("a").without_basic_constraints().root(),
            "CA:TRUE",
        ),
        (
            Authority::builder("a").key_usage(&[0]).root(),
            "keyCertSign",
        ),
        (Authority::builder("a").version(0).root(), "version 3"),
        (Authority::builder("a").version(1).root(), "version 3"),
        (
            Authority::builder("a").duplicate_extension().root(),
            "twice",
        ),
    ];
    for (authority, expected) in table {
        let error = error(&[&authority], None);
        assert_eq!(error.reason(), RefusalReason::IssuerInvalid);
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(cause.contains(expected), "{cause}");
    }
}

#[test]
fn other_text_is_refused_and_a_private_key_is_named() {
    let parse = |text: &str| IssuerChain::parse(text.as_bytes(), None).unwrap_err();
    assert!(matches!(parse("x"), ChainError::Pem(PemError::NoBlock)));
    assert!(
        matches!(parse(&pem::encode("PRIVATE KEY", &[0])), ChainError::NotCertificate(l) if l == "PRIVATE KEY")
    );
    assert!(matches!(
        parse(&pem::encode("CERTIFICATE", &[0])),
        ChainError::Certificate { position: 1, .. }
    ));
    assert!(matches!(
        parse(&" ".repeat(MAX_PEM + 1)),
        ChainError::TooLarge(_)
    ));
}

#[test]
fn validity_is_judged_at_the_time_given() {
    let root = Authority::root("root");
    let issuing = Authority::builder("issuing")
        .validity(at(1_000), at(2_000))
        .under(&root);
    let chain = IssuerChain::parse(bundle(&[&issuing, &root]).as_bytes(), None).unwrap();
    assert!(chain.check_at(at(1_000)).is_ok());
    assert!(chain.check_at(at(2_000)).is_ok());
    assert!(
        matches!(chain.check_at(at(999)), Err(ChainError::NotYetValid { subject, .. }) if subject == "CN=issuing")
    );
    let expired = chain.check_at(at(2_001)).unwrap_err();
    assert_eq!(expired.reason(), RefusalReason::IssuerNotValid);
    assert!(expired.to_string().contains("CN=issuing"));
}

#[test]
fn the_error_names_the_faulty_certificate_at_any_place_of_the_chain() {
    let root = Authority::root("root");
    let old = Authority::builder("upper")
        .validity(at(0), at(1_000))
        .under(&root);
    let issuing = old.subordinate("issuing");
    let chain = IssuerChain::parse(bundle(&[&issuing, &old, &root]).as_bytes(), None).unwrap();
    assert!(
        matches!(chain.check_at(at(1_001)), Err(ChainError::Expired { subject, .. }) if subject == "CN=upper")
    );

    let leaf = Authority::builder("upper").ca(false).under(&root);
    let below = leaf.subordinate("issuing");
    let cannot_sign = Authority::builder("upper").key_usage(&[6]).under(&root);
    for unfit in [&leaf, &cannot_sign] {
        assert!(matches!(
            error(&[&below, unfit, &root], None),
            ChainError::Certificate { position: 2, .. }
        ));
        assert!(matches!(
            error(&[&below], Some(unfit)),
            ChainError::NotRoot(subject) if subject == "CN=upper"
        ));
    }

    let broken = Authority::root("upper");
    let issuing = old.subordinate("issuing");
    let error = error(&[&issuing, &broken, &root], None);
    assert!(
        matches!(&error, ChainError::WrongSigner { subject, issuer } if subject == "CN=issuing" && issuer == "CN=upper"),
        "{error}"
    );
}
