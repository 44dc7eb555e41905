//! The effect of each rule of a profile on a certificate, octet by octet.

use const_oid::{ObjectIdentifier, db::rfc5280::*};
use der::Tag;

use super::*;
use crate::issuance::{
    pattern::Template,
    profile::{CaLimits, Constraint, EmptySubject, Policy, SubjectMode},
};

/// Makes an issuer whose profile has these rules and whose grant allows CA certificates.
fn with(authority: &Authority, change: impl FnOnce(&mut Rules)) -> Arc<Issuer> {
    let mut rules = Rules::default();
    change(&mut rules);
    let limits = Limits {
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    let profile = Profile::new(rules, limits).unwrap();
    Arc::new(Issuer::new(authority.chain(), profile, None).unwrap())
}

fn try_tbs(
    issuer: &Arc<Issuer>,
    request: &Request,
    wanted: &Wanted<'_>,
) -> Result<Vec<u8>, RefusalReason> {
    let csr = VerifiedCsr::parse(request.pem(key()).as_bytes()).unwrap();
    let params = issuer
        .profile()
        .admit(&csr, wanted)
        .map_err(|refusal| refusal.reason())?;
    match PreparedCertificate::prepare(&params, issuer, now(), Serial::from_random(SERIAL)) {
        Ok(prepared) => Ok(prepared.tbs),
        Err(PrepareError::Refused(refusal)) => Err(refusal.reason()),
        Err(error) => panic!("{error}"),
    }
}

fn tbs(issuer: &Arc<Issuer>, request: &Request, wanted: &Wanted<'_>) -> Vec<u8> {
    try_tbs(issuer, request, wanted).unwrap()
}

fn key() -> &'static TestKey {
    TestKey::each_kind()[1]
}

fn contains(tbs: &[u8], part: &[u8]) -> bool {
    tbs.windows(part.len()).any(|window| window == part)
}

/// Asserts that a TBSCertificate ends with these extensions, in this order.
fn ends_with(tbs: &[u8], extensions: &[Vec<u8>]) {
    let expected = extensions.concat();
    assert_eq!(
        hex::encode(&tbs[tbs.len() - expected.len()..]),
        hex::encode(expected)
    );
}

const CA: Wanted<'static> = Wanted {
    is_ca: true,
    ..DEFAULT
};

fn ca_request() -> Request {
    Request::new("subordinate", key())
        .extension(ID_CE_BASIC_CONSTRAINTS, &sequence(&[&[1, 1, 0xff]]))
}

fn own_key_id() -> Vec<u8> {
    let identifier = digest::digest(&digest::SHA256, key().octets());
    extension(
        ID_CE_SUBJECT_KEY_IDENTIFIER,
        false,
        &tlv(4, &identifier.as_ref()[..20]),
    )
}

#[test]
fn a_ca_certificate_has_the_path_length_and_the_constraints_of_the_profile() {
    let root = Authority::root("root");
    let issuer = with(&root, |rules| {
        rules.ca.allow = true;
        rules.ca.constraints.permitted = vec![
            Constraint::Dns("corp.example".parse().unwrap()),
            Constraint::Ip("10.0.0.0/8".parse().unwrap()),
        ];
        rules.ca.constraints.excluded = vec![
            Constraint::Uri(".evil.example".parse().unwrap()),
            Constraint::Email("a@b.example".parse().unwrap()),
        ];
        // Neither of these affects a CA certificate.
        rules.extensions.no_rev_avail = true;
        rules.extensions.subject_key_id = false;
    });
    let tbs = tbs(&issuer, &ca_request(), &CA);
    let constraints = name_constraints(
        &[(DNS, b"corp.example"), (IP, &[10, 0, 0, 0, 255, 0, 0, 0])],
        &[(URI, b".evil.example"), (EMAIL, b"a@b.example")],
    );
    ends_with(
        &tbs,
        &[
            own_key_id(),
            // digitalSignature and keyCertSign; an EC key cannot encipher.
            extension(ID_CE_KEY_USAGE, true, &[3, 2, 2, 0x84]),
            extension(
                ID_CE_BASIC_CONSTRAINTS,
                true,
                &sequence(&[&[1, 1, 0xff], &[2, 1, 0]]),
            ),
            extension(ID_CE_NAME_CONSTRAINTS, true, &constraints),
        ],
    );
}

