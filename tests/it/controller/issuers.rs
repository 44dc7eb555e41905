//! An issuer that cannot sign says what is wrong and what to do.

use anyhow::Result;
use control_plane::until;
use rig::{Authority, IssuerName, PATIENCE, Rig, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, Kept, KeyKind};

use super::{TENANT, shared_rig};

/// Applies an issuer with this spec, waits until it has this reason, and returns the message.
async fn not_ready(rig: &Rig, name: &IssuerName, spec: &Value, reason: &str) -> Result<String> {
    rig.cluster().apply_issuer(name, spec).await?;
    let status = rig
        .cluster()
        .issuer_reaches(name, |status| {
            status.ready().is_some_and(|ready| ready.reason == reason)
        })
        .await?;
    let ready = status.ready().unwrap();
    assert_eq!(ready.status, "False");
    let parts = ["\"WARN\"", &name.to_string(), reason];
    until("a warning in the log", PATIENCE, async || {
        let log = rig.controller().process().log()?;
        let mut lines = log.lines();
        let warned = lines.any(|line| parts.iter().all(|part| line.contains(part)));
        Ok(warned.then_some(()))
    })
    .await?;
    until("the issuance log to say so", PATIENCE, async || {
        let lines = rig.controller().issuance_log()?;
        let said = lines.iter().any(|line| {
            line["event"] == "issuer-not-ready"
                && line["issuer"]["name"] == name.name()
                && line["reason"] == reason
        });
        Ok(said.then_some(()))
    })
    .await?;
    let plane = rig.cluster().plane();
    let get = [&["get"][..], &name.selected()].concat();
    let table = plane.kubectl(&get).await?;
    assert!(table.contains(reason), "{table}");
    let wide = [&get[..], &["--output", "wide"]].concat();
    let wide = plane.kubectl(&wide).await?;
    assert!(wide.contains(&ready.message), "{wide}");
    Ok(ready.message)
}

fn with_certificate(authority: &Authority, certificate: Value) -> Value {
    let mut spec = authority.issuer_spec();
    spec["certificate"] = certificate;
    spec
}

#[tokio::test]
async fn a_ready_issuer_shows_its_token_key_and_certificate() -> Result<()> {
    let rig = shared_rig().await?;
    let status = rig.cluster().issuer_is_ready(&super::issuer()).await?;
    let ready = status.ready().unwrap();
    assert_eq!(ready.reason, "Verified");
    let json = status.json();
    assert_eq!(json["token"]["label"], "issuing");
    assert_eq!(json["token"]["manufacturer"], "SoftHSM project");
    assert_eq!(json["key"]["algorithm"], "P-256");
    assert_eq!(json["key"]["label"], "issuing-ca");
    assert_eq!(json["key"]["idHex"], "02");
    assert_eq!(json["key"]["sensitive"], true);
    assert_eq!(json["key"]["extractable"], false);
    assert_eq!(json["certificate"]["subject"], "CN=Test issuing");
    assert!(json["conditions"][0]["observedGeneration"].is_u64());
    assert!(json["lastSignature"].is_string());
    Ok(())
}

#[tokio::test]
async fn an_issuer_says_why_its_certificate_cannot_issue() -> Result<()> {
    let rig = shared_rig().await?;
    let authority = rig.authority();
    let key = authority.issuing().key();
    let root = authority.root();
    let made = |profile: CaProfile| root.issue(key, &profile);
    let expired = made(CaProfile::named("Test expired").expired())?;
    let leaf = made(CaProfile::named("Test leaf").not_a_ca())?;
    let cases = [
        (
            "expired",
            expired.pem(),
            "CertificateExpired",
            "Test expired",
        ),
        ("leaf", leaf.pem(), "CertificateInvalid", "CA:TRUE"),
        ("no-pem", "nothing".to_owned(), "CertificateInvalid", "PEM"),
    ];
    for (name, pem, reason, named) in cases {
        let spec = with_certificate(authority, json!({"pem": pem, "rootPem": root.pem()}));
        let message = not_ready(rig, &IssuerName::cluster(name), &spec, reason).await?;
        assert!(message.contains(named), "{name}: {message}");
    }
    Ok(())
}

