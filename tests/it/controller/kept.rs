//! Tests what the controller keeps of a request that waits.

use std::iter::repeat_n;

use anyhow::{Context as _, Result, ensure};
use bench::Spent;
use control_plane::{Stored, until};
use rig::{PATIENCE, csr_for, csr_for_names, request_spec};
use serde_json::json;
use x509_parser::extensions::GeneralName;

use super::{issuer, limits::limited, own_rig_with, shared_rig};

#[tokio::test]
async fn a_request_that_is_too_long_to_be_kept_is_issued_with_every_name() -> Result<()> {
    const NAMES: usize = 500;
    let rig = shared_rig().await?;
    let profile = json!({"profile": {"sans": {"max": NAMES}}});
    let issuer = limited(rig, "many-names", profile).await?;
    let names: Vec<_> = (0..NAMES)
        .map(|number| format!("service-{number}.web.example"))
        .collect();
    rig.cluster().create_namespace("limits-long").await?;
    let requests = rig.cluster().requests("limits-long").await?;
    let spec = request_spec(&issuer, &csr_for_names(names.clone())?);
    requests.create_approved("long", spec).await?;
    let issued = requests.reaches("long", "Issued").await?;
    let chain = issued.certificate().context("no certificate")?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(chain.as_bytes())?;
    let certificate = pem.parse_x509()?;
    let names_of = certificate
        .subject_alternative_name()?
        .context("no names")?;
    let wanted: Vec<_> = names
        .iter()
        .map(|name| GeneralName::DNSName(name))
        .collect();
    assert_eq!(names_of.value.general_names, wanted);
    let line = rig
        .controller()
        .logged("signed", "limits-long", "long")
        .await?;
    let stored = requests.get("long").await?.data;
    assert!(stored["spec"]["groups"].is_array(), "{stored}");
    assert_eq!(line["requester"]["groups"], stored["spec"]["groups"]);
    Ok(())
}

#[tokio::test]
#[ignore = "stores 170 MB of requests: make soak"]
async fn requests_of_any_size_that_wait_and_lists_of_them_need_little_memory() -> Result<()> {
    const REQUESTS: u32 = 2000;
    const OCTETS: usize = 64 << 10;
    /// In octets, for each request.
    const LIMIT: f64 = 6e3;
    /// In megabytes. A page of 250 such requests would have 22 MB.
    const LIST: f64 = 30.0;
    let rig = own_rig_with(&[], json!({})).await?;
    let process = rig.controller().process().id();
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("first", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    let kind = "cert-manager.io/certificaterequests";
    let stored = Stored::of(rig.cluster().plane(), kind, "default")?;
    let first = stored.get("first").await?;
    let before = Spent::by_one(process)?.peak_megabytes;
    for number in 0..REQUESTS {
        let mut object = first.clone();
        let text: String = repeat_n('A', OCTETS).collect();
        object["spec"]["request"] = json!(text);
        object["metadata"]["name"] = json!(format!("long-{number}"));
        object["metadata"]["uid"] = json!(format!("00000000-0000-4000-8000-{number:012}"));
        stored.put([object]).await?;
    }
    let are_known = async || {
        until("every request to be known", PATIENCE, async || {
            let metrics = rig.controller().metrics().await?;
            let known = metrics.sum("pkcs11_issuer_undecided_requests", &[]);
            Ok((known >= f64::from(REQUESTS)).then_some(()))
        })
        .await
    };
    are_known().await?;
    let more = Spent::by_one(process)?.peak_megabytes - before;
    let each = more * 1e6 / f64::from(REQUESTS);
    println!("{REQUESTS} requests of {OCTETS} octets: {more:.1} MB, {each:.0} octets each");
    ensure!(each < LIMIT, "{each} octets for each request");
    rig.controller().restart().await?;
    are_known().await?;
    let more = Spent::by_one(rig.controller().process().id())?.peak_megabytes - before;
    println!("a list of them: {more:.1} MB");
    ensure!(more < LIST, "{more} MB");
    Ok(())
}
