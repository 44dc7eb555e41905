//! The effect of each rule, and rules that contradict each other.

use super::*;

/// A profile with one rule changed.
fn with(change: impl FnOnce(&mut Rules)) -> Profile {
    within(change, Limits::default()).unwrap()
}

fn within(change: impl FnOnce(&mut Rules), limits: Limits) -> Result<Profile, ProfileError> {
    let mut rules = Rules::default();
    change(&mut rules);
    Profile::new(rules, limits)
}

/// Returns the reason for which a P-256 leaf with these names is refused.
fn verdict(profile: &Profile, subject: &str, names: &[(u8, &[u8])]) -> Result<(), RefusalReason> {
    judged(profile, subject, names).map_err(|refusal| refusal.reason())
}

/// Returns the verdict on a P-256 leaf with these names.
fn judged(profile: &Profile, subject: &str, names: &[(u8, &[u8])]) -> Result<(), Refusal> {
    let key = TestKey::each_kind()[1];
    let mut request = Request::new(subject, key);
    if !names.is_empty() {
        request = request.names(names);
    }
    profile.admit(&csr(&request, key), &DEFAULT).map(drop)
}

type Change<T> = fn(&mut T);

const NOT_ALLOWED: Result<(), RefusalReason> = Err(RefusalReason::SanNotAllowed);

#[test]
fn only_names_that_are_allowed_and_not_denied_are_admitted() {
    let profile = with(|rules| {
        rules.names.allowed = AllowedNames {
            dns: Some(vec!["*.{{namespace}}.svc".parse().unwrap()]),
            ip: Some(vec!["10.0.0.0/8".parse().unwrap()]),
            uri: Some(vec!["spiffe://td/ns/{{namespace}}/*".parse().unwrap()]),
            email: Some(vec!["*@shop.example".parse().unwrap()]),
            other_names: vec![large_oid("1.2.3")],
        };
        rules.names.denied = DeniedNames {
            dns: vec!["admin.shop.svc".parse().unwrap()],
            ip: vec!["10.0.0.0/24".parse().unwrap()],
        };
    });
    let other = |kind: &str| [&oid_der(oid(kind))[..], &tlv(0xa0, &tlv(0x0c, b"a"))].concat();
    let (known, unknown) = (other("1.2.3"), other("1.2.4"));
    let table: [(u8, &[u8], _); 14] = [
        (DNS, b"web.shop.svc", Ok(())),
        (DNS, b"web.other.svc", NOT_ALLOWED),
        (DNS, b"*.web.shop.svc", Ok(())),
        (DNS, b"admin.shop.svc", NOT_ALLOWED),
        (DNS, b"*.shop.svc", NOT_ALLOWED),
        (IP, &[10, 1, 0, 1], Ok(())),
        (IP, &[10, 0, 0, 1], NOT_ALLOWED),
        (IP, &[0; 16], NOT_ALLOWED),
        (URI, b"spiffe://td/ns/shop/sa/a", Ok(())),
        (URI, b"spiffe://td/ns/other/sa/a", NOT_ALLOWED),
        (EMAIL, b"a@shop.example", Ok(())),
        (EMAIL, b"a@b.example", NOT_ALLOWED),
        (0xa0, &known, Ok(())),
        (0xa0, &unknown, NOT_ALLOWED),
    ];
    for (tag, name, expected) in table {
        assert_eq!(
            verdict(&profile, "a person", &[(tag, name)]),
            expected,
            "{name:?}"
        );
    }
}