#[test]
fn a_ca_certificate_needs_room_in_every_path_length_above() {
    use RefusalReason::CaPathLength;
    let path = |length| {
        move |rules: &mut Rules| {
            rules.ca.allow = true;
            rules.ca.path_length = length;
        }
    };
    let none = Authority::builder("root").path_length(0).root();
    let one = Authority::builder("root").path_length(1).root();
    let any = Authority::root("root");
    let verdict = |authority: &Authority, length| {
        try_tbs(&with(authority, path(length)), &ca_request(), &CA).map(|_| ())
    };
    assert_eq!(verdict(&none, Some(0)), Err(CaPathLength));
    assert_eq!(verdict(&none, None), Err(CaPathLength));
    assert_eq!(verdict(&one, Some(0)), Ok(()));
    assert_eq!(verdict(&one, Some(1)), Err(CaPathLength));
    assert_eq!(verdict(&one, None), Ok(()));
    assert_eq!(verdict(&any, Some(9)), Ok(()));
    let asks = Request::new("subordinate", key()).extension(
        ID_CE_BASIC_CONSTRAINTS,
        &sequence(&[&[1, 1, 0xff], &[2, 1, 3]]),
    );
    assert_eq!(
        try_tbs(&with(&any, path(Some(0))), &asks, &CA),
        Err(CaPathLength)
    );
}

#[test]
fn a_ca_certificate_is_issued_only_if_grant_and_profile_and_csr_agree() {
    use RefusalReason::*;
    let root = Authority::root("root");
    let allowing = with(&root, |rules| rules.ca.allow = true);
    let refusing = with(&root, |_| {});
    assert_eq!(try_tbs(&refusing, &ca_request(), &CA), Err(CaNotAllowed));
    assert_eq!(
        try_tbs(&allowing, &ca_request(), &DEFAULT),
        Err(CsrRequestMismatch)
    );
    let leaf_csr = Request::new("leaf", key()).extension(ID_CE_BASIC_CONSTRAINTS, &sequence(&[]));
    assert_eq!(try_tbs(&allowing, &leaf_csr, &CA), Err(CsrRequestMismatch));
    let nobody = Request::new("", key()).names(&[(DNS, b"a.example")]);
    assert_eq!(try_tbs(&allowing, &nobody, &CA), Err(BadSubject));
    let naming = with(&root, |rules| {
        rules.ca.allow = true;
        rules.ca.empty_subject = EmptySubject::FirstDnsName;
    });
    let named = Request::new("", key()).names(&[(IP, &[192, 0, 2, 1]), (DNS, b"a.example")]);
    let made = name(&[&[("2.5.4.3", Tag::Utf8String, b"a.example")]]);
    assert!(contains(&tbs(&naming, &named, &CA), &made));
    let long = [[b'a'; 33].as_slice(), b".", &[b'a'; 31]].concat();
    for names in [&[(IP, &[192, 0, 2, 1][..])][..], &[(DNS, &long)]] {
        let nobody = Request::new("", key()).names(names);
        assert_eq!(try_tbs(&naming, &nobody, &CA), Err(BadSubject));
    }
    let cert_sign = words(&["cert sign"]);
    assert_eq!(
        try_tbs(
            &allowing,
            &Request::new("leaf", key()),
            &wanting(&cert_sign)
        ),
        Err(UsageNotAllowed)
    );
    let rules = Rules {
        ca: crate::issuance::profile::CaRules {
            allow: true,
            ..Default::default()
        },
        ..Rules::default()
    };
    assert!(Profile::new(rules, Limits::default()).is_err());
}

