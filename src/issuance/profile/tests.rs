//! What the default profile admits, and each refusal.

use const_oid::db::rfc5280::{
    ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS,
    ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH,
};
use der::Tag;

use super::*;
use crate::issuance::{scheme::MlDsa, testing::*, usage::Usage};

mod rules;

const TLS: [&str; 4] = [
    "digital signature",
    "key encipherment",
    "server auth",
    "client auth",
];

fn csr(request: &Request, key: &TestKey) -> VerifiedCsr {
    VerifiedCsr::parse(request.pem(key).as_bytes()).unwrap()
}

fn reason(request: &Request, key: &TestKey, wanted: &Wanted<'_>) -> RefusalReason {
    Profile::default()
        .admit(&csr(request, key), wanted)
        .unwrap_err()
        .reason()
}

#[test]
fn usages_are_the_requested_ones_that_the_key_can_have() {
    for key in TestKey::each_kind() {
        let csr = csr(&Request::new("leaf", key), key);
        let usages = words(&TLS);
        for wanted in [DEFAULT, wanting(&usages)] {
            let mut rules = Rules::default();
            rules.keys.ml_dsa = MlDsa::ALL.to_vec();
            let profile = Profile::new(rules, Limits::default()).unwrap();
            let admitted = profile.admit(&csr, &wanted).unwrap();
            let encipherment = admitted.key_usage().contains(KeyUsages::KeyEncipherment);
            assert_eq!(
                encipherment,
                matches!(key.algorithm(), KeyAlgorithm::Rsa { .. })
            );
            assert!(admitted.key_usage().contains(KeyUsages::DigitalSignature));
            let purposes = [ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH];
            let expected = if wanted.usages.is_empty() {
                &[][..]
            } else {
                &purposes
            };
            assert_eq!(admitted.extended_key_usage(), expected);
        }
    }
}

#[test]
fn each_request_outside_the_profile_is_refused_with_its_slug() {
    use RefusalReason::*;
    let key = TestKey::p256();
    let plain = || Request::new("leaf", &key);
    let ca = Wanted {
        is_ca: true,
        ..DEFAULT
    };
    let unknown = words(&["servers"]);
    let code = words(&["digital signature", "code signing"]);
    let sign = words(&["cert sign"]);
    let encipher = words(&["key encipherment"]);
    let many: Vec<(u8, &[u8])> = vec![(DNS, b"a.example"); 101];
    let directory = common_name("a");
    let other_name = [&oid_der(oid("1.2.3"))[..], &tlv(0xa0, &tlv(0x0c, b"a"))].concat();
    let mut odd_string = plain();
    odd_string.subject = name(&[&[("2.5.4.3", Tag::PrintableString, b"a@b")]]);
    let mut long = plain();
    long.subject = common_name(&"a".repeat(65));
    let table = [
        ("CA", plain(), ca, CaNotAllowed),
        (
            "an unknown usage",
            plain(),
            wanting(&unknown),
            UsageNotAllowed,
        ),
        ("code signing", plain(), wanting(&code), UsageNotAllowed),
        ("cert sign", plain(), wanting(&sign), UsageNotAllowed),
        (
            "encipherment alone with ECDSA",
            plain(),
            wanting(&encipher),
            UsageNotAllowed,
        ),
        ("no identity", Request::new("", &key), DEFAULT, NoIdentity),
        ("101 names", plain().names(&many), DEFAULT, TooManySans),
        (
            "a malformed DNS name",
            plain().names(&[(DNS, b"a_b")]),
            DEFAULT,
            BadSan,
        ),
        (
            "a directory name",
            plain().names(&[(0xa4, &directory)]),
            DEFAULT,
            SanNotAllowed,
        ),
        (
            "another name",
            plain().names(&[(0xa0, &other_name)]),
            DEFAULT,
            SanNotAllowed,
        ),
        (
            "a registered ID",
            plain().names(&[(0x88, &[0x2a, 3])]),
            DEFAULT,
            SanNotAllowed,
        ),
        (
            "an at sign in a PrintableString",
            odd_string,
            DEFAULT,
            BadString,
        ),
        ("a common name of 65 characters", long, DEFAULT, BadSubject),
        (
            "a duration of zero",
            plain(),
            lasting(SignedDuration::ZERO),
            DurationInvalid,
        ),
        (
            "a negative duration",
            plain(),
            lasting(SignedDuration::MIN),
            DurationInvalid,
        ),
        (
            "299 seconds",
            plain(),
            lasting(SignedDuration::from_secs(299)),
            DurationInvalid,
        ),
        (
            "a year and a second",
            plain(),
            lasting(SignedDuration::from_secs(8760 * 3600 + 1)),
            DurationTooLong,
        ),
        (
            "for ever",
            plain(),
            lasting(SignedDuration::MAX),
            DurationTooLong,
        ),
        (
            "name constraints",
            plain().extension(
                ID_CE_NAME_CONSTRAINTS,
                &name_constraints(&[(DNS, b"a.example")], &[]),
            ),
            DEFAULT,
            ExtensionNotAllowed,
        ),
    ];
    for (name, request, wanted, expected) in table {
        assert_eq!(reason(&request, &key, &wanted), expected, "{name}");
    }
}

