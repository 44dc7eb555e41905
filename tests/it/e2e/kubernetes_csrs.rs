//! Tests Kubernetes' CertificateSigningRequests of every shape in cert-manager's conformance suite, with an issuer of each
//! kind.

use anyhow::{Context as _, Result, ensure};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519,
    PKCS_RSA_SHA256, PublicKeyData as _, SanType, SignatureAlgorithm,
};
use rig::{IssuerName, SigningRequests, signing_request_spec};
use serde_json::{Value, json};
use x509_parser::{certification_request::X509CertificationRequest, prelude::FromDer as _};

use super::{
    both, domain,
    issued::{first_pem, names, names_in, usages, verify},
    named,
    stage::stage,
};
use crate::whole::{condition, lasting, with_status};

const DURATION: &str = "experimental.cert-manager.io/request-duration";
const IS_CA: &str = "experimental.cert-manager.io/request-is-ca";
const COMMON_NAME: &str = "test-common-name-abcdefghij";
const URI: &str = "spiffe://cluster.local/ns/sandbox/sa/foo";
const DEFAULT_USAGES: &[&str] = &["digital signature", "key encipherment"];

/// One request.
struct Row {
    key: &'static SignatureAlgorithm,
    common_name: Option<fn(&str) -> String>,
    names: fn(&str) -> Result<Vec<SanType>>,
    usages: &'static [&'static str],
    annotations: &'static [(&'static str, &'static str)],
    expiration_seconds: Option<i32>,
    /// The expected lifetime, from annotations and `expirationSeconds`.
    seconds: i64,
}

const PLAIN: Row = Row {
    key: &PKCS_RSA_SHA256,
    common_name: None,
    names: |_| Ok(Vec::new()),
    usages: DEFAULT_USAGES,
    annotations: &[],
    expiration_seconds: None,
    seconds: 2160 * 3600,
};

/// Defines one test per row: its rule and the fields that differ from [`PLAIN`].
macro_rules! rows {
    ($($rule:ident: {$($field:ident: $value:expr),*};)*) => {$(
        #[tokio::test]
        async fn $rule() -> Result<()> {
            sign(stringify!($rule), &Row {$($field: $value,)* ..PLAIN}).await
        }
    )*};
}

rows! {
    an_rsa_key_with_a_dns_name: {names: dns};
    an_ecdsa_key_with_a_dns_name: {key: &PKCS_ECDSA_P256_SHA256, names: dns};
    an_ed25519_key_with_a_dns_name: {key: &PKCS_ED25519, names: dns};
    an_rsa_key_with_a_common_name: {common_name: Some(common_name)};
    an_ecdsa_key_with_a_common_name: {key: &PKCS_ECDSA_P256_SHA256, common_name: Some(common_name)};
    an_ed25519_key_with_a_common_name: {key: &PKCS_ED25519, common_name: Some(common_name)};
    ip_addresses_beside_a_common_name: {common_name: Some(common_name), names: ips};
    an_ip_address_alone: {names: |_| Ok(vec![SanType::IpAddress("127.0.0.1".parse()?)])};
    an_ip_address_beside_a_dns_name: {names: |domain| Ok([ips(domain)?, dns(domain)?].concat())};
    a_ca_by_its_annotation: {names: dns, annotations: &[(IS_CA, "true")]};
    email_addresses_alone: {names: emails};
    a_uri_beside_a_common_name: {common_name: Some(common_name), names: uri};
    two_dns_names_of_which_one_is_the_common_name: {
        common_name: Some(str::to_owned),
        names: |domain| Ok([dns(domain)?, dns(&format!("other.{domain}"))?].concat())
    };
    a_dns_name_beside_another_common_name: {common_name: Some(|domain| format!("other.{domain}")), names: dns};
    a_duration_by_its_annotation_beside_a_common_name: {
        common_name: Some(str::to_owned), names: dns, annotations: &[(DURATION, "896h")], seconds: 896 * 3600
    };
    a_duration_by_expiration_seconds: {
        common_name: Some(str::to_owned), names: dns, expiration_seconds: Some(3333), seconds: 3333
    };
    a_duration_by_its_annotation: {names: dns, annotations: &[(DURATION, "896h")], seconds: 896 * 3600};
    a_wildcard_alone: {names: |domain| dns(&format!("*.{domain}"))};
    a_wildcard_beside_its_apex: {
        names: |domain| Ok([dns(&format!("*.{domain}"))?, dns(domain)?].concat())
    };
    a_uri_alone: {names: uri};
    usages_of_the_requesters_choice: {
        common_name: Some(str::to_owned), names: dns,
        usages: &["server auth", "client auth", "digital signature", "data encipherment"]
    };
    a_signing_ca_that_lasts_10000_hours: {
        common_name: Some(|_| "cert-manager-ca".to_owned()),
        usages: &["digital signature", "key encipherment", "cert sign"],
        annotations: &[(DURATION, "10000h"), (IS_CA, "true")], seconds: 10_000 * 3600
    };
    a_label_of_63_characters: {names: |domain| dns(&format!("{}.{domain}", "a".repeat(63)))};
}

fn common_name(_: &str) -> String {
    COMMON_NAME.to_owned()
}

fn dns(name: &str) -> Result<Vec<SanType>> {
    Ok(vec![SanType::DnsName(name.try_into()?)])
}

