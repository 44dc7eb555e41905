//! A CA certificate that a grant's names and usages fence in, before the verifiers that must obey it: what is signed below
//! it by somebody else is refused outside of the fence and accepted inside.

mod tenant;
mod verifiers;

use pkcs11_issuer::issuance::{
    Limits,
    profile::{AllowedNames, CaLimits},
    usage::Usage,
};
use rcgen::ExtendedKeyUsagePurpose;

use self::{
    tenant::{Case, Fenced, named},
    verifiers::{NAMES, Purpose, verdicts},
};

const ALL: [bool; 3] = [true, true, true];
const NONE: [bool; 3] = [false, false, false];
/// webpki refuses every name of a type that it cannot compare and that is constrained.
const NOT_WEBPKI: [bool; 3] = [true, true, false];
/// Go and webpki take no name from a subject, so that there is nothing to be fenced.
const NOT_OPENSSL: [bool; 3] = [false, true, true];

const fn names(accepted: [bool; 3], names: &'static [(&'static str, &'static str)]) -> Case {
    Case {
        subject: &[("CN", "A person")],
        names,
        accepted,
    }
}

const fn subject(accepted: [bool; 3], subject: &'static [(&'static str, &'static str)]) -> Case {
    Case {
        subject,
        names: &[],
        accepted,
    }
}

fn below(names: AllowedNames) -> Limits {
    Limits {
        names: Some(names),
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    }
}

#[test]
fn openssl_go_and_webpki_hold_what_is_below_a_ca_to_the_names_of_the_grant() {
    let names_of_grant = AllowedNames::closed(
        vec![
            "*.payments.example".parse().unwrap(),
            "*.{{namespace}}.svc.cluster.local".parse().unwrap(),
            "exact.example".parse().unwrap(),
        ],
        vec![
            "10.1.0.0/16".parse().unwrap(),
            "2001:db8::/32".parse().unwrap(),
        ],
        vec!["spiffe://prod/*".parse().unwrap()],
        vec![
            "*@payments.example".parse().unwrap(),
            "ops@mail.example".parse().unwrap(),
        ],
    );
    Fenced::new(below(names_of_grant)).judges(&[
        names(ALL, &[]),
        names(ALL, &[("DNS", "a.payments.example")]),
        names(ALL, &[("DNS", "*.payments.example")]),
        names(ALL, &[("DNS", "A.PAYMENTS.EXAMPLE")]),
        names(ALL, &[("DNS", "a.payments.svc.cluster.local")]),
        // The apex is in the subtree, as docs/tenants.md says.
        names(ALL, &[("DNS", "payments.example")]),
        names(ALL, &[("DNS", "exact.example")]),
        names(NONE, &[("DNS", "below.exact.example")]),
        names(NONE, &[("DNS", "a.bank.example")]),
        names(NONE, &[("DNS", "notpayments.example")]),
        names(NONE, &[("DNS", "a.orders.svc.cluster.local")]),
        names(
            NONE,
            &[("DNS", "a.payments.example"), ("DNS", "bank.example")],
        ),
        names(ALL, &[("IP", "10.1.2.3")]),
        names(ALL, &[("IP", "2001:db8::1")]),
        names(NONE, &[("IP", "10.2.0.1")]),
        names(NONE, &[("IP", "2001:db9::1")]),
        names(NONE, &[("IP", "::ffff:10.1.2.3")]),
        names(NOT_WEBPKI, &[("URI", "spiffe://prod/ns/payments")]),
        // Verifiers look at the host alone.
        names(NOT_WEBPKI, &[("URI", "https://prod/")]),
        names(NONE, &[("URI", "spiffe://dev/ns/payments")]),
        names(NONE, &[("URI", "spiffe://a.prod/ns/payments")]),
        names(NOT_WEBPKI, &[("email", "a@payments.example")]),
        names(NOT_WEBPKI, &[("email", "ops@mail.example")]),
        names(NONE, &[("email", "ceo@mail.example")]),
        names(NONE, &[("email", "ceo@bank.example")]),
        names(NONE, &[("email", "ceo@a.payments.example")]),
        // Not constrained, for no verifier would know how.
        names(ALL, &[("principal", "ceo@bank.example")]),
        subject(ALL, &[("CN", "a.payments.example")]),
        subject(NOT_OPENSSL, &[("CN", "www.bank.example")]),
        subject(ALL, &[("email", "a@payments.example")]),
        subject(
            NOT_OPENSSL,
            &[("CN", "A person"), ("email", "ceo@bank.example")],
        ),
    ]);
}

#[test]
fn below_a_ca_of_a_grant_without_names_every_name_that_can_be_constrained_is_refused() {
    let none = AllowedNames::closed(Vec::new(), Vec::new(), Vec::new(), Vec::new());
    Fenced::new(below(none)).judges(&[
        names(ALL, &[]),
        names(NONE, &[("DNS", "a.example")]),
        names(NONE, &[("DNS", "localhost")]),
        names(NONE, &[("IP", "10.1.2.3")]),
        names(NONE, &[("IP", "::1")]),
        names(NONE, &[("URI", "spiffe://prod/ns/payments")]),
        names(NONE, &[("URI", "https://a.example/")]),
        names(NONE, &[("email", "a@payments.example")]),
        subject(NOT_OPENSSL, &[("CN", "www.bank.example")]),
        subject(NOT_OPENSSL, &[("email", "ceo@bank.example")]),
    ]);
}

#[test]
fn addresses_of_the_family_that_a_grant_does_not_list_are_refused_too() {
    let addresses = |network: &str| {
        let networks = vec![network.parse().unwrap()];
        below(AllowedNames::closed(
            Vec::new(),
            networks,
            Vec::new(),
            Vec::new(),
        ))
    };
    Fenced::new(addresses("10.1.0.0/16")).judges(&[
        names(ALL, &[("IP", "10.1.2.3")]),
        names(NONE, &[("IP", "2001:db8::1")]),
        names(NONE, &[("IP", "::ffff:10.1.2.3")]),
    ]);
    Fenced::new(addresses("2001:db8::/32")).judges(&[
        names(ALL, &[("IP", "2001:db8::1")]),
        names(NONE, &[("IP", "10.1.2.3")]),
    ]);
}

#[test]
fn below_a_ca_of_a_grant_for_servers_nothing_is_good_for_clients() {
    let limits = Limits {
        usages: Some(
            ["digital signature", "server auth"]
                .map(|word| Usage::parse(word).unwrap())
                .to_vec(),
        ),
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    let fenced = Fenced::new(limits);
    let mut params = named(&[("CN", "A server")]);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    fenced.leaf("both", params);
    for (purpose, accepted) in [(Purpose::Server, true), (Purpose::Client, false)] {
        for (verifier, verdict) in NAMES
            .iter()
            .zip(&verdicts(fenced.folder(), purpose)["both"])
        {
            assert_eq!(verdict.is_ok(), accepted, "{verifier}: {verdict:?}");
        }
    }
}
