//! Validity windows, subjects with a key or name of the chain, sizes, seals, and a property of all requests.

use const_oid::db::rfc5280::{ID_CE_EXT_KEY_USAGE, ID_CE_NAME_CONSTRAINTS, ID_KP_CLIENT_AUTH};
use futures::executor::block_on;
use proptest::prelude::*;

use super::*;
use crate::issuance::{Limits, MlDsa, Profile, Rules, VerifiedCsr, Wanted, testing::*};

mod asked_extensions;
mod chains;
mod corpus;
mod crls;
mod fences;
mod golden;
mod properties;
mod shapes;

/// The time of every test: 2023-11-14, a little after a full second.
fn now() -> Timestamp {
    at(1_700_000_000) + SignedDuration::from_millis(345)
}

const SERIAL: [u8; 16] = [0x5a; 16];

fn issuer(authority: &Authority) -> Arc<Issuer> {
    let mut rules = Rules::default();
    rules.keys.ml_dsa = MlDsa::ALL.to_vec();
    let profile = Profile::new(rules, Limits::default()).unwrap();
    Arc::new(Issuer::new(authority.chain(), profile, None).unwrap())
}

fn prepare(
    request: &Request,
    key: &TestKey,
    authority: &Authority,
    wanted: &Wanted<'_>,
) -> Result<PreparedCertificate, PrepareError> {
    let issuer = issuer(authority);
    let csr = VerifiedCsr::parse(request.pem(key).as_bytes()).unwrap();
    let params = issuer.profile().admit(&csr, wanted).unwrap();
    PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL))
}

fn refusal(
    request: &Request,
    key: &TestKey,
    authority: &Authority,
    wanted: &Wanted<'_>,
) -> RefusalReason {
    match prepare(request, key, authority, wanted) {
        Err(PrepareError::Refused(refusal)) => refusal.reason(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Asserts that the first refusal of the explanation is that of `admit`, or that neither refuses anything.
fn assert_explained(
    profile: &Profile,
    csr: &VerifiedCsr,
    wanted: &Wanted<'_>,
    admitted: &Result<CertificateParams<'_>, Refusal>,
) {
    let decisions = profile.explain(csr, wanted);
    let first = decisions
        .iter()
        .find_map(|decision| decision.verdict.as_ref().err());
    assert_eq!(first, admitted.as_ref().err(), "{decisions:?}");
}

/// Makes a request that every authority in these tests admits.
fn leaf(key: &TestKey) -> Request {
    Request::new("leaf", key).names(&[(DNS, b"a.example")])
}

#[test]
fn every_kind_of_leaf_under_every_kind_of_issuer_is_sealed_and_carries_the_bytes_of_its_csr() {
    for issuing in TestKey::each_kind() {
        let authority = Authority::builder("root").key(issuing).root();
        for key in TestKey::each_kind() {
            if key.spki() == issuing.spki() {
                continue;
            }
            let request = leaf(key);
            let prepared = prepare(&request, key, &authority, &DEFAULT).unwrap();
            let tbs = prepared.tbs.clone();
            let issued = block_on(prepared.issue(issuing)).unwrap();
            let contains = |part: &[u8]| {
                issued
                    .der()
                    .windows(part.len())
                    .any(|window| window == part)
            };
            assert!(contains(&tbs), "the sealed bytes are not the linted ones");
            assert!(contains(&request.subject));
            assert!(contains(&request.spki));
            assert!(contains(&san(&[(DNS, b"a.example")])));
            assert!(contains(authority.subject()));
        }
    }
}

#[test]
fn the_same_arguments_give_the_same_bytes_and_another_serial_gives_others() {
    let root = Authority::root("root");
    let key = TestKey::p256();
    let csr = VerifiedCsr::parse(leaf(&key).pem(&key).as_bytes()).unwrap();
    let issuer = issuer(&root);
    let params = issuer.profile().admit(&csr, &DEFAULT).unwrap();
    let tbs = |serial| {
        PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(serial))
            .unwrap()
            .tbs
    };
    assert_eq!(tbs(SERIAL), tbs(SERIAL));
    assert_ne!(tbs(SERIAL), tbs([1; 16]));
}

#[test]
fn backdating_moves_the_window_and_keeps_its_length() {
    let root = Authority::root("root");
    let key = TestKey::p256();
    let table = [
        (SignedDuration::from_hours(24), 60),
        // A tenth of five minutes.
        (SignedDuration::from_mins(5), 30),
    ];
    for (duration, backdate) in table {
        let prepared = prepare(&leaf(&key), &key, &root, &lasting(duration)).unwrap();
        assert_eq!(prepared.not_before(), at(1_700_000_000 - backdate));
        assert_eq!(prepared.not_after(), prepared.not_before() + duration);
    }
}

#[test]
fn the_window_stays_within_that_of_the_issuing_certificate() {
    let day = SignedDuration::from_hours(24);
    let key = TestKey::p256();
    let young = Authority::builder("root")
        .validity(at(1_699_999_990), at(1_800_000_000))
        .root();
    let prepared = prepare(&leaf(&key), &key, &young, &lasting(day)).unwrap();
    assert_eq!(prepared.not_before(), at(1_699_999_990));
    assert_eq!(prepared.not_after(), at(1_699_999_990) + day);
    // One second too short, then just long enough.
    let ends = |second| {
        Authority::builder("root")
            .validity(at(0), at(second))
            .root()
    };
    let last = 1_700_000_000 - 60 + day.as_secs();
    assert_eq!(
        refusal(&leaf(&key), &key, &ends(last - 1), &lasting(day)),
        RefusalReason::ExceedsCaValidity
    );
    assert_eq!(
        prepare(&leaf(&key), &key, &ends(last), &lasting(day))
            .unwrap()
            .not_after(),
        at(last)
    );
}

#[test]
fn a_clamped_window_ends_with_the_issuing_certificate_but_is_never_below_the_floor() {
    let key = TestKey::p256();
    let csr = VerifiedCsr::parse(leaf(&key).pem(&key).as_bytes()).unwrap();
    let hour = SignedDuration::from_hours(1);
    let ending = |second| {
        let root = Authority::builder("root")
            .validity(at(0), at(second))
            .root();
        let mut rules = Rules::default();
        rules.validity.beyond_ca = BeyondCa::Clamp {
            min_remaining: hour,
        };
        let profile = Profile::new(rules, Limits::default()).unwrap();
        let issuer = Arc::new(Issuer::new(root.chain(), profile, None).unwrap());
        let params = issuer.profile().admit(&csr, &DEFAULT).unwrap();
        PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL))
    };
    let last = 1_700_000_001 + hour.as_secs();
    let prepared = ending(last).unwrap();
    assert_eq!(prepared.not_before(), at(1_700_000_000 - 60));
    assert_eq!(prepared.not_after(), at(last));
    assert!(matches!(
        ending(last - 1),
        Err(PrepareError::Refused(refusal)) if refusal.reason() == RefusalReason::ExceedsCaValidity
    ));
}