#[test]
fn extensions_have_a_stable_order() {
    let root = Authority::root("root");
    let issuer = with(&root, |rules| {
        let rules = &mut rules.extensions;
        rules.policies = vec![
            Policy {
                oid: large_oid("1.2.3"),
                cps: Some("http://ca.example/cps".parse().unwrap()),
            },
            Policy {
                oid: large_oid("1.2.4"),
                cps: None,
            },
        ];
        rules.crl = vec!["http://ca.example/a.crl".parse().unwrap()];
        rules.ca_issuers = vec!["http://ca.example/a.cer".parse().unwrap()];
        rules.ocsp = vec!["http://ocsp.example/".parse().unwrap()];
        rules.from_csr = vec![large_oid("1.3.6.1.5.5.7.1.24"), large_oid("1.2.5")];
    });
    let feature = [0x30, 3, 2, 1, 5];
    let request = leaf(key())
        .extension(oid("1.2.6"), b"\x05\x00")
        .extension(oid("1.3.6.1.5.5.7.1.24"), &feature);
    let access =
        |method: ObjectIdentifier, url: &[u8]| sequence(&[&oid_der(method), &tlv(URI, url)]);
    ends_with(
        &tbs(&issuer, &request, &DEFAULT),
        &[
            extension(ID_CE_SUBJECT_ALT_NAME, false, &san(&[(DNS, b"a.example")])),
            extension(
                ID_CE_CERTIFICATE_POLICIES,
                false,
                &sequence(&[
                    &sequence(&[
                        &oid_der(oid("1.2.3")),
                        &sequence(&[&sequence(&[
                            &oid_der(ID_QT_CPS),
                            &tlv(0x16, b"http://ca.example/cps"),
                        ])]),
                    ]),
                    &sequence(&[&oid_der(oid("1.2.4"))]),
                ]),
            ),
            extension(
                ID_CE_CRL_DISTRIBUTION_POINTS,
                false,
                &sequence(&[&sequence(&[&tlv(
                    0xa0,
                    &tlv(0xa0, &tlv(URI, b"http://ca.example/a.crl")),
                )])]),
            ),
            extension(
                ID_PE_AUTHORITY_INFO_ACCESS,
                false,
                &sequence(&[
                    &access(ID_AD_OCSP, b"http://ocsp.example/"),
                    &access(ID_AD_CA_ISSUERS, b"http://ca.example/a.cer"),
                ]),
            ),
            extension(oid("1.3.6.1.5.5.7.1.24"), false, &feature),
        ],
    );
}

#[test]
fn a_short_lived_leaf_says_that_it_is_never_revoked() {
    let root = Authority::root("root");
    let issuer = with(&root, |rules| {
        rules.extensions.no_rev_avail = true;
        rules.extensions.subject_key_id = false;
    });
    ends_with(
        &tbs(&issuer, &leaf(key()), &DEFAULT),
        &[
            extension(
                ID_CE_AUTHORITY_KEY_IDENTIFIER,
                false,
                &sequence(&[&tlv(0x80, b"key id")]),
            ),
            extension(ID_CE_KEY_USAGE, true, &[3, 2, 7, 0x80]),
            extension(ID_CE_BASIC_CONSTRAINTS, true, &sequence(&[])),
            extension(ID_CE_SUBJECT_ALT_NAME, false, &san(&[(DNS, b"a.example")])),
            extension(oid("2.5.29.56"), false, &[5, 0]),
        ],
    );
}