#[tokio::test]
async fn a_key_that_does_not_match_the_certificate_never_makes_an_issuer_ready() -> Result<()> {
    let rig = shared_rig().await?;
    let authority = rig.authority();
    let mut spec = authority.issuer_spec();
    spec["key"] = json!({"label": "root-ca"});
    let message = not_ready(rig, &IssuerName::cluster("mismatch"), &spec, "KeyMismatch").await?;
    assert!(message.contains("root-ca"), "{message}");
    spec["key"] = json!({"label": "nothing"});
    not_ready(rig, &IssuerName::cluster("no-key"), &spec, "KeyNotFound").await?;
    let other = Authority::new(KeyKind::P256)?;
    let spec = with_certificate(
        authority,
        json!({"pem": other.issuing().pem(), "rootPem": other.root().pem()}),
    );
    not_ready(rig, &IssuerName::cluster("other-ca"), &spec, "KeyMismatch").await?;
    Ok(())
}

#[tokio::test]
async fn a_key_that_can_leave_the_token_never_makes_an_issuer_ready() -> Result<()> {
    let rig = shared_rig().await?;
    let authority = rig.authority();
    let kept = Kept {
        extractable: true,
        ..Kept::PROTECTED
    };
    let token = authority.token();
    let key = token.generate_key_kept("extractable-ca", &[7], KeyKind::P256, kept)?;
    let certificate = authority
        .root()
        .issue(&key, &CaProfile::named("Test extractable"))?;
    let pem = json!({"pem": certificate.pem(), "rootPem": authority.root().pem()});
    let mut spec = with_certificate(authority, pem);
    spec["key"] = json!({"label": "extractable-ca"});
    let name = IssuerName::cluster("extractable");
    let message = not_ready(rig, &name, &spec, "KeyUnprotected").await?;
    assert!(
        message.contains("CKA_EXTRACTABLE is true and must be false"),
        "{message}"
    );
    Ok(())
}

#[tokio::test]
async fn the_key_of_the_certificate_is_found_without_a_name() -> Result<()> {
    let rig = shared_rig().await?;
    let mut spec = rig.authority().issuer_spec();
    spec.as_object_mut().unwrap().remove("key");
    let name = IssuerName::cluster("by-certificate");
    rig.cluster().apply_issuer(&name, &spec).await?;
    let status = rig.cluster().issuer_is_ready(&name).await?;
    assert_eq!(status.json()["key"]["label"], "issuing-ca");
    Ok(())
}

#[tokio::test]
async fn an_issuer_names_an_unknown_token_a_missing_secret_and_a_missing_root() -> Result<()> {
    let rig = shared_rig().await?;
    let authority = rig.authority();
    let mut spec = authority.issuer_spec();
    spec["token"] = json!("nowhere");
    let message = not_ready(rig, &IssuerName::cluster("no-token"), &spec, "TokenUnknown").await?;
    assert!(message.contains("nowhere"), "{message}");
    let spec = authority.issuer_spec_with_secret("not-there");
    let message = not_ready(
        rig,
        &IssuerName::cluster("no-secret"),
        &spec,
        "CertificateMissing",
    )
    .await?;
    assert!(
        message.contains("Secret pkcs11-issuer-system/not-there does not exist"),
        "{message}"
    );
    let spec = with_certificate(authority, json!({"pem": authority.issuing().pem()}));
    not_ready(rig, &IssuerName::cluster("no-root"), &spec, "RootMissing").await?;
    Ok(())
}

