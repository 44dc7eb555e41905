//! Checks the pipeline of a certification request: decode, admit, prepare, seal.
//!
//! A fuzzer cannot sign, and an unsigned request does not get past the proof of possession. So most inputs are the contents
//! of a request, which are signed here. The first octet of an input says which kind it is:
//!
//! | octet | the rest |
//! |---|---|
//! | 0 | a text |
//! | 1 | a CertificationRequestInfo, DER |
//! | others | two octets of coins for profile and request; subject, names; then further extensions |

use std::sync::Arc;

use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::{
            ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
            ID_KP_SERVER_AUTH,
        },
        rfc5912::ID_EXTENSION_REQ,
    },
};
use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use pkcs11_issuer::issuance::{
    Fault, IssuedCertificate, Issuer, Limits, PrepareError, PreparedCertificate, Profile, Rules,
    Serial, VerifiedCsr, Wanted,
    pattern::{Template, Variables},
    pem,
    profile::{BeyondCa, CaLimits, Constraint, Incompatible, Policy, SubjectMode},
    san::DnsSyntax,
    usage::Usage,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::{
    as_piece,
    authority::{CHAIN, ISSUER, SUBJECT},
    contains,
    der::{DIRECTORY, DNS, EMAIL, IP, OTHER, URI, extension, names, oid, rdns, sequence, tlv},
    piece,
};

const WORDS: [&str; 6] = [
    "digital signature",
    "key encipherment",
    "server auth",
    "client auth",
    "cert sign",
    "any",
];

/// An extension that the profiles here copy: the TLS feature of RFC 7633.
const COPIED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.1.24");
/// A type of otherName that the profiles here allow: the user principal name.
const PRINCIPAL: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.311.20.2.3");

/// Checks that any input is either refused as a fault of the request, or gives a certificate that passes every lint and
/// takes its identity from octets of the request. Returns whether a certificate was issued.
///
/// # Panics
///
/// One of these does not hold.
pub fn check(input: &[u8]) -> bool {
    let Some((kind, mut rest)) = input.split_first() else {
        return false;
    };
    match kind {
        0 => pipeline(rest, [0, 0], rest),
        1 => {
            let der = SUBJECT.sign_der(rest);
            pipeline(
                pem::encode("CERTIFICATE REQUEST", &der).as_bytes(),
                [0, 0],
                &der,
            )
        }
        _ => {
            let coins = [0, 1].map(|index| rest.get(index).copied().unwrap_or_default());
            rest = rest.get(2..).unwrap_or_default();
            let der = request(&mut rest);
            pipeline(
                pem::encode("CERTIFICATE REQUEST", &der).as_bytes(),
                coins,
                &der,
            )
        }
    }
}

/// Returns a request with a subject and names from two pieces, and the rest as further extensions.
fn request(rest: &mut &[u8]) -> Vec<u8> {
    let subject = tlv(0x30, piece(rest));
    let mut extensions = Vec::new();
    let alternative = piece(rest);
    if !alternative.is_empty() {
        let value = tlv(0x30, alternative);
        extensions = extension(ID_CE_SUBJECT_ALT_NAME, false, &value);
    }
    extensions.extend_from_slice(rest);
    let mut attributes = Vec::new();
    if !extensions.is_empty() {
        let values = tlv(0x31, &tlv(0x30, &extensions));
        attributes = sequence(&[&oid(ID_EXTENSION_REQ), &values]);
    }
    SUBJECT.sign_der(&info(&subject, &attributes))
}

fn info(subject: &[u8], attributes: &[u8]) -> Vec<u8> {
    sequence(&[&[2, 1, 0], subject, &SUBJECT.spki, &tlv(0xa0, attributes)])
}

fn pipeline(text: &[u8], coins: [u8; 2], octets: &[u8]) -> bool {
    let Ok(csr) = VerifiedCsr::parse(text) else {
        return false;
    };
    let [profile, wanted] = coins;
    let usages: Vec<String> = (0..)
        .zip(WORDS)
        .filter(|(bit, _)| wanted >> bit & 1 == 1)
        .map(|(_, word)| word.to_owned())
        .collect();
    let wanted = Wanted {
        variables: Variables {
            namespace: Some("shop"),
            name: "web",
        },
        usages: &usages,
        is_ca: wanted >> 7 == 1,
        by_annotation: false,
        duration: (wanted >> 6 & 1 == 1).then(|| SignedDuration::from_hours(8_000)),
    };
    let profile = Profile::new(
        rules(profile),
        Limits {
            ca: CaLimits {
                allow: true,
                max_path_length: None,
            },
            ..Limits::default()
        },
    )
    .expect("all coins give a valid profile");
    let issuer = Arc::new(Issuer::new(CHAIN.clone(), profile, None).expect("Auto always fits"));
    let Ok(params) = issuer.profile().admit(&csr, &wanted) else {
        return false;
    };
    // 2049-06-01T00:00:00Z: one duration ends before the issuer's certificate and before 2050, one after both.
    let now = Timestamp::from_second(2_506_204_800).expect("a time");
    let prepared = match PreparedCertificate::prepare(
        &params,
        &issuer,
        now,
        Serial::from_random([0x5a; 16]),
    ) {
        Ok(prepared) => prepared,
        Err(PrepareError::Refused(refusal)) => {
            assert_eq!(refusal.fault(), Fault::Request, "{refusal}");
            return false;
        }
        Err(bug) => panic!(
            "{bug}: {}",
            std::error::Error::source(&bug)
                .map(ToString::to_string)
                .unwrap_or_default()
        ),
    };
    let issued = block_on(prepared.issue(&*ISSUER)).expect("a prepared certificate can be sealed");
    compare(&issued, &csr, octets);
    true
}

/// Checks that the identity of a certificate consists of octets of its request, and of the input if that is DER.
fn compare(issued: &IssuedCertificate, csr: &VerifiedCsr, octets: &[u8]) {
    let (rest, certificate) = X509Certificate::from_der(issued.der()).expect("a certificate");
    assert!(rest.is_empty());
    assert_eq!(certificate.public_key().raw, csr.public_key().spki_der());
    if let Some(names) = csr.subject_alt_names() {
        assert!(contains(issued.der(), names.der()), "the names");
    }
    // A text has the octets in base64.
    if octets.first() != Some(&0x30) {
        return;
    }
    assert!(contains(octets, certificate.public_key().raw), "the key");
    assert!(contains(octets, csr.subject().der()), "the subject");
    assert!(
        csr.subject_alt_names()
            .is_none_or(|names| contains(octets, names.der()))
    );
}

/// Returns a profile chosen by eight coins.
fn rules(coins: u8) -> Rules {
    let [
        strict,
        fixed,
        omit,
        ca,
        published,
        never_revoked,
        spiffe,
        clamp,
    ] = [0, 1, 2, 3, 4, 5, 6, 7].map(|bit| coins >> bit & 1 == 1);
    let mut rules = Rules::default();
    rules.usages.allowed = WORDS.into_iter().filter_map(Usage::parse).collect();
    rules.usages.extra = vec![PRINCIPAL.into()];
    rules.extensions.from_csr = vec![COPIED.into()];
    rules.extensions.no_rev_avail = never_revoked;
    if strict {
        rules.usages.incompatible = Incompatible::Reject;
    } else {
        rules.names.dns_syntax = DnsSyntax::Underscore;
        rules.names.allowed.other_names = vec![PRINCIPAL.into()];
    }
    if omit {
        rules.subject.mode = SubjectMode::Omit;
    } else if fixed {
        let unit = Template::parse("{{namespace}}").expect("a template");
        rules.subject.mode = SubjectMode::Fixed(vec![(
            ObjectIdentifier::new_unwrap("2.5.4.11").into(),
            unit,
        )]);
    }
    rules.names.spiffe = spiffe && !ca;
    if ca {
        rules.ca.allow = true;
        rules.ca.constraints.permitted =
            vec![Constraint::Dns("a.example".parse().expect("a name"))];
    }
    if published && !never_revoked {
        let url = || "http://a.example/a".parse().expect("a URL");
        rules.extensions.policies = vec![Policy {
            oid: COPIED.into(),
            cps: Some(url()),
        }];
        rules.extensions.ca_issuers = vec![url()];
        rules.extensions.crl = vec![url()];
    }
    if clamp {
        rules.validity.beyond_ca = BeyondCa::Clamp {
            min_remaining: SignedDuration::from_secs(1),
        };
    }
    rules
}

/// Returns requests of every kind that gives a certificate, and some that do not.
///
/// # Panics
///
/// Too few seeds give a certificate, so the fuzzer would not start deep in the pipeline.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let subject = rdns(&[("2.5.4.10", "Shop"), ("2.5.4.3", "web")]);
    let principal = [oid(PRINCIPAL), tlv(0xa0, &tlv(0x0c, b"web@shop"))].concat();
    let directory = tlv(0x30, &subject);
    let every = names(&[
        (DNS, b"*.a.example"),
        (DNS, b"a_b.example"),
        (IP, &[10, 0, 0, 1]),
        (IP, &[0; 16]),
        (URI, b"https://a.example:8443/b?c#d"),
        (EMAIL, b"a@b.example"),
        (OTHER, &principal),
    ]);
    let svid = names(&[(URI, b"spiffe://td/ns/shop/sa/web")]);
    let authority = extension(
        ID_CE_BASIC_CONSTRAINTS,
        true,
        &sequence(&[&[1, 1, 0xff], &[2, 1, 0]]),
    );
    let purposes = [
        extension(ID_CE_KEY_USAGE, true, &[3, 2, 7, 0x80]),
        extension(
            ID_CE_EXT_KEY_USAGE,
            false,
            &sequence(&[&oid(ID_KP_SERVER_AUTH), &oid(PRINCIPAL)]),
        ),
        extension(COPIED, false, &sequence(&[&[2, 1, 5]])),
    ]
    .concat();
    let of = |profile: u8, wanted: u8, subject: &[u8], names: &[u8], others: &[u8]| {
        [
            &[2, profile, wanted],
            &*as_piece(subject),
            &*as_piece(names),
            others,
        ]
        .concat()
    };
    let mut seeds = vec![
        of(0, 0, &subject, &[], &[]),
        of(0, 0b0000_1101, &subject, &every, &[]),
        of(0, 0b0000_0101, &subject, &every, &purposes),
        of(0b0000_0010, 1, &subject, &svid, &[]),
        of(0b0000_0100, 1, &subject, &svid, &[]),
        of(0b0001_0000, 1, &[], &every, &[]),
        of(0b0010_0000, 1, &subject, &every, &[]),
        of(0b0100_0000, 1, &[], &svid, &[]),
        of(0b1000_0000, 0b0100_0001, &subject, &every, &[]),
        of(0b0000_1000, 0b1001_0001, &subject, &[], &authority),
        of(0b1001_1000, 0b1101_0001, &subject, &[], &authority),
    ];
    let issued = seeds.iter().filter(|seed| check(seed)).count();
    assert_eq!(
        issued,
        seeds.len(),
        "every valid seed must give a certificate"
    );
    seeds.push(of(1, 0, &subject, &names(&[(DIRECTORY, &directory)]), &[]));
    seeds.push(of(0, 0x80, &subject, &every, &authority));
    let plain = info(&tlv(0x30, &subject), &[]);
    seeds.push([&[1], plain.as_slice()].concat());
    let text = pem::encode("CERTIFICATE REQUEST", &SUBJECT.sign_der(&plain));
    seeds.push([&[0], text.as_bytes()].concat());
    seeds
}
