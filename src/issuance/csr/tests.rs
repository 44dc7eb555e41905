//! Tests hostile and malformed requests, each with its slug.

use const_oid::db::{
    rfc5280::{ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME},
    rfc5912::{ECDSA_WITH_SHA_256, ID_SHA_256, SHA_1_WITH_RSA_ENCRYPTION},
};
use proptest::prelude::*;

use super::{attributes::MAX_EXTENSIONS, *};
use crate::issuance::{
    scheme::{Hash, SignatureScheme},
    testing::*,
};

const CHALLENGE_PASSWORD: &str = "1.2.840.113549.1.9.7";
/// Microsoft's extension request, and its pairs of name and value.
const MICROSOFT: &str = "1.3.6.1.4.1.311.2.1.14";
const PAIR: &str = "1.3.6.1.4.1.311.13.2.1";

/// Encodes a pair of BMPStrings.
fn pair(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| {
        let octets: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
        tlv(0x1e, &octets)
    };
    sequence(&[&text(name), &text(value)])
}

fn reason(pem: &str) -> RefusalReason {
    VerifiedCsr::parse(pem.as_bytes()).unwrap_err().reason()
}

fn wrap(der: &[u8]) -> String {
    pem::encode("CERTIFICATE REQUEST", der)
}

/// Wraps a CertificationRequestInfo into a PEM request with this signature, valid or not.
fn around(info: &[u8], algorithm: &[u8], signature: &[u8]) -> String {
    wrap(&sequence(&[info, algorithm, &bit_string(signature)]))
}

#[test]
fn every_scheme_proves_possession() {
    let rsa = [SignatureScheme::RsaPkcs1, SignatureScheme::RsaPss]
        .into_iter()
        .flat_map(|scheme| Hash::ALL.map(scheme))
        .map(|scheme| (TestKey::rsa(), scheme));
    let others = TestKey::each_kind().map(|key| (key, key.scheme()));
    for (key, scheme) in rsa.chain(others) {
        let mut request = Request::new("leaf", key).names(&[(DNS, b"a.example")]);
        request.scheme = scheme;
        let csr = VerifiedCsr::parse(request.pem(key).as_bytes()).unwrap();
        assert_eq!(csr.subject().der(), request.subject, "{scheme:?}");
        assert_eq!(csr.public_key().spki_der(), key.spki());
        assert_eq!(
            csr.subject_alt_names().unwrap().der(),
            san(&[(DNS, b"a.example")])
        );
    }
}

