//! Tests the most expensive requests with the issuers that make them most expensive.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use pkcs11_issuer::{
    api::profile::ProfileSpec,
    issuance::{
        Issuer, IssuerChain, Limits, PrepareError, PreparedCertificate, Profile, Refusal, Rules,
        Serial, VerifiedCsr, Wanted, pattern::Variables,
    },
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose,
    NameConstraints,
};
use serde_json::{Value, json};

use super::{specs::largest_profile, within_budget};

/// The greatest number of alternative names that a profile may allow.
const NAMES: usize = 1000;

/// Returns an issuer whose chain has `certificates` certificates, each with `subtrees` subtrees of name constraints.
fn issuer(certificates: usize, subtrees: usize, profile: Value) -> Result<Arc<Issuer>> {
    let authority = |number: usize| {
        let mut params = CertificateParams::default();
        let name = format!("authority {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let excluded = (0..subtrees)
            .map(|tree| GeneralSubtree::DnsName(format!("excluded{tree}.ca{number}.example")));
        params.name_constraints = (subtrees > 0).then(|| NameConstraints {
            permitted_subtrees: Vec::new(),
            excluded_subtrees: excluded.collect(),
        });
        params
    };
    let (mut above, mut above_key) = (authority(0), KeyPair::generate()?);
    let mut chain = above.self_signed(&above_key)?.pem();
    for number in 1..certificates {
        let (params, key) = (authority(number), KeyPair::generate()?);
        let signer = rcgen::Issuer::from_params(&above, &above_key);
        chain.insert_str(0, &params.signed_by(&key, &signer)?.pem());
        (above, above_key) = (params, key);
    }
    let chain = within_budget("chain with name constraints", || {
        IssuerChain::parse(chain.as_bytes(), None)
    })?;
    let rules: Rules = serde_json::from_value::<ProfileSpec>(profile)?.try_into()?;
    let profile = Profile::new(rules, Limits::default())?;
    Ok(Arc::new(Issuer::new(chain, profile, None)?))
}

fn csr(names: impl IntoIterator<Item = String>) -> Result<String> {
    let params = CertificateParams::new(names.into_iter().collect::<Vec<_>>())?;
    Ok(params.serialize_request(&KeyPair::generate()?)?.pem()?)
}

/// Does everything that the controller's thread does with a request before the token signs.
fn prepare(what: &str, pem: &str, issuer: &Arc<Issuer>) -> Result<Result<(), Refusal>> {
    let usages = ["digital signature", "server auth"].map(str::to_owned);
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
    let now = Timestamp::from_second(1_800_000_000)?;
    within_budget(what, || {
        let csr = match VerifiedCsr::parse(pem.as_bytes()) {
            Ok(csr) => csr,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let params = match issuer.profile().admit(&csr, &wanted) {
            Ok(params) => params,
            Err(refusal) => return Ok(Err(refusal)),
        };
        match PreparedCertificate::prepare(&params, issuer, now, Serial::from_random([7; 16])) {
            Ok(_) => Ok(Ok(())),
            Err(PrepareError::Refused(refusal)) => Ok(Err(refusal)),
            Err(other) => Err(other.into()),
        }
    })
}

#[test]
fn a_thousand_names_are_checked_against_all_patterns_and_constraints_in_time() -> Result<()> {
    // Only the last pattern covers each name, and no pattern denies it.
    let below = |letter: char, count: usize| {
        (0..count).map(move |n| format!("*.{letter}{n}.{{{{namespace}}}}.example"))
    };
    let last = "*.{{namespace}}.example".to_owned();
    let patterns = json!({"sans": {
        "max": NAMES,
        "allowed": {"dns": below('a', 199).chain([last]).collect::<Vec<_>>()},
        "denied": {"dns": below('d', 200).collect::<Vec<_>>()},
    }});
    // As many names as fit into a certificate.
    let pem = csr((0..NAMES).map(|n| format!("host{n:04}.shop.example")))?;
    assert!(pem.len() > 30_000, "{}", pem.len());
    let admitting = issuer(2, 120, patterns)?;
    prepare("names, patterns and subtrees", &pem, &admitting)??;
    let refusing = issuer(1, 0, largest_profile())?;
    let refused = prepare("names that no pattern allows", &pem, &refusing)?;
    let refused = refused.err().context("admitted")?;
    assert_eq!(refused.reason().as_str(), "san-not-allowed");
    Ok(())
}

#[test]
fn a_long_name_is_quoted_only_in_part() -> Result<()> {
    let issuer = issuer(1, 0, json!({}))?;
    let pem = csr(["\u{1b}".repeat(40_000)])?;
    let refused = prepare("a name of 40 kB", &pem, &issuer)?;
    let refused = refused.err().context("admitted")?;
    assert_eq!(refused.reason().as_str(), "bad-san");
    let message = refused.to_string();
    assert!(message.len() <= 1024, "{}", message.len());
    assert!(!message.contains('\u{1b}'), "{message}");
    Ok(())
}

#[test]
fn the_largest_requests_are_read_in_time() -> Result<()> {
    let issuer = issuer(1, 0, json!({"sans": {"max": NAMES}}))?;
    // As many short names as fit.
    let pem = csr((0..7_000).map(|n| format!("{n:x}")))?;
    let refused = prepare("as many names as fit", &pem, &issuer)?;
    let refused = refused.err().context("admitted")?;
    assert_eq!(refused.reason().as_str(), "too-many-sans");

    // A subject with as many attributes as fit.
    let mut params = CertificateParams::new(Vec::new())?;
    for number in 0..3_000 {
        let oid = DnType::CustomDnType(vec![1, 2, 3, number]);
        params.distinguished_name.push(oid, "a");
    }
    let pem = params.serialize_request(&KeyPair::generate()?)?.pem()?;
    assert!(pem.len() <= 64 * 1024, "{}", pem.len());
    let refused = prepare("as many attributes as fit", &pem, &issuer)?;
    let refused = refused.err().context("admitted")?;
    assert_eq!(refused.reason().as_str(), "too-large");
    Ok(())
}

/// The roots that Debian trusts, some of them signed with SHA-1 or named in old string types.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

#[test]
fn the_roots_of_a_whole_system_beside_the_right_one_are_within_the_budget() -> Result<()> {
    let system = std::fs::read_to_string(SYSTEM).with_context(|| {
        format!("{SYSTEM} is missing; on Debian: apt-get install ca-certificates")
    })?;
    assert!(system.matches("BEGIN CERTIFICATE").count() > 100);
    let root_key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "The root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = params.self_signed(&root_key)?;
    let mut below = params.clone();
    below
        .distinguished_name
        .push(DnType::CommonName, "The issuing CA");
    let signer = rcgen::Issuer::from_params(&params, &root_key);
    let issuing = below.signed_by(&KeyPair::generate()?, &signer)?;
    for roots in [system.clone() + &root.pem(), root.pem() + &system] {
        let chain = within_budget("the roots of a whole system", || {
            IssuerChain::parse(issuing.pem().as_bytes(), Some(roots.as_bytes()))
        })?;
        let expected = [&issuing, &root].map(|it| it.der().to_vec());
        let found: Vec<_> = chain.certificates().map(|it| it.der().to_vec()).collect();
        assert_eq!(found, expected);
    }
    Ok(())
}