fn ips(_: &str) -> Result<Vec<SanType>> {
    let addresses = ["127.0.0.1", "8.8.8.8"].map(|text| text.parse().map(SanType::IpAddress));
    Ok(addresses.into_iter().collect::<Result<_, _>>()?)
}

fn emails(_: &str) -> Result<Vec<SanType>> {
    let [one, other] = ["alice@example.com", "bob@cert-manager.io"];
    Ok(vec![
        SanType::Rfc822Name(one.try_into()?),
        SanType::Rfc822Name(other.try_into()?),
    ])
}

fn uri(_: &str) -> Result<Vec<SanType>> {
    Ok(vec![SanType::URI(URI.try_into()?)])
}

/// Creates a request for an issuer of each kind and checks the certificates.
async fn sign(rule: &str, row: &Row) -> Result<()> {
    let requests = stage().await?.cluster().signing_requests(rule).await?;
    let one = async |(kind, issuer): (&str, IssuerName)| {
        let name = named(rule, kind);
        sign_by(
            &requests,
            &name,
            &format!("{kind}.{}", domain(rule)),
            &issuer,
            row,
        )
        .await
        .with_context(|| name.clone())
    };
    let [cluster, namespaced] = both();
    tokio::try_join!(one(cluster), one(namespaced))?;
    Ok(())
}

async fn sign_by(
    requests: &SigningRequests,
    name: &str,
    domain: &str,
    issuer: &IssuerName,
    row: &Row,
) -> Result<()> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if let Some(text) = row.common_name {
        params
            .distinguished_name
            .push(DnType::CommonName, text(domain));
    }
    params.subject_alt_names = (row.names)(domain)?;
    let key = KeyPair::generate_for(row.key)?;
    let csr = params.serialize_request(&key)?.pem()?;
    let mut spec = signing_request_spec(issuer, &csr);
    spec["usages"] = row.usages.into();
    spec["expirationSeconds"] = row.expiration_seconds.into();
    let annotations: Value = [("example.com/note", "kept")]
        .iter()
        .chain(row.annotations)
        .map(|(key, value)| ((*key).to_owned(), Value::from(*value)))
        .collect();
    requests.create(name, spec, annotations).await?;
    let before = serde_json::to_value(requests.get(name).await?)?;
    requests.approve(name).await?;
    let decided = |status: &rig::Status| {
        status.certificate().is_some() || status.condition("Failed").is_some()
    };
    let status = requests.until(name, decided).await?;
    let chain = status.certificate().context("no certificate")?;
    let after = serde_json::to_value(requests.get(name).await?)?;
    let expected = json!({
        "conditions": [condition(&after, "Approved")],
        "certificate": status.json()["certificate"],
    });
    let (after, expected) = (lasting(&after), with_status(&before, expected));
    ensure!(after == expected, "{after:#} instead of {expected:#}");
    verify(chain.as_bytes(), stage().await?.root().as_bytes())?;
    check(&chain, &csr, &key, row)
}

/// Checks what the suite checks of every certificate.
fn check(chain: &str, csr: &str, key: &KeyPair, row: &Row) -> Result<()> {
    let leaf = first_pem(chain.as_bytes())?;
    let leaf = leaf.parse_x509()?;
    let csr = first_pem(csr.as_bytes())?;
    let (_, csr) = X509CertificationRequest::from_der(&csr.contents)?;
    ensure!(
        leaf.public_key().raw == key.subject_public_key_info(),
        "the certificate has another key"
    );

    let (asked, given) = (&csr.certification_request_info.subject, leaf.subject());
    let ca = row.annotations.iter().any(|(key, _)| *key == IS_CA);
    // A CA certificate without a subject gets its first name as its subject.
    let named = asked.iter_rdn().next().is_some();
    ensure!(
        (ca && !named) || asked.as_raw() == given.as_raw(),
        "the subject is {given}"
    );
    ensure!(
        given.iter_rdn().next().is_some() || !ca,
        "the CA has no subject"
    );
    let asked = names_in(csr.requested_extensions().into_iter().flatten())?;
    let given = names(&leaf)?;
    ensure!(asked == given, "{given:?} instead of {asked:?}");

    let constraints = leaf
        .basic_constraints()?
        .context("the certificate has no basicConstraints")?;
    ensure!(
        constraints.critical && constraints.value.ca == ca,
        "{:?}",
        constraints.value
    );
    let validity = leaf.validity();
    let seconds = validity.not_after.timestamp() - validity.not_before.timestamp();
    ensure!(seconds == row.seconds, "the certificate lasts {seconds} s");
    let (purposes, bits) = usages(&leaf)?;
    for (wanted, word, bit) in [
        (true, "digital signature", 0),
        (
            row.usages.contains(&"data encipherment"),
            "data encipherment",
            3,
        ),
        (ca, "cert sign", 5),
    ] {
        ensure!(wanted == bits.contains(&bit), "{word}: {bits:?}");
    }
    for (word, oid) in [
        ("server auth", "1.3.6.1.5.5.7.3.1"),
        ("client auth", "1.3.6.1.5.5.7.3.2"),
    ] {
        ensure!(
            row.usages.contains(&word) == purposes.contains(oid),
            "{word}: {purposes:?}"
        );
    }
    Ok(())
}