#[test]
fn the_csr_must_ask_for_the_same_as_the_request() {
    use RefusalReason::{CsrRequestMismatch, UsageNotAllowed};
    let key = TestKey::p256();
    let tls = words(&TLS);
    let usage =
        |bits: &[u8]| Request::new("leaf", &key).extension(ID_CE_KEY_USAGE, &key_usage(bits));
    let extended = |oids: &[const_oid::ObjectIdentifier]| {
        Request::new("leaf", &key).extension(ID_CE_EXT_KEY_USAGE, &purposes(oids))
    };
    let basic = |content: &[u8]| {
        Request::new("leaf", &key).extension(ID_CE_BASIC_CONSTRAINTS, &tlv(0x30, content))
    };
    let admitted = [
        usage(&[0, 2]),
        extended(&[ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH]),
        // The order does not matter.
        extended(&[ID_KP_CLIENT_AUTH, ID_KP_SERVER_AUTH]),
        basic(&[]),
    ];
    for request in admitted {
        assert!(
            Profile::default()
                .admit(&csr(&request, &key), &wanting(&tls))
                .is_ok()
        );
    }
    let refused = [
        (usage(&[0]), CsrRequestMismatch),
        (usage(&[0, 2, 5]), CsrRequestMismatch),
        (extended(&[ID_KP_SERVER_AUTH]), CsrRequestMismatch),
        (extended(&[]), CsrRequestMismatch),
        (
            extended(&[
                ID_KP_SERVER_AUTH,
                ID_KP_CLIENT_AUTH,
                oid("1.3.6.1.5.5.7.3.3"),
            ]),
            CsrRequestMismatch,
        ),
        // cert-manager's own CA issuer copies such a purpose into the certificate.
        (
            extended(&[ID_KP_SERVER_AUTH, ID_KP_CLIENT_AUTH, oid("1.2.3.4")]),
            UsageNotAllowed,
        ),
        (basic(&[1, 1, 0xff]), CsrRequestMismatch),
    ];
    for (request, expected) in refused {
        assert_eq!(reason(&request, &key, &wanting(&tls)), expected);
    }
}

#[test]
fn durations_have_a_default_and_whole_seconds() {
    let key = TestKey::p256();
    let csr = csr(&Request::new("leaf", &key), &key);
    let profile = Profile::default();
    let duration = |wanted: &Wanted<'_>| profile.admit(&csr, wanted).unwrap().duration();
    assert_eq!(duration(&DEFAULT), SignedDuration::from_hours(90 * 24));
    assert_eq!(
        duration(&lasting(SignedDuration::from_millis(3_600_900))),
        SignedDuration::from_hours(1)
    );
}

#[test]
fn a_subject_alternative_name_is_enough_without_a_subject() {
    let key = TestKey::p256();
    for names in [
        (DNS, &b"*.a.example"[..]),
        (IP, &[10, 0, 0, 1]),
        (URI, b"spiffe://td/a"),
        (EMAIL, b"a@b.example"),
    ] {
        let csr = csr(&Request::new("", &key).names(&[names]), &key);
        assert!(Profile::default().admit(&csr, &DEFAULT).is_ok());
    }
}
