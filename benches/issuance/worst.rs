//! Measures the worst inputs that a tenant can write within the bounds: an issuer's bundle and a CSR.

use std::time::Instant;

use aws_lc_rs::{
    digest::{self, Digest},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use bench::{Report, Row, median};
use pkcs11_issuer::issuance::{IssuerChain, PublicKey, VerifiedCsr, pem};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose,
};

use super::Failed;

/// The product's limits on the size of a bundle and of a CSR, in octets.
const BUNDLE: usize = 330_000;
const CSR: usize = 64 * 1024;

/// Measures each input, prints a row for it and adds it to the report.
pub(super) fn measure(report: &mut Report) -> Result<(), Failed> {
    let ladder = ladder(16)?;
    let chain: String = ladder.iter().rev().map(Certificate::pem).collect();
    let roots = (0..16).map(|_| authority("ca", &rcgen::PKCS_ECDSA_P521_SHA512));
    let roots: String = roots
        .map(|root| Ok(root?.0.pem()))
        .collect::<Result<_, Failed>>()?;
    let public = public_bundle()?;
    let one = &ladder.first().ok_or("a ladder")?.pem();
    let parse = |chain: &str, roots: Option<&str>| {
        drop(IssuerChain::parse(
            chain.as_bytes(),
            roots.map(str::as_bytes),
        ));
    };
    println!("{:<60} {:>12}", "worst input", "ms");
    let mut row = |what: &str, run: &dyn Fn()| {
        let milliseconds = milliseconds(run);
        println!("{what:<60} {milliseconds:>12.2}");
        report.push(Row::new(format!("worst, {what}"), "ms", milliseconds));
    };
    row("16 certificates of one name, P-521", &|| {
        parse(&chain, None);
    });
    row("and 16 roots of that name", &|| parse(&chain, Some(&roots)));
    row("a bundle of 330 kB of other roots", &|| {
        parse(one, Some(&public));
    });
    let rsa = rsa_8192()?;
    row("an RSA key of 8192 bits", &|| drop(PublicKey::parse(&rsa)));
    for (what, csr) in requests()? {
        row(what, &|| drop(VerifiedCsr::parse(csr.as_bytes())));
    }
    Ok(())
}