#[test]
fn a_refused_name_says_what_is_allowed_instead() {
    let profile = with(|rules| {
        rules.names.wildcards = false;
        rules.names.allowed.dns = Some(vec![
            "*.{{namespace}}.svc".parse().unwrap(),
            "db.example".parse().unwrap(),
        ]);
        rules.names.allowed.ip = Some(vec!["10.0.0.0/8".parse().unwrap()]);
        rules.names.allowed.uri = Some(Vec::new());
        rules.names.allowed.email = Some(vec!["*@shop.example".parse().unwrap()]);
        rules.names.denied.dns = vec!["admin.shop.svc".parse().unwrap()];
    });
    let table: [(u8, &[u8], &str); 6] = [
        (
            DNS,
            b"web.example",
            ": it allows the DNS names *.shop.svc, db.example; leave it out",
        ),
        (
            IP,
            &[11, 0, 0, 1],
            ": it allows the IP addresses 10.0.0.0/8;",
        ),
        (URI, b"spiffe://td/a", ": it allows no URIs;"),
        (
            EMAIL,
            b"a@b.example",
            ": it allows the e-mail addresses *@shop.example;",
        ),
        (DNS, b"*.shop.svc", ": it allows no wildcards;"),
        (DNS, b"admin.shop.svc", ": it denies this name;"),
    ];
    for (tag, name, expected) in table {
        let refusal = judged(&profile, "a person", &[(tag, name)]).unwrap_err();
        let text = refusal.to_string();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_common_name_that_reads_as_a_host_is_judged_as_one() {
    let profile = with(|rules| {
        rules.names.allowed.dns = Some(vec!["*.shop.svc".parse().unwrap()]);
        rules.names.allowed.ip = Some(Vec::new());
    });
    assert_eq!(verdict(&profile, "web.shop.svc", &[]), Ok(()));
    assert_eq!(verdict(&profile, "bank.example", &[]), NOT_ALLOWED);
    assert_eq!(verdict(&profile, "10.0.0.1", &[]), NOT_ALLOWED);
    assert_eq!(verdict(&profile, "a person", &[]), Ok(()));
    assert_eq!(verdict(&profile, "web", &[]), NOT_ALLOWED);
    assert_eq!(verdict(&profile, "web", &[(DNS, b"web.shop.svc")]), Ok(()));
}

#[test]
fn a_common_name_that_reads_as_an_ipv4_address_mapped_into_ipv6_is_refused_as_in_a_san() {
    let profile = Profile::default();
    let bad = Err(RefusalReason::BadSan);
    assert_eq!(verdict(&profile, "::ffff:10.0.0.1", &[]), bad);
    assert_eq!(verdict(&profile, "10.0.0.1", &[]), Ok(()));
}

#[test]
fn the_profile_decides_on_wildcards_and_underscores() {
    let strict = with(|rules| rules.names.wildcards = false);
    assert_eq!(
        verdict(&strict, "leaf", &[(DNS, b"*.a.example")]),
        NOT_ALLOWED
    );
    let lenient = with(|rules| rules.names.dns_syntax = DnsSyntax::Underscore);
    assert_eq!(verdict(&lenient, "leaf", &[(DNS, b"_a.example")]), Ok(()));
}

#[test]
fn an_svid_has_one_spiffe_id_and_can_sign() {
    let profile = with(|rules| rules.names.spiffe = true);
    let bad = Err(RefusalReason::BadSpiffeId);
    let id: (u8, &[u8]) = (URI, b"spiffe://td/a");
    assert_eq!(verdict(&profile, "", &[id]), Ok(()));
    assert_eq!(verdict(&profile, "", &[id, (DNS, b"a.example")]), Ok(()));
    assert_eq!(verdict(&profile, "", &[id, id]), bad);
    assert_eq!(verdict(&profile, "", &[(URI, b"https://a/b")]), bad);
    assert_eq!(verdict(&profile, "leaf", &[]), bad);
    let rsa = TestKey::rsa();
    let encipher = words(&["key encipherment"]);
    let request = Request::new("", rsa).names(&[id]);
    let refusal = profile
        .admit(&csr(&request, rsa), &wanting(&encipher))
        .unwrap_err();
    assert_eq!(refusal.reason(), RefusalReason::UsageNotAllowed);
}

#[test]
fn only_keys_that_the_profile_lists_are_certified() {
    use RefusalReason::*;
    let of = |index: usize| TestKey::each_kind()[index];
    let hash = |key: &TestKey| {
        let hash = digest::digest(&digest::SHA256, key.spki());
        <[u8; 32]>::try_from(hash.as_ref()).unwrap()
    };
    let blocked = hash(of(1));
    let table: [(&TestKey, Change<KeyRules>, _); 7] = [
        // ML-DSA is off by default.
        (of(5), |_| {}, UnsupportedKey),
        (of(0), |keys| keys.rsa_min_bits = 3072, WeakKey),
        (
            of(0),
            |keys| (keys.rsa_min_bits, keys.rsa_max_bits) = (1024, 1024),
            KeyTooLarge,
        ),
        (of(1), |keys| keys.p256 = false, UnsupportedKey),
        (of(2), |keys| keys.p384 = false, UnsupportedKey),
        (of(3), |keys| keys.p521 = false, UnsupportedKey),
        (of(4), |keys| keys.ed25519 = false, UnsupportedKey),
    ];
    let reason = |profile: &Profile, key: &TestKey| {
        profile
            .admit(&csr(&Request::new("leaf", key), key), &DEFAULT)
            .map(|_| ())
            .map_err(|refusal| refusal.reason())
    };
    for (key, change, expected) in table {
        let profile = with(|rules| change(&mut rules.keys));
        assert_eq!(reason(&profile, key), Err(expected), "{}", key.algorithm());
    }
    let profile = with(|rules| rules.keys.blocked = vec![[0; 32], blocked]);
    assert_eq!(reason(&profile, of(1)), Err(BlockedKey));
    assert_eq!(reason(&profile, of(2)), Ok(()));
}

#[test]
fn a_purpose_without_a_word_comes_from_the_csr_if_the_profile_lists_it() {
    let key = TestKey::each_kind()[1];
    let smart_card = oid("1.3.6.1.4.1.311.20.2.2");
    let request = Request::new("leaf", key).extension(
        ID_CE_EXT_KEY_USAGE,
        &purposes(&[smart_card, ID_KP_CLIENT_AUTH]),
    );
    let usages = words(&["digital signature", "client auth"]);
    let csr = csr(&request, key);
    let profile = with(|rules| rules.usages.extra = vec![smart_card.into()]);
    assert_eq!(
        profile
            .admit(&csr, &wanting(&usages))
            .unwrap()
            .extended_key_usage(),
        [ID_KP_CLIENT_AUTH, smart_card]
    );
    let refusal = Profile::default()
        .admit(&csr, &wanting(&usages))
        .unwrap_err();
    assert_eq!(refusal.reason(), RefusalReason::UsageNotAllowed);
}

#[test]
fn the_usage_any_cannot_be_combined_with_others() {
    let key = TestKey::each_kind()[1];
    let csr = csr(&Request::new("leaf", key), key);
    let every = ["digital signature", "any", "server auth"].map(|word| Usage::parse(word).unwrap());
    let profile = with(|rules| rules.usages.allowed = every.to_vec());
    let verdict = |usages: &[&str]| profile.admit(&csr, &wanting(&words(usages))).is_ok();
    assert!(verdict(&["digital signature", "any"]));
    assert!(!verdict(&["digital signature", "any", "server auth"]));
}

#[test]
fn a_usage_that_the_key_cannot_have_is_left_out_or_refused() {
    let key = TestKey::each_kind()[1];
    let csr = csr(&Request::new("leaf", key), key);
    let all = [
        "digital signature",
        "key encipherment",
        "key agreement",
        "encipher only",
    ];
    let every = all.map(|word| Usage::parse(word).unwrap()).to_vec();
    let usages = |incompatible, wanted: &[&str]| {
        with(|rules| {
            rules.usages.allowed.clone_from(&every);
            rules.usages.incompatible = incompatible;
        })
        .admit(&csr, &wanting(&words(wanted)))
        .map(|admitted| admitted.key_usage())
        .ok()
    };
    let signature = FlagSet::from(KeyUsages::DigitalSignature);
    assert_eq!(usages(Incompatible::Normalize, &all[..2]), Some(signature));
    assert_eq!(usages(Incompatible::Reject, &all[..2]), None);
    assert_eq!(usages(Incompatible::Reject, &all[..1]), Some(signature));
    // RFC 5280, section 4.2.1.3: encipherOnly means nothing without keyAgreement.
    let without_agreement = [all[0], all[3]];
    assert_eq!(
        usages(Incompatible::Normalize, &without_agreement),
        Some(signature)
    );
    let agreement = KeyUsages::KeyAgreement | KeyUsages::EncipherOnly;
    assert_eq!(usages(Incompatible::Reject, &all[2..]), Some(agreement));
}

#[test]
fn a_grant_narrows_the_profile_and_the_profile_cannot_widen_it() {
    let limits = Limits {
        max_duration: Some(SignedDuration::from_hours(24)),
        names: Some(AllowedNames::closed(
            vec!["*.shop.example".parse().unwrap()],
            Vec::new(),
            Vec::new(),
            Vec::new(),
        )),
        ..Limits::default()
    };
    let profile = within(|_| {}, limits.clone()).unwrap();
    let key = TestKey::each_kind()[1];
    let csr = csr(&Request::new("a person", key), key);
    let day = SignedDuration::from_hours(24);
    assert_eq!(profile.admit(&csr, &DEFAULT).unwrap().duration(), day);
    let longer = lasting(day + SignedDuration::from_secs(1));
    assert_eq!(
        profile.admit(&csr, &longer).unwrap_err().reason(),
        RefusalReason::DurationTooLong
    );
    assert_eq!(
        verdict(&profile, "leaf", &[(DNS, b"a.shop.example")]),
        Ok(())
    );
    assert_eq!(
        verdict(&profile, "leaf", &[(DNS, b"a.example")]),
        NOT_ALLOWED
    );
    assert_eq!(verdict(&profile, "a.example", &[]), NOT_ALLOWED);
    let wider = within(
        |rules| rules.names.allowed.dns = Some(vec!["*".parse().unwrap()]),
        limits,
    )
    .unwrap();
    assert_eq!(verdict(&wider, "leaf", &[(DNS, b"a.example")]), NOT_ALLOWED);
}

#[test]
fn the_error_for_contradicting_rules_names_the_field() {
    let hours = SignedDuration::from_hours;
    let table: [(&str, Change<Rules>); 7] = [
        ("validity.min", |r| r.validity.min = SignedDuration::ZERO),
        ("validity.max", |r| {
            r.validity.max = SignedDuration::from_secs(1);
        }),
        ("validity.default", |r| {
            r.validity.default = SignedDuration::MAX;
        }),
        ("validity.default", |r| {
            r.validity.default = SignedDuration::from_secs(1);
        }),
        ("validity.backdate", |r| {
            r.validity.backdate = SignedDuration::MIN;
        }),
        ("validity.minRemaining", |r| {
            r.validity.beyond_ca = BeyondCa::Clamp {
                min_remaining: SignedDuration::ZERO,
            };
        }),
        ("keys.rsa.minBits", |r| r.keys.rsa_min_bits = 8193),
    ];
    for (field, change) in table {
        let error = within(change, Limits::default()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("profile.{field}: ")), "{error}");
    }
    let short = Limits {
        max_duration: Some(hours(1)),
        ..Limits::default()
    };
    assert!(within(|r| r.validity.min = hours(2), short).is_err());
}
