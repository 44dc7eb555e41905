//! No issuer signs with the key of the checkpoints, whatever token or name it finds the key by.

use anyhow::{Context as _, Result};
use rig::{Authority, Cluster, Controller, ControllerOptions, IssuerName, Options, apply_rights};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind, SoftwareKey};

use super::programs;

/// Returns the spec of an issuer that finds its key on the second token entry.
fn spec(authority: &Authority, key: &str, certificate: &str) -> Value {
    let mut spec = authority.issuer_spec();
    spec["token"] = json!("alias");
    spec["key"] = json!({"label": key});
    spec["certificate"]["pem"] = json!(certificate);
    spec
}

#[tokio::test]
async fn no_issuer_signs_with_the_checkpoint_key_by_another_name_of_token_or_key() -> Result<()> {
    let authority = Authority::new(KeyKind::P256)?;
    let key = SoftwareKey::generate()?;
    let audit = authority.token().import_key("audit", &[9], &key)?;
    let copy = authority.token().import_key("copy-ca", &[10], &key)?;
    let root = authority.root();
    let audit = root.issue(&audit, &CaProfile::named("Test audit"))?.pem();
    let copy = root.issue(&copy, &CaProfile::named("Test copy"))?.pem();

    // The token of the checkpoints is away at first. A second entry names the same token, without grants.
    let mut configuration = authority.configuration_with_checkpoints(&[]);
    let mut alias = configuration["tokens"]["issuing"].clone();
    let entry = alias.as_object_mut().context("no token")?;
    entry.remove("label");
    entry.remove("grants");
    entry.insert("serial".to_owned(), json!(authority.token().serial()));
    configuration["tokens"]["alias"] = alias;
    configuration["modules"]["absent"] = json!({"path": "/nonexistent/pkcs11.so"});
    configuration["tokens"]["issuing"]["module"] = json!("absent");

    let programs = programs()?;
    let cluster = Cluster::start(&programs, Options::default().cert_manager).await?;
    let values = json!({"audit": Authority::checkpoints()});
    apply_rights(cluster.plane(), &values).await?;
    let options = ControllerOptions::new(configuration.to_string(), &programs);
    let controller = Controller::start(&cluster, &options).await?;
    let [usual, by_name, by_copy] = ["usual", "by-name", "by-copy"].map(IssuerName::cluster);
    let own = spec(&authority, "issuing-ca", &authority.issuing().pem());
    for (name, spec) in [
        (&usual, own),
        (&by_name, spec(&authority, "audit", &audit)),
        (&by_copy, spec(&authority, "copy-ca", &copy)),
    ] {
        cluster.apply_issuer(name, &spec).await?;
    }
    let refused = async |name: &IssuerName| {
        let reached = cluster.issuer_reaches(name, |status| {
            let ready = status.ready();
            ready.is_some_and(|ready| ready.reason == "KeyForCheckpoints")
        });
        let ready = reached.await?.ready().context("no condition")?;
        anyhow::Ok((ready.status, ready.message))
    };
    let (status, message) = refused(&by_name).await?;
    assert_eq!(status, "False");
    assert!(
        message.contains("audit.checkpoints") && message.contains("\"alias\""),
        "{message}"
    );
    cluster.issuer_is_ready(&usual).await?;
    // Nothing tells yet that this is the same key.
    cluster.issuer_is_ready(&by_copy).await?;

    configuration["tokens"]["issuing"]["module"] = json!("softhsm");
    controller.configure(&configuration.to_string())?;
    controller.verifier_key().await?;
    refused(&by_copy).await?;
    refused(&by_name).await?;
    cluster.issuer_is_ready(&usual).await?;
    Ok(())
}
