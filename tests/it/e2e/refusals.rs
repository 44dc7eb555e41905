//! Tests what an issuer with the default profile refuses, and how the owner of a Certificate sees the refusal.

use anyhow::{Result, ensure};
use kube::api::DynamicObject;
use rig::IssuerName;
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind};

use super::{
    NAMESPACE,
    issued::Issued,
    named,
    objects::{CERTIFICATE, Objects, condition},
    stage::{DEFAULT_PROFILE, stage},
    validations,
};

/// A rule, the `spec` of a Certificate, and the slug of `docs/refusals.md`.
type Row = (&'static str, fn() -> Value, &'static str);

const TABLE: &[Row] = &[
    (
        "a-ca",
        || json!({"isCA": true, "commonName": "A lower CA"}),
        "ca-not-allowed",
    ),
    (
        "another-usage",
        || json!({"dnsNames": ["usage.e2e.example"], "usages": ["signing", "data encipherment"]}),
        "usage-not-allowed",
    ),
    (
        "another-purpose",
        || json!({"dnsNames": ["purpose.e2e.example"], "usages": ["digital signature", "code signing"]}),
        "usage-not-allowed",
    ),
    (
        "an-other-name",
        || json!({"otherNames": [{"oid": "1.3.6.1.4.1.311.20.2.3", "utf8Value": "upn@domain.test"}]}),
        "san-not-allowed",
    ),
    (
        "an-underscore",
        || json!({"dnsNames": ["a_b.e2e.example"]}),
        "bad-san",
    ),
    (
        "too-many-names",
        || json!({"dnsNames": (0..101).map(|number| format!("n{number}.e2e.example")).collect::<Vec<_>>()}),
        "too-many-sans",
    ),
    (
        "more-than-a-year",
        || json!({"dnsNames": ["year.e2e.example"], "duration": "10000h"}),
        "duration-too-long",
    ),
];

/// Creates a Certificate, waits until it says that its request was refused for this reason, and deletes it.
async fn is_refused(
    objects: &Objects,
    issuer: &IssuerName,
    rule: &str,
    spec: Value,
    slug: &str,
) -> Result<()> {
    let name = named(rule, "refused");
    objects.create_certificate(&name, issuer, spec).await?;
    let certificates = objects.of(CERTIFICATE, NAMESPACE);
    let certificate = objects.until(&certificates, &name, has_failed).await?;
    let message = condition(&certificate, "Issuing")["message"]
        .as_str()
        .unwrap_or_default();
    ensure!(message.contains(&format!("{slug}: ")), "{rule}: {message}");
    let failed = &certificate.data["status"]["lastFailureTime"];
    ensure!(failed.is_string(), "{rule}: no lastFailureTime");
    objects.delete(&certificates, &name).await
}

fn has_failed(certificate: &DynamicObject) -> bool {
    condition(certificate, "Issuing")["reason"] == "Failed"
}

#[tokio::test]
async fn the_default_profile_refuses_these_certificates_and_says_why() -> Result<()> {
    let objects = Objects::new().await?;
    let issuer = IssuerName::cluster(DEFAULT_PROFILE);
    let each = TABLE
        .iter()
        .map(|(rule, spec, slug)| is_refused(&objects, &issuer, rule, spec(), slug));
    futures::future::try_join_all(each).await?;
    Ok(())
}

/// The issuing certificate of this issuer ends in 30 days, and the request asks for 90.
#[tokio::test]
async fn a_certificate_that_would_outlive_the_ca_is_refused_by_default() -> Result<()> {
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let issuer = IssuerName::cluster("ending");
    let key = stage
        .authority()
        .token()
        .generate_key("ending", &[5], KeyKind::P256)?;
    let ending = CaProfile::named("Ending").valid_hours(-1, 30 * 24);
    let ending = stage.authority().root().issue(&key, &ending)?;
    let mut spec = stage.authority().issuer_spec();
    spec["key"] = json!({"label": "ending"});
    spec["certificate"]["pem"] = ending.pem().into();
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    stage.cluster().issuer_is_ready(&issuer).await?;
    let wanted = || json!({"dnsNames": ["long.e2e.example"]});
    is_refused(
        &objects,
        &issuer,
        "longer-than-the-ca",
        wanted(),
        "exceeds-ca-validity",
    )
    .await
}

/// A refusal is final for the request. cert-manager creates another request after its back-off.
#[tokio::test]
async fn a_refused_certificate_is_issued_once_the_profile_allows_it() -> Result<()> {
    let rule = "a_refused_certificate_is_issued_once_the_profile_allows_it";
    let (objects, stage) = (Objects::new().await?, stage().await?);
    let issuer = IssuerName::cluster("mended");
    let mut spec = stage.authority().issuer_spec();
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    stage.cluster().issuer_is_ready(&issuer).await?;
    let name = named(rule, "cluster");
    let wanted =
        json!({"emailAddresses": ["alice@example.com"], "usages": ["digital signature", "s/mime"]});
    objects.create_certificate(&name, &issuer, wanted).await?;
    objects
        .until(&objects.of(CERTIFICATE, NAMESPACE), &name, has_failed)
        .await?;
    spec["profile"] = json!({"usages": {"allowed": ["digital signature", "s/mime"]}});
    stage.cluster().apply_issuer(&issuer, &spec).await?;
    validations::all(&Issued::wait(&objects, &name).await?, &[])
}
