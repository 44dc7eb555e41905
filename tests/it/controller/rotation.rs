//! Certificate, key and PIN of an issuer may change while requests are in flight.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use anyhow::{Context as _, Result};
use rig::{IssuerName, csr_for, request_spec};
use serde_json::json;
use softhsm_test_helpers::{CaCertificate, CaProfile, KeyKind};
use x509_parser::{extensions::ParsedExtension, pem::Pem};

use super::{TENANT, counted::Counted, issuer, openssl_verifies, own_rig, shared_rig};

type KeyIdentifier = Option<Vec<u8>>;

/// Returns the authority key identifier and the subject key identifier of a certificate.
fn identifiers(pem: &[u8]) -> Result<(KeyIdentifier, KeyIdentifier)> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem)?;
    let certificate = pem.parse_x509()?;
    let (mut authority, mut own) = (None, None);
    for extension in certificate.extensions() {
        let parsed = extension.parsed_extension();
        if let ParsedExtension::AuthorityKeyIdentifier(id) = parsed {
            authority = id.key_identifier.as_ref().map(|id| id.0.to_vec());
        } else if let ParsedExtension::SubjectKeyIdentifier(id) = parsed {
            own = Some(id.0.to_vec());
        }
    }
    Ok((authority, own))
}

/// Returns leaf and issuing certificate of a chain, each in PEM.
fn parts(chain: &str) -> Result<[String; 2]> {
    const END: &str = "-----END CERTIFICATE-----\n";
    let mut parts = chain.split_inclusive(END).map(str::to_owned);
    let both = [
        parts.next().context("no leaf")?,
        parts.next().context("no issuer")?,
    ];
    assert_eq!(parts.next(), None);
    assert!(Pem::iter_from_buffer(both[0].as_bytes()).all(|pem| pem.is_ok()));
    Ok(both)
}

#[tokio::test]
async fn rotating_key_and_certificate_under_load_never_mixes_old_and_new() -> Result<()> {
    const SECRET: &str = "rotating";
    let rig = own_rig(&["--probe-interval", "1s"]).await?;
    let name = IssuerName::cluster("rotating");
    let authority = rig.authority();
    let put = async |issuing: &CaCertificate, root: &CaCertificate| {
        let chain = BTreeMap::from([("tls.crt", issuing.pem()), ("ca.crt", root.pem())]);
        rig.cluster()
            .apply_secret(rig::NAMESPACE, SECRET, &chain)
            .await
    };
    put(authority.issuing(), authority.root()).await?;
    let mut spec = authority.issuer_spec_with_secret(SECRET);
    rig.cluster().apply_issuer(&name, &spec).await?;
    rig.cluster().issuer_is_ready(&name).await?;
    let requests = rig.cluster().requests("default").await?;
    let rotated = Cell::new(false);
    let load = async {
        let mut asked = 0_usize;
        while !rotated.get() {
            let web = format!("web-{asked}");
            let csr = csr_for("web.example")?;
            requests.create(&web, request_spec(&name, &csr)).await?;
            requests.approve(&web).await?;
            asked += 1;
        }
        anyhow::Ok(asked)
    };
    let rotate = async {
        for round in 0..6_u8 {
            // Every other round reuses the label of the key before, so two keys have the same label.
            let label = match round % 2 {
                0 => "issuing-ca".to_owned(),
                _ => format!("issuing-{round}"),
            };
            let key = authority
                .token()
                .generate_key(&label, &[0x10 + round], KeyKind::P256)?;
            let root = authority
                .root()
                .key()
                .self_signed(&CaProfile::named(&format!("Test root {round}")))?;
            let issuing = root.issue(&key, &CaProfile::named("Test issuing").path_length(0))?;
            spec["key"]["label"] = json!(label);
            // The order of the two changes must not matter.
            if round % 3 == 0 {
                rig.cluster().apply_issuer(&name, &spec).await?;
                put(&issuing, &root).await?;
            } else {
                put(&issuing, &root).await?;
                rig.cluster().apply_issuer(&name, &spec).await?;
            }
            let der = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, issuing.der());
            let sha256 = hex::encode(der);
            let reached = rig.cluster().issuer_reaches(&name, |status| {
                status.ready().is_some_and(|ready| ready.status == "True")
                    && status.json()["certificate"]["sha256"] == sha256
            });
            reached.await?;
        }
        rotated.set(true);
        anyhow::Ok(())
    };
    let (asked, ()) = tokio::try_join!(load, rotate)?;
    let mut issuers = BTreeSet::new();
    for number in 0..asked {
        let status = requests.reaches(&format!("web-{number}"), "Issued").await?;
        let (chain, ca) = (status.certificate().unwrap(), status.ca().unwrap());
        openssl_verifies(&chain, &ca)?;
        let [leaf, issuing] = parts(&chain)?;
        let (signed_by, _) = identifiers(leaf.as_bytes())?;
        let (_, own) = identifiers(issuing.as_bytes())?;
        assert!(own.is_some() && signed_by == own, "web-{number}");
        issuers.insert(issuing);
    }
    assert!(
        issuers.len() >= 4,
        "{asked} requests under {} issuing certificates: too little load for this test",
        issuers.len()
    );
    Ok(())
}