#[test]
fn each_malformed_text_is_refused_under_its_slug() {
    let key = TestKey::p256();
    let good = Request::new("leaf", &key).pem(&key);
    let table = [
        (String::new(), RefusalReason::BadPem),
        (
            good.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
            RefusalReason::BadPem,
        ),
        (format!("{good}junk"), RefusalReason::BadPem),
        (good.repeat(2), RefusalReason::MultiplePemBlocks),
        (
            format!("{}{good}", " ".repeat(MAX_PEM)),
            RefusalReason::TooLarge,
        ),
        (wrap(&[]), RefusalReason::BadDer),
        (
            wrap(&[&Request::new("leaf", &key).der(&key)[..], &[5, 0]].concat()),
            RefusalReason::BadDer,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(reason(&text), expected, "{text}");
    }
    let older = good.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST");
    assert!(VerifiedCsr::parse(older.as_bytes()).is_ok());
}

#[test]
fn each_malformed_request_is_refused_under_its_slug() {
    let key = TestKey::p256();
    let request = || Request::new("leaf", &key);
    let mut second_version = request();
    second_version.version = vec![1];
    let mut no_name = request();
    no_name.subject = vec![0x30, 2, 5, 0];
    let usage = key_usage(&[0]);
    let asking = |bits: &[u8]| sequence(&[&extension(ID_CE_KEY_USAGE, false, &key_usage(bits))]);
    let table = [
        ("version 1", second_version, RefusalReason::BadCsrVersion),
        ("subject of a NULL", no_name, RefusalReason::BadDer),
        (
            "two passwords",
            request()
                .attribute(CHALLENGE_PASSWORD, &[&tlv(0x0c, b"a")])
                .attribute(CHALLENGE_PASSWORD, &[&tlv(0x0c, b"b")]),
            RefusalReason::DuplicateAttribute,
        ),
        (
            "an extension request without a value",
            request().attribute("1.2.840.113549.1.9.14", &[]),
            RefusalReason::BadDer,
        ),
        (
            "an extension twice",
            request()
                .extension(ID_CE_KEY_USAGE, &usage)
                .extension(ID_CE_KEY_USAGE, &usage),
            RefusalReason::DuplicateExtension,
        ),
        (
            "an extension in two requests with different values",
            request()
                .attribute("1.2.840.113549.1.9.14", &[&asking(&[2])])
                .extension(ID_CE_KEY_USAGE, &usage),
            RefusalReason::DuplicateExtension,
        ),
        (
            "Microsoft's extension request without a value",
            request().attribute(MICROSOFT, &[]),
            RefusalReason::BadDer,
        ),
        (
            "Microsoft's extension request of something else",
            request().attribute(MICROSOFT, &[&[5, 0]]),
            RefusalReason::BadDer,
        ),
        (
            "a template for Microsoft's CA",
            request().attribute(PAIR, &[&pair("CertificateTemplate", "WebServer")]),
            RefusalReason::ExtensionNotAllowed,
        ),
        (
            "names for Microsoft's CA, in the second of two attributes",
            request()
                .attribute(PAIR, &[&pair("rmd", "laptop.corp.example")])
                .attribute(PAIR, &[&pair("SAN", "dns=www.bank.example")]),
            RefusalReason::ExtensionNotAllowed,
        ),
        (
            "a pair of three values",
            request().attribute(PAIR, &[&sequence(&[&[5, 0], &[5, 0], &[5, 0]])]),
            RefusalReason::BadDer,
        ),
        (
            "keyUsage that is no BIT STRING",
            request().extension(ID_CE_KEY_USAGE, &[5, 0]),
            RefusalReason::BadDer,
        ),
        (
            "basicConstraints with BOOLEAN 01",
            request().extension(ID_CE_BASIC_CONSTRAINTS, &sequence(&[&[1, 1, 1]])),
            RefusalReason::BadDer,
        ),
        (
            "SAN of no names",
            request().names(&[]),
            RefusalReason::BadSan,
        ),
        (
            "IP of five octets",
            request().names(&[(IP, &[1, 2, 3, 4, 5])]),
            RefusalReason::BadSan,
        ),
    ];
    for (name, request, expected) in table {
        assert_eq!(reason(&request.pem(&key)), expected, "{name}");
    }
}

#[test]
fn extension_requests_of_every_form_ask_for_all_of_their_extensions() {
    let key = TestKey::p256();
    let names = extension(ID_CE_SUBJECT_ALT_NAME, false, &san(&[(DNS, b"a.example")]));
    let usage = extension(ID_CE_KEY_USAGE, false, &key_usage(&[0]));
    let (first, second) = (sequence(&[&names]), sequence(&[&usage]));
    let both = sequence(&[&names, &usage]);
    let standard = "1.2.840.113549.1.9.14";
    let request = || Request::new("leaf", &key);
    let expected = {
        let request = request().attribute(standard, &[&both]);
        VerifiedCsr::parse(request.pem(&key).as_bytes()).unwrap()
    };
    assert_eq!(expected.subject_alt_names().unwrap().names().len(), 1);
    assert!(expected.asked().key_usage.is_some());
    for (what, request) in [
        (
            "Microsoft's alone",
            request().attribute(MICROSOFT, &[&both]),
        ),
        (
            "two values",
            request().attribute(standard, &[&first, &second]),
        ),
        (
            "two of Microsoft's",
            request()
                .attribute(MICROSOFT, &[&first])
                .attribute(MICROSOFT, &[&second]),
        ),
        (
            "two",
            request()
                .attribute(standard, &[&first])
                .attribute(standard, &[&second]),
        ),
        (
            "one of each",
            request()
                .attribute(standard, &[&first])
                .attribute(MICROSOFT, &[&second]),
        ),
        (
            "both in both",
            request()
                .attribute(MICROSOFT, &[&both])
                .attribute(standard, &[&both]),
        ),
        (
            "an empty one and one of Microsoft's",
            request()
                .attribute(standard, &[&sequence(&[])])
                .attribute(MICROSOFT, &[&both]),
        ),
        // As certreq writes them: OS version, client information, name of the cryptographic provider.
        (
            "attributes that inform",
            request()
                .attribute("1.3.6.1.4.1.311.13.2.3", &[&tlv(0x16, b"10.0.26100.2")])
                .attribute("1.3.6.1.4.1.311.21.20", &[&sequence(&[&integer(&[5])])])
                .attribute("1.3.6.1.4.1.311.13.2.2", &[&sequence(&[&integer(&[1])])])
                .attribute(
                    PAIR,
                    &[&pair("CCM", "laptop"), &pair("cdc", "dc1.corp.example")],
                )
                .attribute(standard, &[&both]),
        ),
    ] {
        let csr = VerifiedCsr::parse(request.pem(&key).as_bytes()).unwrap();
        assert_eq!(csr.asked(), expected.asked(), "{what}");
    }
}

#[test]
fn the_refusal_of_an_attribute_for_microsofts_ca_says_what_it_asks_for() {
    let key = TestKey::p256();
    let request = Request::new("leaf", &key).attribute(PAIR, &[&pair("SAN", "dns=a.example")]);
    let refusal = VerifiedCsr::parse(request.pem(&key).as_bytes()).unwrap_err();
    let text = refusal.to_string();
    assert!(
        text.contains(r#""SAN" with the value "dns=a.example""#),
        "{text}"
    );
}

/// Returns short OIDs that are all different.
fn distinct_oids(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("1.2.{}.{}", number / 128, number % 128))
}

/// A CSR can hold so many attributes that comparing each with every other would take ten million comparisons.
#[test]
fn a_csr_may_fill_its_text_with_attributes_but_the_number_of_extensions_is_limited() {
    let key = TestKey::each_kind()[1];
    let mut request = Request::new("leaf", key);
    for oid in distinct_oids(4_500) {
        request = request.attribute(&oid, &[]);
    }
    let text = request.pem(key);
    assert!(
        text.len() > MAX_PEM * 3 / 4 && text.len() <= MAX_PEM,
        "{}",
        text.len()
    );
    assert!(VerifiedCsr::parse(text.as_bytes()).is_ok());
    let again = request.attribute("1.2.0.0", &[]).pem(key);
    assert_eq!(reason(&again), RefusalReason::DuplicateAttribute);

    let asking = |count| {
        let request = Request::new("leaf", key);
        distinct_oids(count).fold(request, |request, kind| request.extension(oid(&kind), b""))
    };
    let most = VerifiedCsr::parse(asking(MAX_EXTENSIONS).pem(key).as_bytes()).unwrap();
    assert_eq!(most.asked().others.len(), MAX_EXTENSIONS);
    for count in [MAX_EXTENSIONS + 1, 3_000] {
        assert_eq!(reason(&asking(count).pem(key)), RefusalReason::TooLarge);
    }
}

#[test]
fn unsorted_attributes_are_verified_over_the_bytes_that_were_signed() {
    let key = TestKey::p256();
    // DER sorts a SET OF. A decoder that sorts and encodes again would report a bad signature.
    let request = Request::new("leaf", &key)
        .attribute(CHALLENGE_PASSWORD, &[&tlv(0x0c, b"zzzz")])
        .attribute("1.2.3", &[&tlv(0x0c, b"a")]);
    assert!(VerifiedCsr::parse(request.pem(&key).as_bytes()).is_ok());
}

#[test]
fn unknown_extensions_are_kept_apart() {
    let key = TestKey::p256();
    let request = Request::new("leaf", &key).extension(oid("1.2.3.4"), &[5, 0]);
    let csr = VerifiedCsr::parse(request.pem(&key).as_bytes()).unwrap();
    let RequestedExtensions { others, .. } = csr.asked();
    assert_eq!(others.len(), 1);
    assert_eq!(others[0].extn_id, oid("1.2.3.4"));
    let others = others.clone();
    assert_eq!(
        csr.asked(),
        &RequestedExtensions {
            others,
            ..RequestedExtensions::default()
        }
    );
}

#[test]
fn each_invalid_signature_is_refused_under_its_slug() {
    let key = TestKey::p256();
    let rsa = TestKey::rsa();
    let info = Request::new("leaf", &key).info();
    let signature = key.sign(key.scheme(), &info);
    let identifier = |kind, parameters: &[u8]| sequence(&[&oid_der(kind), parameters]);
    let plain = identifier(ECDSA_WITH_SHA_256, &[]);
    let mut damaged = signature.clone();
    *damaged.last_mut().unwrap() ^= 1;
    let table = [
        (around(&info, &plain, &damaged), RefusalReason::BadSignature),
        (around(&info, &plain, &[]), RefusalReason::BadSignature),
        (
            around(&Request::new("other", &key).info(), &plain, &signature),
            RefusalReason::BadSignature,
        ),
        (
            around(&Request::new("leaf", rsa).info(), &plain, &signature),
            RefusalReason::BadSignature,
        ),
        (
            around(
                &info,
                &identifier(SHA_1_WITH_RSA_ENCRYPTION, &[5, 0]),
                &signature,
            ),
            RefusalReason::WeakSignatureAlgorithm,
        ),
        (
            around(
                &info,
                &identifier(oid("1.2.840.10045.4.1"), &[]),
                &signature,
            ),
            RefusalReason::WeakSignatureAlgorithm,
        ),
        (
            around(&info, &identifier(ECDSA_WITH_SHA_256, &[5, 0]), &signature),
            RefusalReason::UnsupportedSignatureAlgorithm,
        ),
        (
            around(&info, &identifier(ID_SHA_256, &[]), &signature),
            RefusalReason::UnsupportedSignatureAlgorithm,
        ),
        // id-alg-unsigned (RFC 9925).
        (
            around(&info, &identifier(oid("1.3.6.1.5.5.7.6.36"), &[]), &[]),
            RefusalReason::UnsupportedSignatureAlgorithm,
        ),
        (
            around(&info, &sequence(&[]), &signature),
            RefusalReason::BadDer,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(reason(&text), expected, "{text}");
    }
}

#[test]
fn a_weak_key_is_refused_before_its_signature_is_checked() {
    let key = TestKey::p256();
    let mut request = Request::new("leaf", &key);
    let short = rsa_public_key(&[0xff; 128], &[1, 0, 1]);
    request.spki = spki(
        const_oid::db::rfc5912::RSA_ENCRYPTION,
        Some(vec![5, 0]),
        &short,
    );
    assert_eq!(reason(&request.pem(&key)), RefusalReason::WeakKey);
}

#[test]
fn a_small_order_key_is_refused_although_its_signature_would_verify() {
    // The neutral element as key and as R, and S = 0, satisfy the equation for every message.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let key = TestKey::p256();
    let mut request = Request::new("leaf", &key);
    request.spki = spki(const_oid::db::rfc8410::ID_ED_25519, None, &neutral);
    let forged = [neutral, [0; 32]].concat();
    let algorithm = SignatureScheme::Ed25519.to_der().unwrap();
    assert_eq!(
        reason(&around(&request.info(), &algorithm, &forged)),
        RefusalReason::WeakKey
    );
}

proptest! {
    #[test]
    fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(VerifiedCsr::parse(&octets).is_err());
        prop_assert!(VerifiedCsr::parse(wrap(&octets).as_bytes()).is_err());
    }

    #[test]
    fn a_request_with_octets_changed_is_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..4),
    ) {
        let key = TestKey::each_kind()[1];
        let good = Request::new("leaf", key).names(&[(DNS, b"a.example")]).der(key);
        let mut der = good.clone();
        for (index, change) in changes {
            *index.get_mut(&mut der) ^= change;
        }
        // Changes may cancel each other out.
        prop_assert_eq!(VerifiedCsr::parse(wrap(&der).as_bytes()).is_ok(), der == good);
    }
}
