//! Checks of an issuer that need no token.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use super::*;
use crate::api::issuer::Reason;

/// Returns a root with these usages.
fn root(usages: &[KeyUsagePurpose]) -> ParsedChain {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "root");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages.to_vec();
    let root = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
    ParsedChain::new(ChainPem {
        chain: root.pem().into_bytes(),
        root: None,
    })
}

fn check_with(crl: Value, profile: Value, chain: &ParsedChain) -> Result<Checked, NotProven> {
    let spec = json!({"token": "t", "certificate": {"pem": "-"}, "crl": crl, "profile": profile});
    let now = Timestamp::from_second(1_700_000_000).unwrap();
    let spec: IssuerSpec = serde_json::from_value(spec).unwrap();
    check(&spec, spec.key.as_ref(), chain, now)
}

#[test]
fn an_issuer_whose_ca_certificate_or_profile_forbids_crls_says_so() {
    let whole = root(&[KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]);
    let checked = check_with(
        json!({"shards": 4, "url": "http://a.example"}),
        json!({}),
        &whole,
    );
    assert_eq!(checked.unwrap().crl.map(|crl| crl.shards().get()), Some(4));

    let mute = root(&[KeyUsagePurpose::KeyCertSign]);
    let why = check_with(json!({}), json!({}), &mute).unwrap_err();
    assert_eq!(why.reason(), Reason::CrlSignMissing);
    assert_eq!(
        why.message(),
        "spec.crl cannot be used: the keyUsage of the CA certificate \"CN=root\" does not include cRLSign, so verifiers refuse its CRLs; have it renewed with cRLSign"
    );
    // Without CRLs, the same certificate will do.
    let checked = check_with(Value::Null, json!({}), &mute).unwrap();
    assert_eq!(checked.crl, None);

    let silent = json!({"extensions": {"noRevAvail": true}});
    let why = check_with(json!({}), silent, &whole).unwrap_err();
    assert_eq!(why.reason(), Reason::CrlInvalid);
    let why = check_with(json!({"validity": "59m"}), json!({}), &whole).unwrap_err();
    assert_eq!(why.reason(), Reason::CrlInvalid);
    assert!(
        why.message().contains("spec.crl.validity is 59m"),
        "{}",
        why.message()
    );
}
