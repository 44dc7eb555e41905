//! Measures the pure path of issuance in microseconds, without the token's time: from a CSR's text to the bytes to be
//! signed, and from the signature to the sealed certificate. Also counts Rust's allocations and their octets; allocations of
//! AWS-LC in C are not counted.
//!
//! Also measures CRLs (`issuance/crl.rs`), the lines of the issuance log (`issuance/log.rs`), and the worst inputs within the bounds, in milliseconds
//! (`issuance/worst.rs`).
//!
//! Takes medians of `BENCH_ROUNDS` rounds (default 2000), prints a table and writes `target/bench/issuance.json`.
//! Fails if the issuance log misses a goal.

use std::{env, sync::Arc, time::Instant};

use aws_lc_rs::{
    digest::{self, Digest},
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair},
};
use bench::{Report, Row, median};
use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use pkcs11_issuer::issuance::{
    Issuer, IssuerChain, PreparedCertificate, Profile, Serial, Signature, Signer, SigningInput,
    VerifiedCsr, Wanted, pattern::Variables, signature::Signing,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, SignatureAlgorithm,
};

#[path = "issuance/crl.rs"]
mod crl;
#[path = "issuance/log.rs"]
mod log;
#[path = "issuance/worst.rs"]
mod worst;

type Failed = Box<dyn std::error::Error>;

const KEYS: [(&str, &SignatureAlgorithm); 5] = [
    ("RSA-2048", &rcgen::PKCS_RSA_SHA256),
    ("P-256", &rcgen::PKCS_ECDSA_P256_SHA256),
    ("P-384", &rcgen::PKCS_ECDSA_P384_SHA384),
    ("P-521", &rcgen::PKCS_ECDSA_P521_SHA512),
    ("Ed25519", &rcgen::PKCS_ED25519),
];

/// A signer that returns the signature which a P-256 key made before the clock started.
struct Ready(Vec<u8>);

impl Signer for Ready {
    fn sign<'a>(&'a self, _: SigningInput) -> Signing<'a> {
        let signature = Signature::from_octets(self.0.clone());
        Box::pin(std::future::ready(Ok(signature)))
    }
}

/// A signer with a P-256 key in memory, which keeps its last signature.
struct Once<'k>(&'k EcdsaKeyPair, std::sync::Mutex<Vec<u8>>);

impl Signer for Once<'_> {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let signed = Digest::import_less_safe(input.payload(), &digest::SHA256)
            .and_then(|digest| self.0.sign_digest(&digest));
        let octets = signed.map(|signature| signature.as_ref().to_vec());
        let octets = octets.unwrap_or_default();
        if let Ok(mut kept) = self.1.lock() {
            kept.clone_from(&octets);
        }
        Box::pin(std::future::ready(Ok(Signature::from_octets(octets))))
    }
}

fn main() -> Result<(), Failed> {
    let rounds = env::var("BENCH_ROUNDS").map_or(Ok(2000), |rounds| rounds.parse())?;
    let ca_key = KeyPair::generate()?;
    let issuer = issuer(&ca_key)?;
    let ca_key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &ca_key.serialize_der())?;
    let mut report = Report::new("issuance");
    println!(
        "{:<10} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "key", "CSR to TBS", "seal", "whole, µs", "allocations", "octets"
    );
    for (name, algorithm) in KEYS {
        let Measured {
            prepare,
            seal,
            allocations,
            octets,
        } = measure(&request(algorithm)?, &issuer, &ca_key, rounds)?;
        let whole = prepare + seal;
        println!(
            "{name:<10} {prepare:>12.1} {seal:>12.1} {whole:>12.1} {allocations:>12} {octets:>12}"
        );
        for (what, unit, value) in [
            ("CSR to TBS", "µs", prepare),
            ("seal", "µs", seal),
            ("whole", "µs", whole),
            ("allocations", "", allocations),
            ("allocated octets", "", octets),
        ] {
            report.push(Row::new(format!("{name}, {what}"), unit, value));
        }
    }
    crl::measure(&mut report, &issuer, &ca_key)?;
    worst::measure(&mut report)?;
    log::measure(&mut report)?;
    report.write()?;
    Ok(report.goals_are_reached()?)
}

fn issuer(key: &KeyPair) -> Result<Arc<Issuer>, Failed> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bench");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(key)?;
    let chain = IssuerChain::parse(certificate.pem().as_bytes(), None)?;
    Ok(Arc::new(Issuer::new(chain, Profile::default(), None)?))
}

fn request(algorithm: &'static SignatureAlgorithm) -> Result<String, Failed> {
    let key = KeyPair::generate_for(algorithm)?;
    let names = ["web.shop.svc", "web.shop.svc.cluster.local"].map(str::to_owned);
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "web");
    Ok(params.serialize_request(&key)?.pem()?)
}

/// The cost of one request.
struct Measured {
    /// Median time from the CSR to the bytes to be signed, in microseconds.
    prepare: f64,
    /// Median time from the signature to the certificate, in microseconds.
    seal: f64,
    /// Number of calls of the allocator, including growing a buffer.
    allocations: f64,
    /// Octets that these calls asked for in total.
    octets: f64,
}

fn measure(
    csr: &str,
    issuer: &Arc<Issuer>,
    key: &EcdsaKeyPair,
    rounds: usize,
) -> Result<Measured, Failed> {
    let now = Timestamp::from_second(1_800_000_000)? + SignedDuration::from_secs(1);
    let usages = ["digital signature", "server auth", "client auth"].map(str::to_owned);
    let wanted = Wanted {
        variables: Variables {
            namespace: Some("shop"),
            name: "web",
        },
        usages: &usages,
        is_ca: false,
        by_annotation: false,
        duration: None,
    };
    let prepare_once = || -> Result<PreparedCertificate, Failed> {
        let csr = VerifiedCsr::parse(csr.as_bytes())?;
        let params = issuer.profile().admit(&csr, &wanted)?;
        let serial = Serial::from_random([7; 16]);
        Ok(PreparedCertificate::prepare(&params, issuer, now, serial)?)
    };
    let once = Once(key, std::sync::Mutex::default());
    block_on(prepare_once()?.issue(&once))?;
    let ready = Ready(once.1.into_inner()?);
    let (mut prepared, mut sealed) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let started = Instant::now();
        let certificate = prepare_once()?;
        prepared.push(started.elapsed().as_secs_f64() * 1e6);
        let started = Instant::now();
        block_on(certificate.issue(&ready))?;
        sealed.push(started.elapsed().as_secs_f64() * 1e6);
    }
    let [prepare, seal] = [median(&prepared), median(&sealed)];
    // Count after the rounds, so that allocations that are made only once are not counted.
    let mut whole = Ok(());
    let allocated = allocation_counter::measure(|| {
        whole = prepare_and_seal(&prepare_once, &ready);
    });
    whole?;
    Ok(Measured {
        prepare,
        seal,
        allocations: f64::from(u32::try_from(allocated.count_total)?),
        octets: f64::from(u32::try_from(allocated.bytes_total)?),
    })
}

fn prepare_and_seal(
    prepare: &dyn Fn() -> Result<PreparedCertificate, Failed>,
    ready: &Ready,
) -> Result<(), Failed> {
    block_on(prepare()?.issue(ready))?;
    Ok(())
}
