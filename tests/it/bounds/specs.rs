//! Tests the largest issuers that the schema admits, and an issuer without a grant.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use pkcs11_issuer::{
    api::{
        IssuerName,
        issuer::{IssuerSpec, Reason},
    },
    config::{Config, Labels},
    metrics::Metrics,
    pins::{
        TokenPin,
        source::PinOrigin,
        store::{FileStore, PinStore},
    },
    pipeline::{ChainPem, Keys, NotProven, ParsedChain, SigningClaim, prove},
    signers::ConfiguredToken,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P521_SHA512,
};
use serde_json::{Value, json};

use super::within_budget;

/// Number of certificates in the crafted bundle: as many as a bundle may have.
const CERTIFICATES: usize = 16;

/// Returns a profile with as many entries of each kind as the schema allows, within the API server's size limit.
pub(super) fn largest_profile() -> Value {
    let name = |number: usize| {
        format!(
            "n{number}.{{{{namespace}}}}.{}",
            "a.".repeat(100) + "example"
        )
    };
    let dns: Vec<_> = (0..200).map(|n| format!("*.{}", name(n))).collect();
    let denied: Vec<_> = (0..200).map(name).collect();
    let ip: Vec<_> = (0..200)
        .map(|n| format!("10.{}.{}.0/24", n / 256, n % 256))
        .collect();
    let email: Vec<_> = (0..200)
        .map(|n| format!("m{n}@{}example", "a.".repeat(100)))
        .collect();
    let uri: Vec<_> = (0..200)
        .map(|n| format!("https://example/{n}/{}/*", "a/".repeat(900)))
        .collect();
    let blocked: Vec<_> = (0..1000).map(|n| format!("{n:064x}")).collect();
    json!({
        "keys": {"blockedSpkiSha256": blocked},
        "sans": {
            "max": 1000,
            "allowed": {"dns": dns, "ip": ip, "email": email, "uri": uri},
            "denied": {"dns": denied, "ip": ip},
        },
    })
}

fn spec(certificate: Value, profile: Value) -> Result<IssuerSpec> {
    let spec = json!({"token": "t", "certificate": certificate, "profile": profile});
    Ok(serde_json::from_value(spec)?)
}

/// Returns certificates with the same name and without key identifiers, each signed by the next: only the signatures tell
/// which signed which.
fn crafted_bundle() -> Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "a");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let mut bundle = Vec::new();
    let mut signer = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512)?;
    for _ in 0..CERTIFICATES {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512)?;
        let certificate = params.signed_by(&key, &Issuer::from_params(&params, &signer))?;
        bundle.push(certificate.pem());
        signer = key;
    }
    bundle.reverse();
    Ok(bundle.concat())
}

/// Returns a configuration with a token that does not exist, which only the namespace `granted` may use.
fn config(folder: &Path) -> Result<Config> {
    let text = json!({
        "modules": {"m": {"path": "/nonexistent/pkcs11.so"}},
        "tokens": {"t": {
            "module": "m",
            "label": "t",
            "pinFile": folder.join("pin"),
            "grants": [{"namespaces": ["granted"], "keys": ["*"]}],
        }},
    });
    Ok(Config::parse(Path::new("config.yaml"), &text.to_string())?)
}

/// Does a whole look at an issuer on one thread, as in the controller, and measures how long it blocks that thread.
fn look(what: &str, spec: &IssuerSpec, chain: String) -> Result<Arc<NotProven>> {
    let folder = tempfile::tempdir()?;
    let config = config(folder.path())?;
    let name = IssuerName {
        namespace: Some("granted".to_owned()),
        name: "own".to_owned(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let found = runtime.block_on(async {
        let metrics = Arc::new(Metrics::new("0", "0"));
        let pin = TokenPin::new(
            PinStore::File(FileStore::new(folder.path().join("record"))),
            PinOrigin::File(folder.path().join("pin")),
            "bounds".to_owned(),
            2,
        );
        let token = config.token("t").context("no token")?;
        let reserved = Arc::default();
        let worker = Path::new("/nonexistent");
        let token = ConfiguredToken::start(token, worker, pin, &reserved, &metrics);
        let pem = ChainPem {
            chain: chain.into_bytes(),
            root: None,
        };
        let labels = Labels::new();
        let now = Timestamp::from_second(1_800_000_000)?;
        let before = super::thread_time();
        drop(prove::check(
            spec,
            spec.key.as_ref(),
            &ParsedChain::new(pem.clone()),
            now,
        ));
        println!(
            "{what}: {:?} of the other thread",
            super::thread_time() - before
        );
        let (keys, since) = (Keys::default(), Instant::now());
        let looking = async {
            let claim = SigningClaim {
                spec,
                key: spec.key.as_ref(),
                name: &name,
                labels: &labels,
                chain: &Arc::new(ParsedChain::parse(pem).await),
                beside: &Arc::default(),
                token: &token,
            };
            prove(claim, None, &keys, since, &metrics, now).await
        };
        let before = super::thread_time();
        let found = looking.await;
        let taken = super::thread_time() - before;
        println!("{what}: {taken:?} of the controller's thread");
        assert!(
            taken < super::BUDGET * super::UNOPTIMIZED,
            "{what}: {taken:?}"
        );
        token.token().shutdown().await;
        anyhow::Ok(found)
    })?;
    found.err().context("the issuer must not be proven")
}

#[test]
fn the_largest_specifications_and_bundles_do_not_block_the_controllers_thread() -> Result<()> {
    let bundle = crafted_bundle()?;
    let crafted = spec(json!({"pem": bundle}), json!({}))?;
    // The result does not matter, only that the bundle was checked.
    let found = look("crafted bundle", &crafted, bundle.clone())?;
    assert_ne!(found.reason(), Reason::SpecInvalid, "{found:?}");

    let profile = largest_profile();
    assert!(profile.to_string().len() > 500_000);
    let certificate = rig::Authority::new(softhsm_test_helpers::KeyKind::P256)?;
    let chain = certificate.chain().into_values().collect::<String>();
    let largest = spec(json!({"pem": chain}), profile.clone())?;
    let found = look("largest profile", &largest, chain.clone())?;
    // The whole profile was read before the missing token was noticed.
    assert_eq!(found.reason(), Reason::TokenMisconfigured, "{found:?}");

    let mut larger = profile;
    larger["sans"]["allowed"]["dns"] = json!(vec!["a"; 100_000]);
    let larger = spec(json!({"pem": chain}), larger)?;
    let found = look("larger profile than the schema allows", &larger, chain)?;
    assert_eq!(found.reason(), Reason::SpecInvalid);
    let message = found.message();
    assert!(
        message.contains("spec.profile.sans.allowed.dns has 100000 entries, at most 200"),
        "{message}"
    );
    Ok(())
}

#[test]
fn an_issuer_without_a_grant_costs_only_a_lookup_in_the_configuration() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = config(folder.path())?;
    let token = config.token("t").context("no token")?;
    for (namespace, granted) in [
        (Some("granted"), true),
        (Some("other"), false),
        (None, false),
    ] {
        let name = IssuerName {
            namespace: namespace.map(str::to_owned),
            name: "own".to_owned(),
        };
        let checked = within_budget("no grant", || {
            prove::check_granted(&name, &Labels::new(), token)
        });
        assert_eq!(checked.is_ok(), granted, "{name}");
        if let Err(why) = checked {
            assert_eq!(why.reason(), Reason::NotGranted);
            assert!(why.message().contains("ask the operator"), "{why}");
        }
    }
    Ok(())
}
