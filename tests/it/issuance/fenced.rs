//! Tests a CA certificate that is fenced by the names and usages of a grant, with verifiers that must enforce the fence:
//! they refuse certificates below it that are outside the fence and accept those inside.

mod tenant;
mod verifiers;

use pkcs11_issuer::issuance::{
    Limits,
    profile::{AllowedNames, CaLimits, Constraint},
    usage::Usage,
};
use rcgen::ExtendedKeyUsagePurpose;

use super::san;

use self::{
    tenant::{Case, Fenced, named},
    verifiers::{NAMES, Purpose, verdicts},
};

const ALL: [bool; 3] = [true, true, true];
const NONE: [bool; 3] = [false, false, false];
/// Accepted except by webpki, which refuses every constrained name of a type that it cannot compare.
const NOT_WEBPKI: [bool; 3] = [true, true, false];
/// Accepted except by OpenSSL. Go and webpki take no name from a subject, so they have nothing to check.
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
fn openssl_go_and_webpki_enforce_the_names_of_the_grant_below_a_ca() {
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
        // Verifiers compare only the host.
        names(NOT_WEBPKI, &[("URI", "https://prod/")]),
        names(NONE, &[("URI", "spiffe://dev/ns/payments")]),
        names(NONE, &[("URI", "spiffe://a.prod/ns/payments")]),
        names(NOT_WEBPKI, &[("email", "a@payments.example")]),
        names(NOT_WEBPKI, &[("email", "ops@mail.example")]),
        names(NONE, &[("email", "ceo@mail.example")]),
        names(NONE, &[("email", "ceo@bank.example")]),
        names(NONE, &[("email", "ceo@a.payments.example")]),
        // Not constrained, because no verifier could check it.
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
fn every_constrainable_name_is_refused_below_a_ca_whose_grant_has_no_names() {
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

/// Addresses in which 10.1.2.3 is embedded (RFC 4291, 6052, 3056, 2765). If any verifier treats an address as 10.1.2.3, so
/// must the program; other addresses need no such rule.
#[test]
fn of_all_embeddings_only_the_mapped_one_is_taken_for_the_ipv4_address_and_only_by_go() {
    let any = || Limits {
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    let excluded = vec![Constraint::Ip("10.0.0.0/8".parse().unwrap())];
    let (free, fenced) = (Fenced::new(any()), Fenced::excluding(excluded, any()));
    let embeddings = [
        // The address, whether each verifier takes it for 10.1.2.3, whether each refuses it below a CA that excludes 10/8.
        ("10.1.2.3", ALL, ALL),
        ("::ffff:10.1.2.3", [false, true, false], NONE),
        ("::10.1.2.3", NONE, NONE),
        ("64:ff9b::10.1.2.3", NONE, NONE),
        ("2002:a01:203::", NONE, NONE),
        ("::ffff:0:10.1.2.3", NONE, NONE),
    ];
    for ca in [&free, &fenced] {
        for (number, (address, ..)) in embeddings.iter().enumerate() {
            let mut params = named(&[("CN", "A person")]);
            params.subject_alt_names = vec![san::san(&("IP", address))];
            ca.leaf(&number.to_string(), params);
        }
    }
    let named = verdicts(free.folder(), Purpose::Address);
    let below = verdicts(fenced.folder(), Purpose::Any);
    for (number, (address, taken, refused)) in embeddings.iter().enumerate() {
        let (named, below) = (&named[&number.to_string()], &below[&number.to_string()]);
        assert_eq!(
            named.each_ref().map(Result::is_ok),
            *taken,
            "{address}: {named:?}"
        );
        assert_eq!(
            below.each_ref().map(Result::is_err),
            *refused,
            "{address}: {below:?}"
        );
    }
}

#[test]
fn no_client_certificate_is_valid_below_a_ca_whose_grant_is_for_servers() {
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
