//! Tests what is published when the controller, the webhook or the API server fails at the worst moment.

use std::time::Duration;

use anyhow::Result;
use control_plane::Signal;
use rig::{csr_for, request_spec};
use tokio::time::sleep;

use super::{issuer, own_rig, status_writes_are};

/// The controller lists 50 requests per page.
const MORE_THAN_A_PAGE: usize = 120;

#[tokio::test]
async fn a_controller_killed_between_signature_and_status_write_publishes_one_certificate()
-> Result<()> {
    let rig = own_rig(&[]).await?;
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("web", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    // The approval passes cert-manager's webhook, and the status write hangs in it.
    rig.controller().process().signal(Signal::STOP)?;
    requests.approve("web").await?;
    rig.cluster().cert_manager()?.pause_webhook()?;
    rig.controller().process().signal(Signal::CONT)?;
    let signed = rig.controller().logged("signed", "default", "web").await;
    rig.controller().kill();
    // If the webhook answered before the API server has noticed that its client is gone, the write would be stored.
    sleep(Duration::from_secs(2)).await;
    rig.cluster().cert_manager()?.resume_webhook()?;
    let first = signed?;
    rig.controller().restart().await?;
    let status = requests.reaches("web", "Issued").await?;
    assert!(status.certificate().is_some());
    status_writes_are(&rig, "default", "web", 1).await?;
    let published = rig
        .controller()
        .logged("published", "default", "web")
        .await?;
    assert_ne!(
        first["serial"], published["serial"],
        "the first certificate must never be published"
    );
    Ok(())
}

#[tokio::test]
async fn an_outage_of_the_webhook_costs_no_second_signature() -> Result<()> {
    let rig = own_rig(&[]).await?;
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("web", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.approve("web").await?;
    rig.cluster().cert_manager()?.stop_webhook();
    rig.controller().logged("signed", "default", "web").await?;
    rig.cluster().cert_manager()?.start_webhook().await?;
    requests.reaches("web", "Issued").await?;
    rig.controller()
        .logged("published", "default", "web")
        .await?;
    let lines = rig.controller().lines_of("default", "web")?;
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["signing", "signed", "published"]);
    Ok(())
}

#[tokio::test]
async fn a_certificate_for_a_request_that_is_deleted_before_it_is_published_is_recorded_as_discarded()
-> Result<()> {
    let rig = own_rig(&[]).await?;
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("web", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    rig.controller().process().signal(Signal::STOP)?;
    requests.approve("web").await?;
    rig.cluster().cert_manager()?.stop_webhook();
    rig.controller().process().signal(Signal::CONT)?;
    let signed = rig.controller().logged("signed", "default", "web").await?;
    requests.delete("web").await?;
    let discarded = rig
        .controller()
        .logged("discarded", "default", "web")
        .await?;
    assert_eq!(discarded["serial"], signed["serial"]);
    Ok(())
}

#[tokio::test]
async fn a_restarted_api_server_loses_no_request() -> Result<()> {
    let rig = own_rig(&[]).await?;
    let requests = rig.cluster().requests("default").await?;
    let names: Vec<_> = (0..MORE_THAN_A_PAGE)
        .map(|number| format!("web-{number}"))
        .collect();
    for name in &names {
        requests
            .create(name, request_spec(&issuer(), &csr_for("web.example")?))
            .await?;
    }
    // The controller learns of the following changes from the list with which its watch starts again.
    rig.controller().process().signal(Signal::STOP)?;
    let [deleted, before @ .., after] = names.as_slice() else {
        unreachable!("there are {MORE_THAN_A_PAGE} names");
    };
    requests.delete(deleted).await?;
    for name in before {
        requests.approve(name).await?;
    }
    rig.cluster().plane().stop_api_server();
    rig.cluster().plane().start_api_server().await?;
    rig.controller().process().signal(Signal::CONT)?;
    requests.approve(after).await?;
    for name in &names[1..] {
        requests.reaches(name, "Issued").await?;
    }
    for name in [&before[0], after] {
        status_writes_are(&rig, "default", name, 1).await?;
    }
    assert!(rig.controller().lines_of("default", deleted)?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_controller_told_to_stop_finishes_its_requests_and_exits_with_success() -> Result<()> {
    let rig = own_rig(&[]).await?;
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("web", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.approve("web").await?;
    rig.controller().logged("signing", "default", "web").await?;
    let ended = rig.controller().stop().await?;
    assert!(ended.success(), "{ended}");
    // The controller finishes the request that it has begun: the recorded certificate is published.
    let status = requests.status("web").await?;
    assert!(status.certificate().is_some());
    let lines = rig.controller().lines_of("default", "web")?;
    assert_eq!(lines.last().unwrap()["event"], "published");
    Ok(())
}