#[test]
fn nothing_is_prepared_under_an_expired_issuer() {
    let expired = Authority::builder("root").validity(at(0), at(1_000)).root();
    let key = TestKey::p256();
    let error = prepare(&leaf(&key), &key, &expired, &DEFAULT).unwrap_err();
    assert_eq!(error.fault(), Fault::Issuer);
    assert!(matches!(
        error,
        PrepareError::Issuer(ChainError::Expired { .. })
    ));
}

#[test]
fn a_leaf_has_neither_the_key_nor_the_name_of_its_issuer() {
    let root = Authority::root("root");
    let key = TestKey::p256();
    assert_eq!(
        refusal(&leaf(root.key()), root.key(), &root, &DEFAULT),
        RefusalReason::IssuerKeyReuse
    );
    assert_eq!(
        refusal(&Request::new("root", &key), &key, &root, &DEFAULT),
        RefusalReason::BadSubject
    );
}

#[test]
fn a_request_that_the_chain_forbids_is_refused_before_anything_is_signed() {
    let key = TestKey::p256();
    let constrained = Authority::builder("root")
        .extension(
            ID_CE_NAME_CONSTRAINTS,
            true,
            &name_constraints(&[(DNS, b"b.example")], &[]),
        )
        .root();
    assert_eq!(
        refusal(&leaf(&key), &key, &constrained, &DEFAULT),
        RefusalReason::NameConstraints
    );
    let request = Request::new("leaf", &key).names(&[(DNS, b"a.b.example")]);
    assert!(prepare(&request, &key, &constrained, &DEFAULT).is_ok());

    let root = Authority::root("root");
    let clients_only = Authority::builder("issuing")
        .extension(ID_CE_EXT_KEY_USAGE, false, &purposes(&[ID_KP_CLIENT_AUTH]))
        .under(&root);
    let clients = words(&["digital signature", "client auth"]);
    let servers = words(&["digital signature", "server auth"]);
    assert!(prepare(&leaf(&key), &key, &clients_only, &wanting(&clients)).is_ok());
    assert_eq!(
        refusal(&leaf(&key), &key, &clients_only, &wanting(&servers)),
        RefusalReason::CaEkuConstraint
    );
}

#[test]
fn a_certificate_that_is_too_large_for_cert_manager_is_refused() {
    let root = Authority::root("root");
    let key = TestKey::p256();
    let long = format!("https://a.example/{}", "x".repeat(300));
    let names = vec![(URI, long.as_bytes()); 100];
    assert_eq!(
        refusal(&leaf_with(&names, &key), &key, &root, &DEFAULT),
        RefusalReason::TooLarge
    );
}

fn leaf_with(names: &[(u8, &[u8])], key: &TestKey) -> Request {
    Request::new("leaf", key).names(names)
}

