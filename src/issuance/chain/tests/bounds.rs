//! The cost of the worst bundles, in verified signatures.

use std::collections::BTreeSet;

use super::*;

/// Builds the chain and counts the verified signatures. Asserts that none is verified twice under one key.
fn counted(
    chain: &[&Authority],
    roots: Option<&[&Authority]>,
) -> (Result<IssuerChain, ChainError>, usize) {
    let mut seen = BTreeSet::new();
    let mut count = 0;
    let roots = roots.map(bundle);
    let built = Bundle::build(
        bundle(chain).as_bytes(),
        roots.as_deref().map(str::as_bytes),
        &mut |signer, other| {
            count += 1;
            let pair = (signer.spki_der().to_vec(), other.der().to_vec());
            assert!(seen.insert(pair), "verified twice");
            signer.verifies(other)
        },
    );
    (built.map(|bundle| bundle.longest().clone()), count)
}

fn p521() -> &'static TestKey {
    Box::leak(Box::new(TestKey::p521()))
}

/// Makes certificates that all have the same subject, each signed by the next and the last by itself.
fn ladder(count: usize) -> Vec<Authority> {
    let same = || {
        Authority::builder("ca")
            .key(p521())
            .without_subject_key_id()
    };
    let mut ladder = vec![same().root()];
    for _ in 1..count {
        ladder.insert(0, same().under(&ladder[0]));
    }
    ladder
}

#[test]
fn the_worst_bundle_has_each_certificate_verified_once_under_each_key() {
    let ladder = ladder(MAX_CERTIFICATES);
    let mut order: Vec<_> = ladder.iter().collect();
    let (chain, count) = counted(&order, None);
    assert_eq!(chain.unwrap().certificates().count(), MAX_CERTIFICATES);
    // In order, the first key that is tried is the right one for each but the last.
    assert_eq!(count, 15 + 16);

    // In the worst order, the right key is the last to be tried.
    order.reverse();
    let (chain, count) = counted(&order, None);
    assert_eq!(chain.unwrap().certificates().count(), MAX_CERTIFICATES);
    assert_eq!(count, 15 * 15 + 16);

    // Of unrelated certificates, every key is tried.
    let strangers = (0..MAX_CERTIFICATES).map(|_| {
        let lost = Authority::builder("ca").key(p521()).root();
        Authority::builder("ca")
            .key(p521())
            .without_subject_key_id()
            .under(&lost)
    });
    let strangers: Vec<_> = strangers.collect();
    let order: Vec<_> = strangers.iter().collect();
    let (chain, count) = counted(&order, None);
    assert!(matches!(chain, Err(ChainError::WrongSigner { .. })));
    assert_eq!(count, 16 * 16);
}

#[test]
fn key_identifiers_save_every_verification_that_would_fail() {
    let mut ladder: Vec<Authority> = Vec::new();
    let mut above = Authority::builder("ca").key_ids(&[0], &[0]).root();
    for number in 1..=16 {
        let next = Authority::builder("ca")
            .key_ids(&[number], &[number - 1])
            .under(&above);
        ladder.push(above);
        above = next;
    }
    let mut order: Vec<_> = ladder.iter().collect();
    let (chain, count) = counted(&order, None);
    assert!(chain.unwrap().has_root());
    assert_eq!(count, 16);
    order.reverse();
    assert_eq!(counted(&order, None).1, 16);

    // Different identifiers have the same effect as a signature that does not verify.
    let root = Authority::builder("root").key_ids(&[1], &[1]).root();
    let odd = Authority::builder("odd").key_ids(&[2], &[3]).under(&root);
    let (chain, count) = counted(&[&odd, &root], None);
    assert!(matches!(chain, Err(ChainError::WrongSigner { .. })));
    assert_eq!(count, 1);
}

#[test]
fn only_the_matching_root_of_a_public_bundle_is_verified() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let others: Vec<_> = (0..200)
        .map(|number| Authority::root(&format!("root {number}")))
        .collect();
    let mut roots: Vec<_> = others.iter().collect();
    roots.push(&root);
    let (chain, count) = counted(&[&issuing], Some(&roots));
    assert_eq!(chain.unwrap().ca_pem(CaField::Root), Some(root.pem()));
    // Only the issuing certificate's signature is verified.
    assert_eq!(count, 1);
}

#[test]
fn the_number_of_roots_with_one_name_is_limited() {
    let ladder = ladder(MAX_CERTIFICATES);
    let chain: Vec<_> = ladder.iter().rev().collect();
    let roots: Vec<_> = (0..=MAX_ANCHORS)
        .map(|_| {
            Authority::builder("ca")
                .key(p521())
                .without_subject_key_id()
                .root()
        })
        .collect();
    let roots: Vec<_> = roots.iter().collect();
    let (refused, count) = counted(&chain, Some(&roots));
    assert!(matches!(refused, Err(ChainError::TooManyRoots(17))));
    assert_eq!(count, 0);
    let (refused, count) = counted(&chain, Some(&roots[1..]));
    assert!(matches!(refused, Err(ChainError::OtherRoot(_))));
    assert!(count <= 16 * (16 + 16) + 16, "{count}");
}

#[test]
fn authorities_that_all_certify_each_other_cost_one_verification_per_certificate() {
    let keys: Vec<_> = (0..4)
        .map(|number| Authority::root(&format!("ca {number}")))
        .collect();
    let mut mesh = Vec::new();
    for (number, subject) in keys.iter().enumerate() {
        for (other, issuer) in keys.iter().enumerate() {
            if number != other {
                mesh.push(subject.crossed(&format!("ca {number}"), issuer));
            }
        }
    }
    let issuing = keys[0].subordinate("issuing");
    let chain: Vec<_> = [&issuing].into_iter().chain(&mesh).collect();
    let (built, count) = counted(&chain, None);
    assert!(built.unwrap().certificates().count() > 1);
    assert_eq!(count, chain.len());
}
