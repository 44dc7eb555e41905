//! Every certificate of the chain, the root included, limits what is issued below it.

use const_oid::db::rfc5280::ID_KP_SERVER_AUTH;
use der::Tag;

use super::*;
use crate::issuance::profile::CaLimits;
use crate::issuance::{IssuerChain, chain::MAX_COMPARISONS};

/// Prepares a certificate under this chain twice, once with the root in the bundle and once with the root separate, and
/// asserts that both outcomes are the same.
fn prepare_under(
    chain: &[&Authority],
    rules: &Rules,
    request: &Request,
    key: &TestKey,
    wanted: &Wanted<'_>,
) -> Result<PreparedCertificate, Refusal> {
    let csr = VerifiedCsr::parse(request.pem(key).as_bytes()).unwrap();
    let (root, below) = chain.split_last().unwrap();
    let together = IssuerChain::parse(bundle(chain).as_bytes(), None).unwrap();
    let root = root.pem();
    let apart = IssuerChain::parse(bundle(below).as_bytes(), Some(root.as_bytes())).unwrap();
    let [one, other] = [together, apart].map(|chain| {
        let limits = Limits {
            ca: CaLimits {
                allow: true,
                max_path_length: None,
            },
            ..Limits::default()
        };
        let profile = Profile::new(rules.clone(), limits).unwrap();
        let issuer = Arc::new(Issuer::new(chain, profile, None).unwrap());
        let params = issuer.profile().admit(&csr, wanted).unwrap();
        match PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL)) {
            Ok(prepared) => Ok(prepared),
            Err(PrepareError::Refused(refusal)) => Err(refusal),
            Err(bug) => panic!("{bug:?}"),
        }
    });
    let told = |outcome: &Result<PreparedCertificate, Refusal>| match outcome {
        Ok(prepared) => Ok(prepared.tbs.clone()),
        Err(refusal) => Err(refusal.clone()),
    };
    assert_eq!(told(&one), told(&other));
    one
}

fn slug<T>(outcome: Result<T, Refusal>) -> Option<&'static str> {
    outcome.err().map(|refusal| refusal.reason().as_str())
}

fn giving_cas(path_length: Option<u8>) -> Rules {
    let mut rules = Rules::default();
    rules.ca.allow = true;
    rules.ca.path_length = path_length;
    rules
}

const CA: Wanted<'static> = Wanted {
    is_ca: true,
    ..DEFAULT
};

#[test]
fn the_extensions_of_a_root_limit_what_is_issued_below_it() {
    let key = TestKey::p256();
    let clients = words(&["digital signature", "client auth"]);
    let servers = words(&["digital signature", "server auth"]);
    let ask = |root: &Authority, wanted: &Wanted<'_>| {
        let issuing = root.subordinate("issuing");
        let rules = giving_cas(None);
        slug(prepare_under(
            &[&issuing, root],
            &rules,
            &leaf(&key),
            &key,
            wanted,
        ))
    };
    let limited = |purpose| {
        let value = purposes(&[purpose]);
        Authority::builder("root")
            .extension(ID_CE_EXT_KEY_USAGE, false, &value)
            .root()
    };
    let (of_clients, of_servers) = (limited(ID_KP_CLIENT_AUTH), limited(ID_KP_SERVER_AUTH));
    assert_eq!(ask(&of_clients, &wanting(&clients)), None);
    assert_eq!(
        ask(&of_clients, &wanting(&servers)),
        Some("ca-eku-constraint")
    );
    assert_eq!(
        ask(&of_servers, &wanting(&clients)),
        Some("ca-eku-constraint")
    );
    assert_eq!(ask(&of_servers, &wanting(&servers)), None);

    let names = name_constraints(&[], &[(DNS, b"a.example")]);
    let excluding = Authority::builder("root").extension(ID_CE_NAME_CONSTRAINTS, true, &names);
    assert_eq!(ask(&excluding.root(), &DEFAULT), Some("name-constraints"));

    let short = Authority::builder("root").path_length(1).root();
    assert_eq!(ask(&short, &DEFAULT), None);
    assert_eq!(ask(&short, &CA), Some("ca-path-length"));
}

