//! Properties of every profile and every request.

use const_oid::db::rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE};

use super::*;
use crate::issuance::{
    profile::{CaLimits, Constraint, Incompatible, Policy, SubjectMode},
    san::DnsSyntax,
    usage::Usage,
};

const WORDS: [&str; 8] = [
    "digital signature",
    "key encipherment",
    "key agreement",
    "encipher only",
    "cert sign",
    "crl sign",
    "any",
    "client auth",
];

/// Makes the rules of a profile from twelve coin tosses.
fn rules(coins: [bool; 12]) -> Rules {
    let [
        wildcards,
        underscores,
        omit,
        fixed,
        ca,
        long_path,
        constrained,
        published,
        never_revoked,
        without_key_id,
        reject,
        clamp,
    ] = coins;
    let mut rules = Rules::default();
    rules.names.wildcards = wildcards;
    if underscores {
        rules.names.dns_syntax = DnsSyntax::Underscore;
    }
    rules.names.allowed.other_names = vec![large_oid("1.2.3")];
    if fixed {
        let unit = crate::issuance::pattern::Template::parse("{{namespace}}").unwrap();
        rules.subject.mode = SubjectMode::Fixed(vec![(large_oid("2.5.4.11"), unit)]);
    } else if omit {
        rules.subject.mode = SubjectMode::Omit;
    }
    rules.ca.allow = ca;
    rules.ca.path_length = long_path.then_some(3);
    if constrained {
        rules.ca.constraints.permitted = vec![Constraint::Dns("a.example".parse().unwrap())];
    }
    rules.usages.allowed = WORDS.map(|word| Usage::parse(word).unwrap()).to_vec();
    rules.usages.extra = vec![large_oid("1.2.4")];
    if reject {
        rules.usages.incompatible = Incompatible::Reject;
    }
    rules.extensions.from_csr = vec![large_oid("1.2.5"), large_oid("1.3.6.1.5.5.7.1.11")];
    rules.extensions.subject_key_id = !without_key_id;
    if published {
        rules.extensions.policies = vec![Policy {
            oid: large_oid("1.2.6"),
            cps: Some("http://a.example/".parse().unwrap()),
        }];
        rules.extensions.ca_issuers = vec!["http://a.example/a".parse().unwrap()];
    }
    rules.extensions.no_rev_avail = never_revoked;
    if clamp {
        rules.validity.beyond_ca = BeyondCa::Clamp {
            min_remaining: SignedDuration::from_secs(1),
        };
    }
    rules
}

proptest! {
    /// With any profile, a request is refused or sealed. A sealed certificate passes every lint, three decoders read it
    /// alike, and it carries the key and the names of the CSR octet by octet.
    #[test]
    fn an_admitted_request_is_sealed_and_any_failure_is_a_refusal(
        coins in any::<[bool; 12]>(),
        common in "[a-zA-Z0-9. *_@-]{0,20}",
        kinds in proptest::collection::vec((0x80..0x89_u8, "[a-zA-Z0-9.*@:/_-]{0,20}"), 0..3),
        which in any::<[bool; 8]>(),
        (is_ca, asks_ca, asks_purpose, kind) in (any::<bool>(), any::<bool>(), any::<bool>(), 0..5_usize),
        copied in proptest::collection::vec(any::<u8>(), 0..12),
        hours in -1_i64..9_000,
    ) {
        let key = TestKey::each_kind()[kind];
        let mut request = Request::new(&common, key)
            .extension(oid("1.2.5"), &copied)
            .extension(oid("1.3.6.1.5.5.7.1.11"), &copied);
        let names: Vec<(u8, &[u8])> = kinds.iter().map(|(tag, text)| (*tag, text.as_bytes())).collect();
        if !names.is_empty() {
            request = request.names(&names);
        }
        if asks_ca {
            request = request.extension(ID_CE_BASIC_CONSTRAINTS, &sequence(&[&[1, 1, 0xff]]));
        }
        if asks_purpose {
            request = request.extension(ID_CE_EXT_KEY_USAGE, &purposes(&[oid("1.2.4")]));
        }
        let usages: Vec<_> = WORDS.iter().zip(which).filter(|(_, chosen)| *chosen).map(|(word, _)| (*word).to_owned()).collect();
        let wanted = Wanted {
            usages: &usages,
            is_ca,
            by_annotation: false,
            duration: Some(SignedDuration::from_hours(hours)),
            ..DEFAULT
        };
        let limits = Limits {
            ca: CaLimits { allow: true, max_path_length: None },
            ..Limits::default()
        };
        let profile = Profile::new(rules(coins), limits).unwrap();
        let issuer = Arc::new(Issuer::new(fixture().chain(), profile, None).unwrap());
        let Ok(csr) = VerifiedCsr::parse(request.pem(key).as_bytes()) else { return Ok(()) };
        let admitted = issuer.profile().admit(&csr, &wanted);
        assert_explained(issuer.profile(), &csr, &wanted, &admitted);
        let Ok(params) = admitted else { return Ok(()) };
        match PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL)) {
            Ok(prepared) => {
                let contains = |part: &[u8]| prepared.tbs.windows(part.len()).any(|window| window == part);
                prop_assert!(contains(&request.spki));
                prop_assert!(names.is_empty() || contains(&san(&names)));
                block_on(prepared.issue(fixture().key())).unwrap();
            }
            Err(error) => prop_assert_eq!(error.fault(), Fault::Request, "{:?}", error),
        }
    }
}
