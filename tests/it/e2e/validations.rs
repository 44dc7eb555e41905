//! The checks that cert-manager's conformance suites make on every issued Certificate, in our own words.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use serde_json::json;
use x509_parser::{
    oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519, Oid},
    prelude::X509Certificate,
};

use super::{
    both, domain,
    issued::{Issued, last_pem, names},
    named,
    objects::{Objects, condition},
    stage::stage,
};

/// A rule in words, and the function that checks it.
pub(super) type Validation = (&'static str, fn(&Issued) -> Result<()>);

/// The rules for every Certificate.
const EVERY: &[Validation] = &[
    ("the DNS names are those asked for", dns_names),
    ("the organizations are those asked for", organizations),
    (
        "the Secret's private key belongs to the certificate and is of the kind asked for",
        private_key,
    ),
    ("basicConstraints agree with isCA", basic_constraints),
    ("status.notAfter agrees with the certificate", not_after),
    ("the Secret has exactly the expected keys", keys_of_secret),
    (
        "the Secret's annotations name the Certificate and its issuer",
        annotations,
    ),
    (
        "additional output formats have the same content",
        output_formats,
    ),
    ("Ready is about the Certificate's present generation", ready),
    ("the common name is the one asked for", common_name),
    ("the URIs are those asked for", uris),
    ("the e-mail addresses are those asked for", emails),
    ("the IP addresses are those asked for", ips),
    ("the duration is the one asked for", duration),
    ("tls.crt verifies up to ca.crt", chain),
    (
        "ca.crt is the root that issued the chain's last certificate",
        root,
    ),
];

/// Checks all rules; the error names every rule that does not hold.
pub(super) fn all(issued: &Issued, also: &[Validation]) -> Result<()> {
    let wrong: Vec<_> = broken(issued, also)
        .into_iter()
        .map(|(rule, error)| format!("{rule}: {error:#}"))
        .collect();
    let name = issued.certificate.metadata.name.as_deref();
    ensure!(
        wrong.is_empty(),
        "{}: {}",
        name.unwrap_or(""),
        wrong.join("; ")
    );
    Ok(())
}

fn broken(issued: &Issued, also: &[Validation]) -> Vec<(&'static str, anyhow::Error)> {
    let rules = EVERY.iter().chain(also);
    rules
        .filter_map(|(rule, holds)| Some((*rule, holds(issued).err()?)))
        .collect()
}

fn same<T: PartialEq + std::fmt::Debug>(found: &T, wanted: &T) -> Result<()> {
    ensure!(found == wanted, "{found:?} instead of {wanted:?}");
    Ok(())
}

fn dns_names(issued: &Issued) -> Result<()> {
    same(&names(&issued.leaf()?)?.dns, &issued.texts("dnsNames"))
}

fn uris(issued: &Issued) -> Result<()> {
    same(&names(&issued.leaf()?)?.uri, &issued.texts("uris"))
}

fn emails(issued: &Issued) -> Result<()> {
    same(
        &names(&issued.leaf()?)?.email,
        &issued.texts("emailAddresses"),
    )
}

fn ips(issued: &Issued) -> Result<()> {
    same(&names(&issued.leaf()?)?.ip, &issued.texts("ipAddresses"))
}

/// Returns the values of an attribute of the subject.
fn subject<'a>(leaf: &'a X509Certificate<'_>, of: &str) -> BTreeSet<&'a str> {
    let subject = leaf.subject();
    let attributes = match of {
        "O" => subject.iter_organization().collect::<Vec<_>>(),
        _ => subject.iter_common_name().collect(),
    };
    attributes
        .iter()
        .filter_map(|value| value.as_str().ok())
        .collect()
}

/// Returns the values of an attribute of `spec.literalSubject`.
fn literal<'a>(issued: &'a Issued, of: &str) -> BTreeSet<&'a str> {
    let literal = issued.spec("literalSubject").as_str().unwrap_or("");
    let parts = literal.split(',').filter_map(|part| part.split_once('='));
    parts
        .filter(|(type_, _)| *type_ == of)
        .map(|(_, value)| value)
        .collect()
}

