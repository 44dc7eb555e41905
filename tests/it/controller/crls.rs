//! CRLs as the controller stores, signs and serves them, seen from outside.

mod ending;
pub(super) mod outside;
mod soak;

use std::{process::Command, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use jiff::Timestamp;
use pkcs11_issuer::issuance::crl::{ReadCrl, RevocationReason};
use rig::{IssuerName, NAMESPACE, PATIENCE, Rig};
use serde_json::{Value, json};

use self::outside::{Outsider, Published, ca_of, fetch, serial};
use super::shared_rig;

/// Waits until a condition of an issuer has this reason, and returns its message.
async fn reaches(rig: &Rig, issuer: &IssuerName, type_: &str, reason: &str) -> Result<String> {
    let what = format!("{type_} of the issuer to say {reason}");
    until(&what, PATIENCE, async || {
        let status = rig.cluster().issuer_status(issuer).await?;
        let found = status.condition(type_);
        Ok(found
            .filter(|found| found.reason == reason)
            .map(|found| found.message))
    })
    .await
}

/// Asks for a look at an issuer, so that its status is up to date at once.
async fn look(rig: &Rig, issuer: &IssuerName) -> Result<()> {
    static LOOKS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let number = LOOKS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let annotation = format!("pkcs11-issuer.dev/look={number}");
    let mut annotate = vec!["annotate", "--overwrite"];
    annotate.extend(issuer.selected());
    annotate.push(&annotation);
    rig.cluster().plane().kubectl(&annotate).await.map(drop)
}

/// Verifies a CRL under a CA certificate with openssl, and returns its text.
pub(super) fn openssl_reads(der: &[u8], ca: &str) -> Result<String> {
    let folder = tempfile::tempdir()?;
    let (crl, ca_file) = (folder.path().join("a.crl"), folder.path().join("ca.pem"));
    std::fs::write(&crl, der)?;
    std::fs::write(&ca_file, ca)?;
    let output = Command::new("openssl")
        .args(["crl", "-inform", "DER", "-noout", "-text", "-in"])
        .arg(&crl)
        .arg("-CAfile")
        .arg(&ca_file)
        .output()
        .context("run openssl")?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(told.contains("verify OK"), "{told}");
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The life of one CA's CRLs: signed, changed within ten seconds, kept over a restart, copied, and safe from a lost state.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_on_the_served_crl_within_ten_seconds_and_no_restart_or_lost_state_takes_it_back()
-> Result<()> {
    let rig = shared_rig().await?;
    let issuer = IssuerName::cluster("with-crls");
    let ca_pem = rig.authority().issuing().pem();
    let ca = ca_of(&ca_pem)?;
    let url = format!("http://{}/crl", rig.controller().crl_address().await?);
    let mut spec = rig.authority().issuer_spec();
    spec["crl"] = json!({"url": url});
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    rig.cluster().issuer_is_ready(&issuer).await?;

    let address = rig.controller().crl_address().await?;
    let first = until("the first CRL", PATIENCE, async || {
        Ok(fetch(&address, &ca, 0).await.ok().flatten())
    })
    .await?;
    let first = Published::read(&first)?;
    assert!(first.serials.is_empty());
    openssl_reads(&first.der, &ca_pem)?;

    let outsider = Outsider::start(rig.cluster()).await?;
    let begun = std::time::Instant::now();
    for number in 0..100 {
        outsider
            .revoke(&ca, number, RevocationReason::KeyCompromise)
            .await?;
    }
    outsider
        .revoke(&ca, 100, RevocationReason::CertificateHold)
        .await?;
    let second = until("the revocations on a CRL", PATIENCE, async || {
        let der = fetch(&address, &ca, 0).await?.context("no CRL")?;
        let crl = Published::read(&der)?;
        Ok((crl.serials.len() == 101).then_some(crl))
    })
    .await?;
    // Generous for a loaded machine, but far from the time of a renewal.
    ensure!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    assert!(second.number > first.number);
    let text = openssl_reads(&second.der, &ca_pem)?;
    assert!(
        text.contains("Key Compromise") && text.contains("Certificate Hold"),
        "{text}"
    );

    outsider.release(&ca, 100).await?;
    let third = until("the release on a CRL", PATIENCE, async || {
        let der = fetch(&address, &ca, 0).await?.context("no CRL")?;
        let crl = Published::read(&der)?;
        Ok((crl.serials.len() == 100).then_some(crl))
    })
    .await?;
    assert!(!third.serials.contains(&serial(100)));

    look(rig, &issuer).await?;
    reaches(rig, &issuer, "CRLPublished", "CrlPublished").await?;
    let status = rig.cluster().issuer_status(&issuer).await?;
    let shown = &status.json()["crl"];
    let time = |field: &str| {
        shown[field]
            .as_str()
            .unwrap_or_default()
            .parse::<Timestamp>()
    };
    let this_update = time("thisUpdate")?;
    let hours = |time: Timestamp| time.duration_since(this_update).as_hours();
    assert_eq!(shown["ca"], ca.to_string());
    assert_eq!(
        (hours(time("nextDue")?), hours(time("nextUpdate")?)),
        (24, 168)
    );
    let copy = format!("pkcs11-issuer-crl-published-{ca}-0");
    let get = [
        "get",
        "configmap",
        &copy,
        "--namespace",
        NAMESPACE,
        "-o",
        "json",
    ];
    until("the copy of the CRL", PATIENCE, async || {
        let map: Value = serde_json::from_str(&rig.cluster().plane().kubectl(&get).await?)?;
        let pem = map["data"]["crl.pem"].as_str().context("no PEM")?;
        let crls = ReadCrl::parse_pem(pem.as_bytes())?;
        Ok((crls[0].der() == third.der).then_some(()))
    })
    .await?;
    let log = rig.controller().issuance_log()?;
    let signed = log.iter().filter(|line| line["event"] == "crl-signed");
    let numbers: Vec<_> = signed
        .filter_map(|line| line["crl"]["number"].as_u64())
        .collect();
    assert!(numbers.contains(&first.number) && numbers.contains(&third.number));
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
    rig.controller().verified_issuance_log()?;

    // Somebody restores the state as it was before: nothing is signed, and nothing older is served.
    let head = format!("pkcs11-issuer-crl-{ca}-0");
    let delete = ["delete", "configmap", &head, "--namespace", NAMESPACE];
    rig.cluster().plane().kubectl(&delete).await?;
    look(rig, &issuer).await?;
    let why = reaches(rig, &issuer, "CRLPublished", "StateOlderThanPublished").await?;
    assert!(why.contains("crl import"), "{why}");
    let der = fetch(&address, &ca, 0).await?.context("no CRL")?;
    assert_eq!(der, third.der, "the published CRL is still served");

    let folder = tempfile::tempdir()?;
    let file = |name: &str, content: &[u8]| -> Result<std::path::PathBuf> {
        let path = folder.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path)
    };
    let (newest, certificate) = (
        file("newest.crl", &der)?,
        file("ca.pem", ca_pem.as_bytes())?,
    );
    let imported = Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
        .args(["crl", "import", "--namespace", NAMESPACE, "--certificate"])
        .arg(&certificate)
        .arg("--kubeconfig")
        .arg(rig.cluster().plane().admin_kubeconfig())
        .arg(&newest)
        .output()?;
    ensure!(
        imported.status.success(),
        "{}",
        String::from_utf8_lossy(&imported.stderr)
    );
    let told = String::from_utf8(imported.stdout)?;
    assert_eq!(
        told,
        format!(
            "CA {ca}, shard 0: CRL {} imported, 100 entries added, 100 in all\n",
            third.number
        )
    );
    let fourth = until("a CRL after the import", PATIENCE, async || {
        let der = fetch(&address, &ca, 0).await?.context("no CRL")?;
        let crl = Published::read(&der)?;
        Ok((crl.number > third.number).then_some(crl))
    })
    .await?;
    assert_eq!(fourth.serials, third.serials);
    look(rig, &issuer).await?;
    reaches(rig, &issuer, "CRLPublished", "CrlPublished").await?;

    // A later issuer of the same CA says something else.
    let other = IssuerName::cluster("with-other-crls");
    spec["crl"]["validity"] = json!("24h");
    rig.cluster().apply_issuer(&other, &spec).await?;
    let why = reaches(rig, &other, "Ready", "CrlConflict").await?;
    assert!(
        why.contains("with-crls") && why.contains("validity"),
        "{why}"
    );
    spec["crl"]["validity"] = json!("168h");
    rig.cluster().apply_issuer(&other, &spec).await?;
    rig.cluster().issuer_is_ready(&other).await?;
    outsider.stop().await
}