#[tokio::test]
async fn a_changed_config_map_is_used_without_a_change_to_the_issuer() -> Result<()> {
    let case = Counted::start(&["--probe-interval", "1s"], |_| {}).await?;
    let put = async |pem: String| {
        let map = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": rig::NAMESPACE, "name": "chain"},
            "data": {"tls.crt": pem, "ca.crt": case.authority.root().pem()},
        });
        case.cluster.plane().apply(&map.to_string()).await
    };
    put("none yet".to_owned()).await?;
    let name = IssuerName::cluster("by-config-map");
    let mut spec = case.authority.issuer_spec();
    spec["certificate"] = json!({"configMapRef": {"name": "chain"}});
    case.cluster.apply_issuer(&name, &spec).await?;
    let invalid = case.cluster.issuer_reaches(&name, |status| {
        status
            .ready()
            .is_some_and(|ready| ready.reason == "CertificateInvalid")
    });
    invalid.await?;
    put(case.authority.issuing().pem()).await?;
    let first = case.cluster.issuer_is_ready(&name).await?;
    let again = case.authority.root().issue(
        case.authority.issuing().key(),
        &CaProfile::named("Test issuing"),
    )?;
    put(again.pem()).await?;
    let renewed = case.cluster.issuer_reaches(&name, |status| {
        status.json()["certificate"]["sha256"] != first.json()["certificate"]["sha256"]
    });
    let generation = renewed.await?.ready().unwrap().observed_generation;
    assert_eq!(generation, Some(1));
    Ok(())
}

#[tokio::test]
async fn a_pin_secret_and_its_name_may_change_and_a_wrong_pin_is_tried_once() -> Result<()> {
    let case = Counted::start(&["--probe-interval", "1s"], |all| {
        let token = all["tokens"]["issuing"].as_object_mut().unwrap();
        token.remove("pinFile");
        token.insert("pinFrom".to_owned(), json!({"clusterIssuers": true}));
    })
    .await?;
    let name = issuer();
    let reason = async |reason: &str| {
        let reached = case.cluster.issuer_reaches(&name, |status| {
            status.ready().is_some_and(|ready| ready.reason == reason)
        });
        reached.await.map(drop)
    };
    let put = async |secret: &str, pin: &str| {
        let pin = BTreeMap::from([("pin", pin.to_owned())]);
        case.cluster
            .apply_secret(rig::NAMESPACE, secret, &pin)
            .await
    };
    reason("PinRequired").await?;
    put("first", "wrong").await?;
    let mut spec = case.authority.issuer_spec();
    spec["pinSecretRef"] = json!({"name": "first", "key": "pin"});
    case.cluster.apply_issuer(&name, &spec).await?;
    reason("LoginRefused").await?;
    put("second", case.authority.token().user_pin()).await?;
    spec["pinSecretRef"]["name"] = json!("second");
    case.cluster.apply_issuer(&name, &spec).await?;
    reason("Verified").await?;
    assert_eq!(
        case.logins()?,
        2,
        "one login with the wrong PIN and one with the right PIN"
    );
    // All issuers of a token must name the same PIN.
    let other = IssuerName::cluster("other");
    spec["pinSecretRef"]["name"] = json!("first");
    case.cluster.apply_issuer(&other, &spec).await?;
    let conflict = case.cluster.issuer_reaches(&other, |status| {
        status
            .ready()
            .is_some_and(|ready| ready.reason == "PinConflict")
    });
    conflict.await?;
    reason("Verified").await
}

#[tokio::test]
async fn requests_for_a_deleted_issuer_say_so_and_are_signed_when_it_returns() -> Result<()> {
    let rig = shared_rig().await?;
    let name = IssuerName::namespaced(TENANT, "comes-back");
    let mut spec = rig.authority().issuer_spec();
    spec["key"] = json!({"label": "nothing"});
    rig.cluster().apply_issuer(&name, &spec).await?;
    let requests = rig.cluster().requests(TENANT).await?;
    let csr = csr_for("web.example")?;
    requests
        .create("comes-back", request_spec(&name, &csr))
        .await?;
    requests.approve("comes-back").await?;
    let says = async |text: &str| {
        let said = requests.until("comes-back", |status| {
            status
                .ready()
                .is_some_and(|ready| ready.message.contains(text))
        });
        said.await.map(drop)
    };
    says("its status says KeyNotFound").await?;
    rig.cluster()
        .plane()
        .kubectl(&["delete", "pkcs11issuer", "comes-back", "-n", TENANT])
        .await?;
    says("comes-back to be created").await?;
    rig.cluster()
        .apply_issuer(&name, &rig.authority().issuer_spec())
        .await?;
    requests.reaches("comes-back", "Issued").await?;
    Ok(())
}