fn organizations(issued: &Issued) -> Result<()> {
    let asked = super::issued::texts(&issued.spec("subject")["organizations"]);
    let mut wanted: BTreeSet<_> = asked.iter().map(String::as_str).collect();
    wanted.extend(literal(issued, "O"));
    same(&subject(&issued.leaf()?, "O"), &wanted)
}

/// If the Certificate has no common name, the issuer may take one of its DNS names or IP addresses.
fn common_name(issued: &Issued) -> Result<()> {
    let leaf = issued.leaf()?;
    let found = subject(&leaf, "CN");
    let mut wanted = literal(issued, "CN");
    wanted.extend(issued.spec("commonName").as_str());
    if wanted.is_empty() {
        let names = names(&leaf)?;
        let own = |name: &&str| names.dns.contains(*name) || names.ip.contains(*name);
        ensure!(
            found.iter().all(own),
            "{found:?} is not one of the names {names:?}"
        );
        return Ok(());
    }
    same(&found, &wanted)
}

fn private_key(issued: &Issued) -> Result<()> {
    let leaf = issued.leaf()?;
    ensure!(
        issued.public_half()? == leaf.public_key().raw,
        "the private key does not match the certificate"
    );
    let wanted: Oid<'_> = match issued.spec("privateKey")["algorithm"].as_str() {
        None | Some("RSA") => OID_PKCS1_RSAENCRYPTION,
        Some("ECDSA") => OID_KEY_TYPE_EC_PUBLIC_KEY,
        Some("Ed25519") => OID_SIG_ED25519,
        Some(other) => bail!("this test does not know the key type {other:?}"),
    };
    same(&leaf.public_key().algorithm.algorithm, &wanted)
}

fn basic_constraints(issued: &Issued) -> Result<()> {
    let leaf = issued.leaf()?;
    let constraints = leaf
        .basic_constraints()?
        .context("the certificate has no basicConstraints")?;
    ensure!(constraints.critical, "basicConstraints are not critical");
    let wanted = issued.spec("isCA").as_bool().unwrap_or(false);
    same(&constraints.value.ca, &wanted)
}

fn not_after(issued: &Issued) -> Result<()> {
    let status = &issued.certificate.data["status"]["notAfter"];
    let status: Timestamp = status
        .as_str()
        .context("the status has no notAfter")?
        .parse()?;
    same(
        &status.as_second(),
        &issued.leaf()?.validity().not_after.timestamp(),
    )
}

fn formats(issued: &Issued) -> BTreeSet<String> {
    let formats = issued.spec("additionalOutputFormats").as_array();
    let types = formats
        .into_iter()
        .flatten()
        .filter_map(|format| format["type"].as_str());
    types.map(str::to_owned).collect()
}

fn keys_of_secret(issued: &Issued) -> Result<()> {
    let found: BTreeSet<_> = issued
        .secret
        .data
        .iter()
        .flatten()
        .map(|(key, _)| key.as_str())
        .collect();
    let mut wanted = BTreeSet::from(["ca.crt", "tls.crt", "tls.key"]);
    for (format, key) in [("DER", "key.der"), ("CombinedPEM", "tls-combined.pem")] {
        if formats(issued).contains(format) {
            wanted.insert(key);
        }
    }
    same(&found, &wanted)
}

fn output_formats(issued: &Issued) -> Result<()> {
    let formats = formats(issued);
    if formats.contains("CombinedPEM") {
        let parts = [
            issued.data("tls.key")?,
            b"\n".to_vec(),
            issued.data("tls.crt")?,
        ]
        .concat();
        ensure!(
            issued.data("tls-combined.pem")? == parts,
            "tls-combined.pem differs"
        );
    }
    if formats.contains("DER") {
        let key = super::issued::first_pem(&issued.data("tls.key")?)?;
        ensure!(issued.data("key.der")? == key.contents, "key.der differs");
    }
    Ok(())
}

