//! Tests with certificates of each kind of key, and of CAs that differ in one respect.

use super::*;
use crate::issuance::testing::*;

/// Returns the certificate of this key under the root.
fn leaf(root: &Authority, key: &'static TestKey) -> Authority {
    Authority::builder("leaf").key(key).ca(false).under(root)
}

fn presented(authority: &Authority) -> PresentedCertificate {
    PresentedCertificate::parse_pem(authority.pem().as_bytes()).unwrap()
}

fn proof(certificate: &PresentedCertificate, key: &TestKey) -> Vec<u8> {
    let scheme = possession_scheme(key.algorithm());
    key.sign(scheme, &certificate.possession_message())
}

#[test]
fn a_proof_holds_for_one_certificate_and_its_key_only() {
    let root = Authority::root("root");
    for key in TestKey::each_kind() {
        let kind = key.algorithm();
        let one = presented(&leaf(&root, key));
        let valid = proof(&one, key);
        one.prove_possession(&valid).unwrap();

        // The same key was certified once more: the proof names the certificate.
        let renewed = Authority::builder("leaf").key(key).ca(false);
        let renewed = presented(&renewed.validity(at(1), at(3_000_000_000)).under(&root));
        assert!(renewed.prove_possession(&valid).is_err(), "{kind}");

        for other in TestKey::each_kind() {
            if other.algorithm() != kind {
                let made = proof(&one, other);
                assert!(one.prove_possession(&made).is_err(), "{kind}");
            }
        }
        let mut damaged = valid.clone();
        damaged[0] ^= 1;
        assert!(one.prove_possession(&damaged).is_err(), "{kind}");
        assert!(one.prove_possession(&[]).is_err(), "{kind}");

        // A signature over the certificate's hash alone, as another protocol might make it, has no context.
        let bare = key.sign(possession_scheme(kind), &one.sha256);
        assert!(one.prove_possession(&bare).is_err(), "{kind}");
    }
}

#[test]
fn another_key_of_the_same_kind_proves_nothing() {
    let root = Authority::root("root");
    let one = presented(&leaf(&root, root.key()));
    let stranger = TestKey::p256();
    assert!(one.prove_possession(&proof(&one, &stranger)).is_err());
}

#[test]
fn the_message_of_a_proof_stays_as_it_is() {
    let root = Authority::root("root");
    let certificate = presented(&root);
    let message = certificate.possession_message();
    assert_eq!(message.len(), 60);
    let (context, hash) = message.split_at(28);
    assert_eq!(context, b"pkcs11-issuer revocation v1\0");
    assert_eq!(hash, root.chain().issuing().sha256());
}

#[test]
fn a_certificate_is_of_a_ca_only_with_its_name_and_its_signature() {
    let root = Authority::root("root");
    let certificate = presented(&leaf(&root, root.key()));
    let by = |ca: &Authority| certificate.is_issued_by(ca.chain().issuing());
    assert!(by(&root));
    // Renewed with the same key, it is the same CA.
    let renewed = Authority::builder("root").key(root.key());
    assert!(by(&renewed.validity(at(1), at(3_000_000_000)).root()));
    // The same name with another key, and the same key with another name.
    assert!(!by(&Authority::root("root")));
    assert!(!by(&Authority::builder("toor").key(root.key()).root()));
}

#[test]
fn a_certificate_keeps_the_key_of_its_csr() {
    let root = Authority::root("root");
    let certificate = presented(&leaf(&root, TestKey::rsa()));
    let key = |key: &TestKey| PublicKey::parse(key.spki()).unwrap();
    assert!(certificate.has_key(&key(TestKey::rsa())));
    assert!(!certificate.has_key(&key(&TestKey::p256())));
}

#[test]
fn only_the_first_certificate_of_a_text_counts_and_other_texts_are_refused() {
    let root = Authority::root("root");
    let one = leaf(&root, root.key());
    let chain = PresentedCertificate::parse_pem(bundle(&[&one, &root]).as_bytes()).unwrap();
    assert_eq!(chain.sha256, presented(&one).sha256);
    assert_eq!(chain.serial().to_string(), "010203");
    assert_eq!(chain.not_after(), at(4_000_000_000));

    let text = |text: &str| match PresentedCertificate::parse_pem(text.as_bytes()) {
        Ok(_) => "well".to_owned(),
        Err(error) => error.to_string(),
    };
    assert_eq!(text("no certificate"), "not PEM");
    assert!(text(&pem::encode("PRIVATE KEY", &[1])).contains("PRIVATE KEY"));
    let der = pem::encode("CERTIFICATE", &[0x30, 0]);
    assert!(text(&der).contains("DER"));
    let long = " ".repeat(MAX_PEM + 1);
    assert!(text(&long).contains("400001 octets"));
    let mut trailing = pem::scan(one.pem().as_bytes())
        .unwrap()
        .blocks
        .remove(0)
        .der;
    trailing.push(0);
    assert!(PresentedCertificate::parse(&trailing).is_err());
}