#[test]
fn no_certificate_outlives_any_certificate_of_its_chain() {
    let key = TestKey::p256();
    let hour = SignedDuration::from_hours(1);
    let lasting_an_hour = lasting(hour);
    let start = 1_700_000_000 - 60;
    let ends = |second| (at(0), at(second));
    let late = ends(4_000_000_000);
    // The root, the intermediate and the issuing certificate are each the first to end once.
    for first in 0..3 {
        let chain = |second| {
            let validity = |place| if place == first { ends(second) } else { late };
            let with = |name: &str, (from, to)| Authority::builder(name).validity(from, to);
            let root = with("root", validity(0)).root();
            let upper = with("upper", validity(1)).under(&root);
            let issuing = with("issuing", validity(2)).under(&upper);
            [issuing, upper, root]
        };
        let ask = |second, rules: &Rules| {
            let [issuing, upper, root] = chain(second);
            let chain = [&issuing, &upper, &root];
            prepare_under(&chain, rules, &leaf(&key), &key, &lasting_an_hour)
        };
        let name = ["CN=root", "CN=upper", "CN=issuing"][first];
        let exact = start + hour.as_secs();
        assert_eq!(
            ask(exact, &Rules::default()).unwrap().not_after(),
            at(exact)
        );
        let refused = ask(exact - 1, &Rules::default()).unwrap_err();
        assert_eq!(refused.reason(), RefusalReason::ExceedsCaValidity);
        assert!(refused.to_string().contains(name), "{refused}");

        let mut clamping = Rules::default();
        clamping.validity.beyond_ca = BeyondCa::Clamp {
            min_remaining: SignedDuration::from_mins(30),
        };
        assert_eq!(
            ask(exact - 1, &clamping).unwrap().not_after(),
            at(exact - 1)
        );
        let refused = ask(1_700_000_000 + 1_800, &clamping).unwrap_err();
        assert_eq!(refused.reason(), RefusalReason::ExceedsCaValidity);
        assert!(refused.to_string().contains(name), "{refused}");
        assert!(ask(1_700_000_000 + 1_801, &clamping).is_ok());
    }
}

#[test]
fn no_certificate_begins_before_any_certificate_of_its_chain() {
    let key = TestKey::p256();
    let root = Authority::builder("root")
        .validity(at(1_699_999_990), at(4_000_000_000))
        .root();
    let issuing = root.subordinate("issuing");
    let rules = Rules::default();
    let prepared = prepare_under(&[&issuing, &root], &rules, &leaf(&key), &key, &DEFAULT).unwrap();
    assert_eq!(prepared.not_before(), at(1_699_999_990));
}

#[test]
fn a_ca_cannot_have_the_name_of_a_ca_of_its_chain_in_any_spelling() {
    let key = TestKey::p256();
    let string = |tag, text: &[u8]| name(&[&[("2.5.4.3", tag, text)]]);
    let root = Authority::builder("").called(string(Tag::TeletexString, b"Great Root"));
    let root = root.root();
    let upper = Authority::builder("").called(string(Tag::PrintableString, b"Upper CA"));
    let upper = upper.under(&root);
    let issuing = upper.subordinate("Issuing");
    let chain = [&issuing, &upper, &root];
    let ask = |subject: Vec<u8>, wanted: &Wanted<'_>| {
        let mut request = leaf(&key);
        request.subject = subject;
        let rules = giving_cas(None);
        slug(prepare_under(&chain, &rules, &request, &key, wanted))
    };
    for same in [
        "Great Root",
        "GREAT  root ",
        "upper CA",
        " Upper CA",
        "issuing",
        "Issuing",
    ] {
        let asked = string(Tag::Utf8String, same.as_bytes());
        assert_eq!(ask(asked, &CA), Some("bad-subject"), "{same:?}");
    }
    for other in ["GreatRoot", "Great Root 2", "Lower CA"] {
        assert_eq!(ask(common_name(other), &CA), None, "{other:?}");
    }
    let longer = name(&[
        &[("2.5.4.10", Tag::Utf8String, b"Shop")],
        &[("2.5.4.3", Tag::Utf8String, b"Issuing")],
    ]);
    assert_eq!(ask(longer, &CA), None);
    // A leaf is self-issued only if it has the issuing certificate's name.
    assert_eq!(ask(common_name("ISSUING"), &DEFAULT), Some("bad-subject"));
    assert_eq!(ask(common_name("Great Root"), &DEFAULT), None);
}

#[test]
fn a_request_that_needs_more_name_comparisons_than_verifiers_make_is_refused() {
    let key = TestKey::p256();
    let subtrees = vec![(DNS, &b"x.example"[..]); MAX_COMPARISONS / 100 + 1];
    let value = name_constraints(&[], &subtrees);
    let root = Authority::builder("root")
        .extension(ID_CE_NAME_CONSTRAINTS, true, &value)
        .root();
    let issuing = root.subordinate("issuing");
    let ask = |count| {
        let request = Request::new("leaf", &key).names(&vec![(DNS, &b"a.example"[..]); count]);
        let rules = Rules::default();
        slug(prepare_under(
            &[&issuing, &root],
            &rules,
            &request,
            &key,
            &DEFAULT,
        ))
    };
    assert_eq!(ask(90), None);
    assert_eq!(ask(100), Some("name-constraints"));
}