#[test]
fn a_signature_that_is_damaged_or_of_another_key_is_never_released() {
    let root = Authority::root("root");
    let other = Authority::root("root");
    let key = TestKey::p256();
    let prepared = || prepare(&leaf(&key), &key, &root, &DEFAULT).unwrap();
    let error = block_on(prepared().issue(other.key())).unwrap_err();
    assert!(matches!(error, IssueError::Unverified(_)));
    assert_eq!(error.fault(), Fault::Bug);
    let tbs = prepared().tbs;
    let good = root.key().sign(root.key().scheme(), &tbs);
    assert!(
        prepared()
            .seal(&Signature::from_octets(good.clone()))
            .is_ok()
    );
    for index in 0..good.len() {
        let mut damaged = good.clone();
        damaged[index] ^= 1;
        assert!(
            prepared().seal(&Signature::from_octets(damaged)).is_err(),
            "octet {index}"
        );
    }
}

#[test]
fn the_error_of_a_signer_decides_who_has_to_act() {
    let root = Authority::root("root");
    let key = TestKey::p256();
    let prepared = prepare(&leaf(&key), &key, &root, &DEFAULT).unwrap();
    assert_eq!(
        block_on(prepared.issue(&Unwilling)).unwrap_err().fault(),
        Fault::Passing
    );
}

#[test]
fn the_chain_is_published_with_the_leaf_and_the_root_separately() {
    let root = Authority::root("root");
    let issuing = root.subordinate("issuing");
    let chain =
        crate::issuance::IssuerChain::parse(bundle(&[&issuing, &root]).as_bytes(), None).unwrap();
    let issuer = Arc::new(Issuer::new(chain, Profile::default(), None).unwrap());
    let key = TestKey::p256();
    let csr = VerifiedCsr::parse(leaf(&key).pem(&key).as_bytes()).unwrap();
    let params = issuer.profile().admit(&csr, &DEFAULT).unwrap();
    let prepared =
        PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL)).unwrap();
    let issued = block_on(prepared.issue(issuing.key())).unwrap();
    assert_eq!(
        issued.certificate_pem(),
        pem::encode("CERTIFICATE", issued.der()) + &issuing.pem()
    );
    assert_eq!(issued.ca_pem(CaField::Root), Some(root.pem()));
    assert_eq!(issued.serial_hex(), "5a".repeat(16));
}

#[test]
fn the_authority_key_id_is_that_of_the_ca_or_derived_from_its_key() {
    let key = TestKey::p256();
    let with = Authority::root("root");
    let tbs = prepare(&leaf(&key), &key, &with, &DEFAULT).unwrap().tbs;
    assert!(tbs.windows(8).any(|window| window == b"\x80\x06key id"));
    let without = Authority::builder("root").without_subject_key_id().root();
    let chain = without.chain();
    let derived = chain.issuing().authority_key_id();
    let tbs = prepare(&leaf(&key), &key, &without, &DEFAULT).unwrap().tbs;
    assert_eq!(derived.len(), 20);
    assert!(
        tbs.windows(22)
            .any(|window| window == [&[0x80, 20], derived.as_slice()].concat())
    );
}

proptest! {
    /// With any common name, and with alternative names of any tag and any text, an admitted request passes every lint
    /// and its certificate carries the bytes of the CSR. Any failure is a refusal, never a bug.
    #[test]
    fn an_admitted_request_is_prepared_with_the_bytes_of_its_csr(
        common in "\\PC{0,70}",
        kinds in proptest::collection::vec((0x80..0x89_u8, "[a-zA-Z0-9.*@:/ _-]{0,40}"), 0..4),
        hours in -10_i64..10_000,
    ) {
        let authority = fixture();
        let key = TestKey::each_kind()[1];
        let mut request = Request::new(&common, key);
        let names: Vec<(u8, &[u8])> = kinds.iter().map(|(tag, text)| (*tag, text.as_bytes())).collect();
        if !names.is_empty() {
            request = request.names(&names);
        }
        let Ok(csr) = VerifiedCsr::parse(request.pem(key).as_bytes()) else { return Ok(()) };
        let issuer = issuer(authority);
        let Ok(params) = issuer.profile().admit(&csr, &lasting(SignedDuration::from_hours(hours))) else { return Ok(()) };
        match PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL)) {
            Ok(prepared) => {
                let contains = |part: &[u8]| prepared.tbs.windows(part.len()).any(|window| window == part);
                prop_assert!(contains(&request.subject));
                prop_assert!(contains(&request.spki));
                prop_assert!(names.is_empty() || contains(&san(&names)));
            }
            Err(error) => prop_assert_eq!(error.fault(), Fault::Request, "{}", error),
        }
    }
}

fn fixture() -> &'static Authority {
    static ROOT: std::sync::OnceLock<Authority> = std::sync::OnceLock::new();
    ROOT.get_or_init(|| Authority::root("root"))
}
