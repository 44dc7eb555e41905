//! Tests a replica that starts among many finished requests.

use std::path::Path;

use anyhow::{Context as _, Result};
use control_plane::{CertManagerOptions, Signal, until};
use rig::{Authority, Cluster, Controller, ControllerOptions, NAMESPACE, PATIENCE, Programs};
use serde_json::Value;

use super::{all_issued, issued, make, make_all, sees, whole};
use crate::controller::{between::Between, issuer, programs};

/// More requests than the controller reads in one page of a list.
const FINISHED: usize = 260;

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_the_whole_list_takes_no_share_and_answers_new_requests_only_when_alone()
-> Result<()> {
    let programs = programs()?;
    let authorities = Authority::copies(2)?;
    let cert_manager = CertManagerOptions {
        approver: false,
        ..CertManagerOptions::default()
    };
    let cluster = Cluster::start(&programs, cert_manager).await?;
    let old = launch(&cluster, &programs, &authorities[0], None)?;
    old.is_ready().await?;
    let spec = authorities[0].issuer_spec();
    cluster.apply_issuer(&issuer(), &spec).await?;
    cluster.issuer_is_ready(&issuer()).await?;
    let requests = cluster.requests("default").await?;
    all_issued(&requests, &make_all(&requests, "finished", FINISHED).await?).await?;
    let spec = rig::request_spec(&issuer(), &rig::csr_for("web.example")?);
    for name in ["shared-and-last", "wait-for-approval"] {
        requests.create(name, spec.clone()).await?;
    }

    // The new replica's list shows this request as approved and not issued.
    old.process().signal(Signal::STOP)?;
    requests.approve("shared-and-last").await?;
    let between = Between::start(cluster.plane(), cluster.controller_kubeconfig())?;
    between.further_pages.close();
    let way = Some(between.kubeconfig());
    let new = launch(&cluster, &programs, &authorities[1], way)?;
    between.further_pages.is_waited_at().await?;
    old.process().signal(Signal::CONT)?;
    until("the old replica to see the new one", PATIENCE, async || {
        let seen = whole(old.metrics().await?.sum("pkcs11_issuer_replicas", &[]))?;
        Ok((seen == 2).then_some(()))
    })
    .await?;
    let shared = make_all(&requests, "beside", 20).await?;
    all_issued(&requests, &shared).await?;
    requests.reaches("shared-and-last", "Issued").await?;
    assert_eq!(issued(&old).await?, FINISHED + 21);
    assert_eq!(tokens_in_lease(&cluster, "new").await?, "");

    old.stop().await?;
    make(&requests, "alone").await?;
    requests.reaches("alone", "Issued").await?;
    requests.approve("wait-for-approval").await?;
    requests.reaches("wait-for-approval", "Issued").await?;
    assert_eq!(issued(&new).await?, 2);
    assert!(
        !new.says_ready().await?,
        "a replica without the whole list must not be ready"
    );
    assert_eq!(tokens_in_lease(&cluster, "new").await?, "");

    between.further_pages.open();
    new.is_ready().await?;
    sees(&new, 1).await?;
    assert_eq!(tokens_in_lease(&cluster, "new").await?, "issuing");
    // The pages that were held up show both requests in their earlier state.
    for (name, steps) in [("shared-and-last", 0), ("wait-for-approval", 1)] {
        let lines = new.lines_of("default", name)?;
        let signed = lines.iter().filter(|line| line["event"] == "signed");
        assert_eq!(signed.count(), steps, "{name}: {lines:?}");
    }
    Ok(())
}

fn launch(
    cluster: &Cluster,
    programs: &Programs,
    authority: &Authority,
    kubeconfig: Option<&Path>,
) -> Result<Controller> {
    let configuration = authority.configuration(&[]).to_string();
    let options = ControllerOptions {
        name: if kubeconfig.is_some() { "new" } else { "old" }.to_owned(),
        kubeconfig: kubeconfig.map(Path::to_owned),
        ..ControllerOptions::new(configuration, programs)
    };
    Controller::launch(cluster, &options)
}

/// Returns the tokens that the Lease of a replica lists.
async fn tokens_in_lease(cluster: &Cluster, identity: &str) -> Result<String> {
    let words = ["get", "leases", "-n", NAMESPACE, "-o", "json"];
    let leases: Value = serde_json::from_str(&cluster.plane().kubectl(&words).await?)?;
    let mut leases = leases["items"].as_array().into_iter().flatten();
    let lease = leases.find(|lease| lease["spec"]["holderIdentity"] == identity);
    let annotations = &lease.context("the replica has no Lease")?["metadata"]["annotations"];
    let tokens = annotations["pkcs11-issuer.dev/tokens"].as_str();
    Ok(tokens.context("the Lease lists no tokens")?.to_owned())
}