fn annotations(issued: &Issued) -> Result<()> {
    let empty = std::collections::BTreeMap::new();
    let found = issued
        .secret
        .metadata
        .annotations
        .as_ref()
        .unwrap_or(&empty);
    let issuer = issued.spec("issuerRef");
    let leaf = issued.leaf()?;
    let names = names(&leaf)?;
    let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<BTreeSet<_>>();
    let split = |value: &str| -> BTreeSet<String> {
        let parts = value.split(',').filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let of = |key: &str| {
        found
            .get(&format!("cert-manager.io/{key}"))
            .map_or("", String::as_str)
    };
    same(
        &Some(of("certificate-name")),
        &issued.certificate.metadata.name.as_deref(),
    )?;
    for (key, field) in [
        ("issuer-name", "name"),
        ("issuer-kind", "kind"),
        ("issuer-group", "group"),
    ] {
        same(&Some(of(key)), &issuer[field].as_str())?;
    }
    let common_name = subject(&leaf, "CN").into_iter().next().unwrap_or("");
    same(&of("common-name"), &common_name)?;
    same(&split(of("alt-names")), &list(&names.dns))?;
    same(&split(of("ip-sans")), &list(&names.ip))?;
    same(&split(of("uri-sans")), &list(&names.uri))
}

fn ready(issued: &Issued) -> Result<()> {
    let ready = condition(&issued.certificate, "Ready");
    same(&ready["status"].as_str(), &Some("True"))?;
    same(
        &ready["observedGeneration"].as_i64(),
        &issued.certificate.metadata.generation,
    )
}

/// The suites allow 30 seconds of difference. Our validity begins in the past but has exactly the length asked for.
fn duration(issued: &Issued) -> Result<()> {
    let wanted = match issued.spec("duration").as_str() {
        Some(text) => text.parse::<SignedDuration>()?,
        None => SignedDuration::from_hours(2160),
    };
    let leaf = issued.leaf()?;
    let validity = leaf.validity();
    let found = validity.not_after.timestamp() - validity.not_before.timestamp();
    same(&found, &wanted.as_secs())
}

fn chain(issued: &Issued) -> Result<()> {
    issued.verify(&issued.data("ca.crt")?)
}

fn root(issued: &Issued) -> Result<()> {
    let ca = issued.ca()?;
    ensure!(
        ca.subject().as_raw() == ca.issuer().as_raw(),
        "ca.crt is issued by {}",
        ca.issuer()
    );
    let last = last_pem(&issued.data("tls.crt")?)?;
    let last = last.parse_x509()?;
    ensure!(
        last.issuer().as_raw() == ca.subject().as_raw(),
        "the chain is issued by {}",
        last.issuer()
    );
    Ok(())
}

/// Makes sure that no validation passes on everything.
#[tokio::test]
async fn every_validation_detects_the_secret_of_another_certificate() -> Result<()> {
    let rule = "every_validation_detects_the_secret_of_another_certificate";
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let [(_, issuer), _] = both();
    let specs = [
        json!({"dnsNames": [domain(rule)], "additionalOutputFormats": [{"type": "DER"}]}),
        json!({
            "isCA": true,
            "commonName": "another",
            "subject": {"organizations": ["Another"]},
            "uris": ["spiffe://another.example/a"],
            "emailAddresses": ["another@example.com"],
            "ipAddresses": ["192.0.2.1"],
            "duration": "24h",
            "privateKey": {"algorithm": "ECDSA"},
        }),
    ];
    let mut issued = Vec::new();
    for (kind, spec) in ["one", "another"].into_iter().zip(specs) {
        let name = named(rule, kind);
        objects.create_certificate(&name, &issuer, spec).await?;
        issued.push(Issued::wait(&objects, &name).await?);
    }
    let [one, another] = <[Issued; 2]>::try_from(issued)
        .ok()
        .context("expected two Certificates")?;
    ensure!(broken(&one, &[]).is_empty() && broken(&another, &[]).is_empty());

    let mut secret = another.secret;
    let old_root = stage.authority().root().pem().into_bytes();
    let data = secret.data.get_or_insert_default();
    data.insert("ca.crt".to_owned(), ByteString(old_root));
    let mut certificate = one.certificate;
    certificate.metadata.generation = Some(7);
    let mixed = Issued::new(certificate, secret)?;
    let seen: Vec<_> = broken(&mixed, &[])
        .into_iter()
        .map(|(rule, _)| rule)
        .collect();
    let all: Vec<_> = EVERY.iter().map(|(rule, _)| *rule).collect();
    ensure!(seen == all, "{seen:#?}");
    Ok(())
}