#[test]
fn a_profile_with_extensions_that_contradict_each_other_is_an_error() {
    type Change = fn(&mut Rules);
    let table: [(&str, Change); 5] = [
        ("extensions.fromCSR[1]", |rules| {
            rules.extensions.from_csr = vec![large_oid("1.2.3"); 2];
        }),
        ("extensions.noRevAvail", |rules| {
            rules.extensions.no_rev_avail = true;
            rules.extensions.ocsp = vec!["http://a/".parse().unwrap()];
        }),
        ("extensions.fromCSR[0]", |rules| {
            rules.extensions.from_csr = vec![ID_CE_BASIC_CONSTRAINTS.into()];
        }),
        ("extensions.fromCSR[0]", |rules| {
            rules.extensions.from_csr = vec![ID_PE_AUTHORITY_INFO_ACCESS.into()];
        }),
        ("extensions.policies[1]", |rules| {
            let policy = Policy {
                oid: large_oid("1.2.3"),
                cps: None,
            };
            rules.extensions.policies = vec![policy.clone(), policy];
        }),
    ];
    for (field, change) in table {
        let mut rules = Rules::default();
        change(&mut rules);
        let error = Profile::new(rules, Limits::default()).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn the_subject_comes_from_the_csr_or_the_profile_or_is_empty() {
    use RefusalReason::{BadSubject, NoIdentity};
    let root = Authority::root("root");
    let fixed = with(&root, |rules| {
        rules.subject.mode = SubjectMode::Fixed(
            [
                ("2.5.4.6", "DE"),
                ("2.5.4.10", "Shop"),
                ("2.5.4.11", "{{namespace}}"),
            ]
            .map(|(kind, value)| (large_oid(kind), Template::parse(value).unwrap()))
            .to_vec(),
        );
    });
    let mut request = leaf(key());
    request.subject = name(&[
        &[("2.5.4.10", Tag::Utf8String, b"Impostor")],
        &[("2.5.4.3", Tag::PrintableString, b"web")],
    ]);
    let made = name(&[
        &[("2.5.4.6", Tag::PrintableString, b"DE")],
        &[("2.5.4.10", Tag::Utf8String, b"Shop")],
        &[("2.5.4.11", Tag::Utf8String, b"shop")],
        &[("2.5.4.3", Tag::PrintableString, b"web")],
    ]);
    assert!(contains(&tbs(&fixed, &request, &DEFAULT), &made));

    let omit = with(&root, |rules| rules.subject.mode = SubjectMode::Omit);
    let names = extension(ID_CE_SUBJECT_ALT_NAME, true, &san(&[(DNS, b"a.example")]));
    ends_with(&tbs(&omit, &request, &DEFAULT), &[names]);
    assert_eq!(
        try_tbs(&omit, &Request::new("leaf", key()), &DEFAULT),
        Err(NoIdentity)
    );
    let required = with(&root, |rules| rules.subject.require_san = true);
    assert_eq!(
        try_tbs(&required, &Request::new("leaf", key()), &DEFAULT),
        Err(NoIdentity)
    );
    let common_names_only = with(&root, |rules| {
        rules.subject.allowed = Some(vec![large_oid("2.5.4.3")]);
    });
    assert_eq!(
        try_tbs(&common_names_only, &request, &DEFAULT),
        Err(BadSubject)
    );
    assert!(try_tbs(&common_names_only, &leaf(key()), &DEFAULT).is_ok());
}

#[test]
fn a_subject_that_is_left_out_need_not_be_well_formed() {
    let root = Authority::root("root");
    let mut request = leaf(key());
    request.subject = name(&[&[("2.5.4.10", Tag::PrintableString, b"")]]);
    let verbatim = with(&root, |_| {});
    let refused = Err(RefusalReason::BadSubject);
    assert_eq!(try_tbs(&verbatim, &request, &DEFAULT), refused);

    let omit = with(&root, |rules| rules.subject.mode = SubjectMode::Omit);
    let names = extension(ID_CE_SUBJECT_ALT_NAME, true, &san(&[(DNS, b"a.example")]));
    ends_with(&tbs(&omit, &request, &DEFAULT), &[names]);
}
