//! Hostile and odd requests, run through the pipeline up to the bytes to be signed. Each has its slug, or octets that
//! the certificate must carry.

mod extensions;
mod keys;
mod names;
mod signatures;
mod subjects;
mod texts;

use const_oid::{ObjectIdentifier, db::rfc5280::*};
use der::Tag;

use super::*;

/// Expected result of a request: octets of its certificate, or its slug.
type Expected = Result<Vec<u8>, &'static str>;

#[derive(Default)]
struct Corpus {
    rows: Vec<(String, String, Expected)>,
}

impl Corpus {
    fn add(&mut self, name: impl Into<String>, pem: String, expected: Expected) {
        self.rows.push((name.into(), pem, expected));
    }

    fn refused(&mut self, name: impl Into<String>, pem: String, slug: &'static str) {
        self.add(name, pem, Err(slug));
    }
}

/// Identifiers with arcs of 2^32 and more, as UUIDs give them, and with a second arc above 47.
const LARGE: [&str; 5] = [
    "2.25.329800735698586629295641978511506172918",
    "2.999.1",
    "1.3.6.1.4.1.32473.4294967296",
    "1.3.6.1.4.1.32473.340282366920938463463374607431768211456",
    // 71 octets.
    "1.3.6.1.4.1.32473.18446744073709551615.18446744073709551615.18446744073709551615.18446744073709551615.18446744073709551615.18446744073709551615.1",
];

fn key() -> &'static TestKey {
    TestKey::each_kind()[1]
}

fn plain() -> Request {
    Request::new("leaf", key())
}

fn wrap(der: &[u8]) -> String {
    pem::encode("CERTIFICATE REQUEST", der)
}

/// Runs the pipeline up to the bytes to be signed, with the default profile, which here also allows ML-DSA keys.
fn run(text: &str) -> Result<Vec<u8>, &'static str> {
    let slug = |refusal: Refusal| refusal.reason().as_str();
    let issuer = issuer(fixture());
    let csr = VerifiedCsr::parse(text.as_bytes()).map_err(slug)?;
    let admitted = issuer.profile().admit(&csr, &DEFAULT);
    assert_explained(issuer.profile(), &csr, &DEFAULT, &admitted);
    let params = admitted.map_err(slug)?;
    match PreparedCertificate::prepare(&params, &issuer, now(), Serial::from_random(SERIAL)) {
        Ok(prepared) => Ok(prepared.tbs),
        Err(PrepareError::Refused(refusal)) => Err(slug(refusal)),
        Err(bug) => panic!("{bug}"),
    }
}

fn encodings(corpus: &mut Corpus) {
    let der = plain().der(key());
    for length in (0..der.len()).step_by(9) {
        corpus.refused(format!("cut at {length}"), wrap(&der[..length]), "bad-der");
    }
    let content = &der[3..];
    for (name, odd) in [
        ("an octet after", [&der[..], &[0]].concat()),
        ("a NULL after", [&der[..], &[5, 0]].concat()),
        ("twice in one block", der.repeat(2)),
        ("a SET around", [&[0x31][..], &der[1..]].concat()),
        ("a length encoded with a superfluous octet", {
            let length = u8::try_from(content.len()).unwrap();
            [&[0x30, 0x82, 0, length][..], content].concat()
        }),
        (
            "an indefinite length",
            [&[0x30, 0x80][..], content, &[0, 0]].concat(),
        ),
        ("one integer", vec![2, 1, 0]),
        ("only zeros", vec![0; 300]),
        (
            "deep nesting",
            (0..2_000).fold(Vec::new(), |inner: Vec<u8>, _| {
                tlv(0x30, &inner[..inner.len().min(9_000)])
            }),
        ),
    ] {
        corpus.refused(name, wrap(&odd), "bad-der");
    }
    for version in [vec![1], vec![2], vec![0xff], vec![1, 0]] {
        let mut request = plain();
        let name = format!("version {version:?}");
        request.version = version;
        corpus.refused(name, request.pem(key()), "bad-csr-version");
    }
}

#[test]
fn every_request_of_the_corpus_gets_its_slug_or_its_octets() {
    let mut corpus = Corpus::default();
    for family in [
        texts::texts,
        encodings,
        keys::keys,
        signatures::signatures,
        subjects::subjects,
        names::names,
        extensions::extensions,
    ] {
        family(&mut corpus);
    }
    let mut wrong = Vec::new();
    for (name, pem, expected) in &corpus.rows {
        let found = run(pem);
        let right = match (&found, expected) {
            (Ok(tbs), Ok(octets)) => tbs.windows(octets.len()).any(|window| window == octets),
            (Err(slug), Err(expected)) => slug == expected,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        if !right {
            let found = found.map(hex::encode);
            let expected = expected.as_ref().map(hex::encode);
            wrong.push(format!("{name}: got {found:?}, expected {expected:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(corpus.rows.len() >= 250, "{} requests", corpus.rows.len());
}