#[tokio::test]
async fn an_issuer_without_a_grant_says_so_before_anything_it_names_is_read() -> Result<()> {
    let rig = shared_rig().await?;
    rig.cluster()
        .create_namespace_with_issuers("stranger")
        .await?;
    let stranger = IssuerName::namespaced("stranger", "own");
    let spec = rig.authority().issuer_spec_with_secret("not-there");
    let message = not_ready(rig, &stranger, &spec, "NotGranted").await?;
    assert_eq!(
        message,
        "the operator's configuration has no grant for issuers in namespace stranger on token \"issuing\"; ask the operator for one, or name another token"
    );
    Ok(())
}

#[tokio::test]
async fn the_api_server_refuses_an_issuer_that_contradicts_itself() -> Result<()> {
    let rig = shared_rig().await?;
    let authority = rig.authority();
    let two = json!({"pem": authority.issuing().pem(), "secretRef": {"name": "x"}});
    let mut nameless = authority.issuer_spec();
    nameless["key"] = json!({});
    let mut odd = authority.issuer_spec();
    odd["key"] = json!({"idHex": "abc"});
    let cases = [
        (
            with_certificate(authority, two),
            "exactly one of secretRef, configMapRef and pem",
        ),
        (
            with_certificate(authority, json!({})),
            "exactly one of secretRef, configMapRef and pem",
        ),
        (nameless, "give label, idHex or both"),
        (odd, "idHex"),
    ];
    let crl = |crl: Value| {
        let mut spec = authority.issuer_spec();
        spec["crl"] = crl;
        spec
    };
    let mut denied = crl(json!({}));
    denied["profile"] = json!({"extensions": {"noRevAvail": true}});
    let of_crls = [
        (
            crl(json!({"validity": "59m"})),
            "validity must be 1h to 2160h",
        ),
        (
            crl(json!({"validity": "2160h1s"})),
            "validity must be 1h to 2160h",
        ),
        (
            crl(json!({"validity": "1h", "refresh": "60m"})),
            "less than validity",
        ),
        (crl(json!({"refresh": "59s"})), "at least 1m"),
        (crl(json!({"shards": 2})), "several shards need a url"),
        (
            crl(json!({"shards": 257, "url": "http://a.example"})),
            "spec.crl.shards",
        ),
        (
            crl(json!({"parents": [{"kind": "Pod", "name": "a", "key": "b"}]})),
            "spec.crl.parents[0].kind",
        ),
        (
            denied,
            "crl cannot be combined with profile.extensions.noRevAvail",
        ),
    ];
    for (spec, text) in cases.into_iter().chain(of_crls) {
        let name = IssuerName::namespaced(TENANT, "contradiction");
        let error = rig.cluster().apply_issuer(&name, &spec).await.unwrap_err();
        assert!(format!("{error:#}").contains(text), "{error:#}");
    }
    // The number of shards never changes while there are CRLs.
    let name = IssuerName::cluster("shards");
    let mut spec =
        crl(json!({"shards": 4, "url": "http://a.example", "validity": "1h", "refresh": "59m59s"}));
    spec["token"] = json!("nowhere");
    rig.cluster().apply_issuer(&name, &spec).await?;
    spec["crl"]["shards"] = json!(8);
    let error = rig.cluster().apply_issuer(&name, &spec).await.unwrap_err();
    assert!(
        format!("{error:#}").contains("shards never changes"),
        "{error:#}"
    );
    spec["crl"]["shards"] = json!(4);
    spec["crl"]["validity"] = json!("2160h");
    rig.cluster().apply_issuer(&name, &spec).await?;
    Ok(())
}

#[tokio::test]
async fn serial_numbers_may_come_from_the_token() -> Result<()> {
    let rig = shared_rig().await?;
    let mut spec = rig.authority().issuer_spec();
    spec["profile"] = json!({"serial": {"source": "HSM"}});
    let name = IssuerName::cluster("token-serials");
    rig.cluster().apply_issuer(&name, &spec).await?;
    rig.cluster().issuer_is_ready(&name).await?;
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("serial", request_spec(&name, &csr_for("web.example")?))
        .await?;
    requests.approve("serial").await?;
    requests.reaches("serial", "Issued").await?;
    Ok(())
}
