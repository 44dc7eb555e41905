//! Roots and intermediates as they are prepared and signed.

use futures::executor::block_on;

use super::*;
use crate::issuance::{SignError, Signature, signature::Signing, testing::TestKey};

struct Software<'a>(&'a TestKey);

impl Signer for Software<'_> {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let octets = self.0.sign(input.algorithm().scheme(), input.message());
        Box::pin(async move { Ok::<_, SignError>(Signature::from_octets(octets)) })
    }
}

fn authority(name: &str, key: &TestKey, path_length: Option<u8>) -> Authority {
    Authority {
        subject: Name::common_name(name).unwrap(),
        key: PublicKey::parse(key.spki()).unwrap(),
        serial: Serial::from_random([7; 16]),
        not_before: Timestamp::from_second(1_800_000_000).unwrap(),
        not_after: Timestamp::from_second(2_000_000_000).unwrap(),
        path_length,
        subject_key_id: None,
    }
}

#[test]
fn a_root_and_an_intermediate_of_every_kind_of_key_are_sealed_and_form_a_chain() {
    for root_key in TestKey::each_kind() {
        let prepared = PreparedAuthority::root(&authority("Root", root_key, Some(1))).unwrap();
        let above = Arc::clone(prepared.issuer());
        let root = block_on(prepared.issue(&Software(root_key))).unwrap();
        for key in TestKey::each_kind() {
            if std::ptr::eq(key, root_key) {
                continue;
            }
            let below = authority("Issuing", key, Some(0));
            let prepared = PreparedAuthority::under(&below, &above).unwrap();
            let der = block_on(prepared.issue(&Software(root_key))).unwrap();
            let bundle = pem::encode("CERTIFICATE", &der) + &pem::encode("CERTIFICATE", &root);
            let chain = IssuerChain::parse(bundle.as_bytes(), None).unwrap();
            assert!(chain.has_root());
            assert!(
                PreparedAuthority::under(&below, &above)
                    .unwrap()
                    .check(&der)
                    .is_ok()
            );
        }
    }
}

#[test]
fn a_ca_certificate_by_another_key_is_never_released() {
    let [key, other] = [TestKey::p256(), TestKey::p256()];
    let prepared = PreparedAuthority::root(&authority("Root", &key, None)).unwrap();
    let error = block_on(prepared.issue(&Software(&other))).unwrap_err();
    assert!(matches!(error, IssueError::Unverified(_)), "{error:?}");
}

#[test]
fn a_ca_certificate_beyond_what_the_ca_above_allows_is_refused() {
    let [key, other] = [TestKey::p256(), TestKey::p256()];
    let root = PreparedAuthority::root(&authority("Root", &key, Some(0))).unwrap();
    let below = authority("Issuing", &other, None);
    let error = PreparedAuthority::under(&below, root.issuer()).unwrap_err();
    assert!(matches!(error, AuthorityError::Refused(_)), "{error:?}");

    let root = PreparedAuthority::root(&authority("Root", &key, None)).unwrap();
    let mut longer = authority("Issuing", &other, None);
    longer.not_after = Timestamp::from_second(2_000_000_001).unwrap();
    let error = PreparedAuthority::under(&longer, root.issuer()).unwrap_err();
    assert!(matches!(error, AuthorityError::Lint(_)), "{error:?}");

    let namesake = authority("Root", &other, None);
    assert!(PreparedAuthority::under(&namesake, root.issuer()).is_err());
}

#[test]
fn all_certificates_of_a_ca_that_exists_can_have_its_key_identifier() {
    let key = TestKey::p256();
    let old = Authority {
        subject_key_id: Some(b"of old".to_vec()),
        ..authority("Root", &key, Some(1))
    };
    let old = PreparedAuthority::root(&old).unwrap();
    let root = existing(&block_on(old.issue(&Software(&key))).unwrap()).unwrap();
    let issuing = root.chain().issuing();
    assert!(issuing.is_self_signed());
    assert_eq!(issuing.subject_key_id(), Some(&b"of old"[..]));
    // The certificates below name the same identifier.
    let below = authority("Issuing", &TestKey::p256(), Some(0));
    let below = PreparedAuthority::under(&below, &Arc::new(root)).unwrap();
    let der = block_on(below.issue(&Software(&key))).unwrap();
    let below = existing(&der).unwrap();
    assert!(!below.chain().has_root());
    assert!(der.windows(6).any(|octets| octets == b"of old"));
}

#[test]
fn a_certificate_of_other_contents_is_not_taken_for_the_prepared_one() {
    let key = TestKey::p256();
    let sealed = PreparedAuthority::root(&authority("Root", &key, None)).unwrap();
    let der = block_on(sealed.issue(&Software(&key))).unwrap();
    let other = PreparedAuthority::root(&authority("Other", &key, None)).unwrap();
    assert!(other.check(&der).is_err());
}