/// Returns the median time of eleven runs.
fn milliseconds(run: &dyn Fn()) -> f64 {
    let rounds: Vec<_> = (0..11)
        .map(|_| {
            let started = Instant::now();
            run();
            started.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    median(&rounds)
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    // The same for all certificates, so that it does not help to tell the keys apart.
    params.key_identifier_method = KeyIdMethod::PreSpecified(vec![0]);
    params
}

fn authority(
    name: &str,
    algorithm: &'static rcgen::SignatureAlgorithm,
) -> Result<(Certificate, Issuer<'static, KeyPair>), Failed> {
    let key = KeyPair::generate_for(algorithm)?;
    let params = params(name);
    let certificate = params.self_signed(&key)?;
    Ok((certificate, Issuer::new(params, key)))
}

/// Returns certificates with the same name, each signed by the next; the signer of the last is left out.
fn ladder(count: usize) -> Result<Vec<Certificate>, Failed> {
    let algorithm = &rcgen::PKCS_ECDSA_P521_SHA512;
    let (_, mut above) = authority("ca", algorithm)?;
    let mut ladder = Vec::new();
    for _ in 0..count {
        let key = KeyPair::generate_for(algorithm)?;
        let params = params("ca");
        ladder.insert(0, params.signed_by(&key, &above)?);
        above = Issuer::new(params, key);
    }
    Ok(ladder)
}

/// Returns as many roots as fit into a bundle, each with another name.
fn public_bundle() -> Result<String, Failed> {
    let mut text = String::new();
    for number in 0.. {
        let (root, _) = authority(&number.to_string(), &rcgen::PKCS_ECDSA_P256_SHA256)?;
        let root = root.pem();
        if text.len() + root.len() > BUNDLE {
            break;
        }
        text.push_str(&root);
    }
    Ok(text)
}

/// Returns a SubjectPublicKeyInfo with a modulus that passes the key policy.
fn rsa_8192() -> Result<Vec<u8>, Failed> {
    let algorithm = [
        0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0,
    ];
    for _ in 0..1_000 {
        let mut modulus = vec![0; 1024];
        aws_lc_rs::rand::fill(&mut modulus)?;
        if let [first, .., last] = modulus.as_mut_slice() {
            *first |= 0x80;
            *last |= 1;
        }
        let key = sequence(&[&tlv(2, &[&[0], &modulus[..]].concat()), &[2, 3, 1, 0, 1]]);
        let spki = sequence(&[&algorithm, &tlv(3, &[&[0], &key[..]].concat())]);
        if PublicKey::parse(&spki).is_ok() {
            return Ok(spki);
        }
    }
    Err("no modulus without a small factor".into())
}

/// Returns CSRs, each full of one kind of content.
fn requests() -> Result<[(&'static str, String); 5], Failed> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)?;
    let oid = |number: usize| {
        let arcs = [number / 128, number % 128].map(|arc| u8::try_from(arc).unwrap_or(0));
        tlv(6, &[&[0x2a], &arcs[..]].concat())
    };
    let common_name = |number: usize| {
        let text = tlv(0x0c, number.to_string().as_bytes());
        sequence(&[&[6, 3, 0x55, 4, 3], &text])
    };
    let none = sequence(&[]);
    let all = |one: &dyn Fn(usize) -> Vec<u8>, count: usize| {
        (0..count).flat_map(one).collect::<Vec<u8>>()
    };
    let extension = |kind: &[u8], value: &[u8]| {
        let extension = sequence(&[&tlv(6, kind), &tlv(4, value)]);
        let request = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 14];
        let values = tlv(0x31, &sequence(&[&extension]));
        sequence(&[&tlv(6, &request), &values])
    };
    let names = all(&|_| tlv(0x82, b"a"), 15_000);
    let names = extension(&[0x55, 0x1d, 0x11], &sequence(&[&names]));
    let purposes = sequence(&[&all(&oid, 9_000)]);
    let purposes = extension(&[0x55, 0x1d, 0x25], &purposes);
    // In reverse order, which a decoder may have to sort.
    let rdn = tlv(0x31, &all(&|number| common_name(2_999 - number), 3_000));
    let rdns = all(&|number| tlv(0x31, &common_name(number)), 2_500);
    let attributes = all(&|number| sequence(&[&oid(number), &[0x31, 0]]), 5_000);
    Ok([
        ("a CSR of attributes", request(&pair, &none, &attributes)?),
        ("a CSR of names", request(&pair, &none, &names)?),
        ("a CSR of purposes", request(&pair, &none, &purposes)?),
        (
            "a CSR whose subject has many RDNs",
            request(&pair, &sequence(&[&rdns]), &[])?,
        ),
        (
            "a CSR whose subject has one large RDN",
            request(&pair, &sequence(&[&rdn]), &[])?,
        ),
    ])
}

fn request(pair: &EcdsaKeyPair, subject: &[u8], attributes: &[u8]) -> Result<String, Failed> {
    let algorithm = [
        0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3,
        1, 7,
    ];
    let key = [&[0], pair.public_key().as_ref()].concat();
    let spki = sequence(&[&algorithm, &tlv(3, &key)]);
    let info = sequence(&[&[2, 1, 0], subject, &spki, &tlv(0xa0, attributes)]);
    let signature = pair.sign_digest(&Digest::import_less_safe(
        digest::digest(&digest::SHA256, &info).as_ref(),
        &digest::SHA256,
    )?)?;
    let signature = tlv(3, &[&[0], signature.as_ref()].concat());
    let scheme = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let text = pem::encode(
        "CERTIFICATE REQUEST",
        &sequence(&[&info, &scheme, &signature]),
    );
    if text.len() > CSR || VerifiedCsr::parse(text.as_bytes()).is_err() {
        return Err(format!(
            "the CSR is too large or is not accepted: {} octets",
            text.len()
        )
        .into());
    }
    Ok(text)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let octets = content.len().to_be_bytes();
    let octets: Vec<_> = octets.into_iter().skip_while(|&octet| octet == 0).collect();
    let mut element = vec![tag];
    match (content.len(), u8::try_from(octets.len())) {
        (0, _) => element.push(0),
        (..=0x7f, _) => element.extend(octets),
        (_, Ok(count)) => {
            element.push(0x80 | count);
            element.extend(octets);
        }
        (_, Err(_)) => {}
    }
    element.extend_from_slice(content);
    element
}

fn sequence(elements: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &elements.concat())
}
