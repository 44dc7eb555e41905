//! How many entries each way of publishing holds: `make soak`.

use std::{fs, path::Path, time::Instant};

use bench::Spent;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use pkcs11_issuer::issuance::crl::CaId;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason as Why, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

use super::*;
use crate::controller::{own_rig_with, rollover::Ca};

/// Entries with which a copy in a ConfigMap still exists, and with which it does not (`docs/crls.md`).
const COPIED: [u32; 2] = [8_400, 8_900];
/// Entries of a shard, which the page gives as the limit.
const MOST: u32 = 200_000;

/// Writes a CRL of the CA with this many entries to a file.
fn crl_with(ca: &Ca, entries: u32, number: u64, file: &Path) -> Result<()> {
    let then = date_time_ymd(2026, 1, 1);
    let revoked = |number: u32| RevokedCertParams {
        serial_number: SerialNumber::from([&[0x40; 12][..], &number.to_be_bytes()].concat()),
        revocation_time: then,
        reason_code: Some(Why::KeyCompromise),
        invalidity_date: None,
    };
    let content = CertificateRevocationListParams {
        this_update: then,
        next_update: date_time_ymd(2036, 1, 1),
        crl_number: SerialNumber::from(number),
        issuing_distribution_point: None,
        revoked_certs: (0..entries).map(revoked).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(fs::write(file, ca.issuing.crl(&content)?)?)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn each_way_of_publishing_holds_as_many_entries_as_its_page_says() -> Result<()> {
    let rig = shared_rig().await?;
    let ca = Ca::new(rig, "limits", 0x3a)?;
    let issuer = IssuerName::cluster("limits");
    let address = rig.controller().crl_address().await?;
    let mut spec = ca.fields();
    spec["token"] = json!("issuing");
    spec["crl"] = json!({"url": format!("http://{address}/crl")});
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    rig.cluster().issuer_is_ready(&issuer).await?;
    let id = ca_of(&ca.issuing.pem())?;
    let folder = tempfile::tempdir()?;
    let (newest, certificate) = (folder.path().join("a.crl"), folder.path().join("ca.pem"));
    fs::write(&certificate, ca.issuing.pem())?;
    let import = || {
        Command::new(env!("CARGO_BIN_EXE_pkcs11-issuer"))
            .args(["crl", "import", "--namespace", NAMESPACE, "--certificate"])
            .arg(&certificate)
            .arg("--kubeconfig")
            .arg(rig.cluster().plane().admin_kubeconfig())
            .arg(&newest)
            .output()
    };
    let copy = format!("pkcs11-issuer-crl-published-{id}-0");
    let get = ["get", "configmap", &copy, "--namespace", NAMESPACE];
    let mut get = get.to_vec();
    get.extend(["--ignore-not-found", "-o", "name"]);
    for (number, entries) in (1..).zip([COPIED[0], COPIED[1], 100_000, MOST]) {
        crl_with(&ca, entries, number, &newest)?;
        let begun = Instant::now();
        let imported = import()?;
        let told = String::from_utf8_lossy(&imported.stderr).into_owned();
        ensure!(imported.status.success(), "{told}");
        let stored = Instant::now();
        let octets = until("a CRL with all entries", PATIENCE * 4, async || {
            let Some(der) = fetch(&address, &id, 0).await? else {
                return Ok(None);
            };
            let count = usize::try_from(entries)?;
            Ok((ReadCrl::parse(&der)?.entries().len() == count).then_some(der.len()))
        })
        .await?;
        let process = rig.controller().process();
        let memory = Spent::by_one(process.id())?.peak_megabytes;
        println!(
            "{entries} entries: {octets} octets, imported in {:.1} s, served {:.1} s later, {memory:.0} MB at most",
            stored.duration_since(begun).as_secs_f64(),
            stored.elapsed().as_secs_f64(),
        );
        let expected = entries == COPIED[0];
        until("the copy to be there or not", PATIENCE, async || {
            let found = rig.cluster().plane().kubectl(&get).await?;
            Ok((found.trim().is_empty() != expected).then_some(()))
        })
        .await?;
    }
    crl_with(&ca, MOST + 1, 5, &newest)?;
    let refused = import()?;
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        !refused.status.success() && told.contains("200000"),
        "{told}"
    );
    Ok(())
}

/// Shards of the CA that has revoked very much.
const SHARDS: u16 = 8;
const REVOKED: u32 = 100_000;
/// Changes of the register at a time; one write of a head takes 64.
const AT_ONCE: usize = 1024;

/// Returns the numbers of the CRLs of every shard, and how many entries they have together.
async fn numbers(address: &str, ca: &CaId) -> Result<(Vec<u64>, usize)> {
    let (mut numbers, mut entries) = (Vec::new(), 0);
    for shard in 0..SHARDS {
        let der = fetch(address, ca, shard).await?.context("no CRL")?;
        let crl = Published::read(&der)?;
        numbers.push(crl.number);
        entries += crl.serials.len();
    }
    Ok((numbers, entries))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: make soak"]
async fn a_hundred_thousand_revocations_in_eight_shards_are_on_the_next_crls() -> Result<()> {
    let values = json!({"crl": {"enabled": true}});
    let rig = own_rig_with(&["--crl-address=127.0.0.1:0"], values).await?;
    let address = rig.controller().crl_address().await?;
    let ca = ca_of(&rig.authority().issuing().pem())?;
    let mut spec = rig.authority().issuer_spec();
    spec["crl"] = json!({"url": format!("http://{address}/crl"), "shards": SHARDS});
    let issuer = IssuerName::cluster("revokes-much");
    rig.cluster().apply_issuer(&issuer, &spec).await?;
    rig.cluster().issuer_is_ready(&issuer).await?;

    until("the first CRLs", PATIENCE, async || {
        Ok(numbers(&address, &ca).await.ok())
    })
    .await?;

    let outsider = Outsider::start(rig.cluster()).await?;
    let revoke = |number| outsider.revoke(&ca, number, RevocationReason::Superseded);
    let begun = Instant::now();
    let all = stream::iter((0..REVOKED).map(revoke)).buffer_unordered(AT_ONCE);
    all.try_collect::<()>().await?;
    println!(
        "{REVOKED} revocations in {:.0} s",
        begun.elapsed().as_secs_f64()
    );
    let many = usize::try_from(REVOKED)?;
    let (before, _) = until("every revocation on a CRL", PATIENCE * 4, async || {
        let (numbers, entries) = numbers(&address, &ca).await?;
        Ok((entries == many).then_some((numbers, entries)))
    })
    .await?;

    // One more for each shard: four times as many as shards leave hardly one out.
    let begun = Instant::now();
    let more = 4 * u32::from(SHARDS);
    let all = stream::iter((REVOKED..REVOKED + more).map(revoke)).buffer_unordered(AT_ONCE);
    all.try_collect::<()>().await?;
    let (after, _) = until("the next CRLs", PATIENCE * 4, async || {
        let (numbers, entries) = numbers(&address, &ca).await?;
        let done = entries == many + usize::try_from(more)?;
        Ok(done.then_some((numbers, entries)))
    })
    .await?;
    let changed = before.iter().zip(&after).filter(|(one, next)| one < next);
    let memory = Spent::by_one(rig.controller().process().id())?.peak_megabytes;
    println!(
        "the next CRLs of {} shards after {:.1} s; {memory:.0} MB at most",
        changed.count(),
        begun.elapsed().as_secs_f64(),
    );
    rig.controller().verified_issuance_log()?;
    outsider.stop().await
}
