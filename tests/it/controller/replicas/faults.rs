//! Makes replicas, the API server and the webhook fail under load: no request is lost, and none is published twice.

use std::time::Duration;

use anyhow::{Context as _, Result};
use control_plane::{Signal, until};
use jiff::{SignedDuration, Timestamp};
use rig::{Controller, PATIENCE, Requests, csr_for, request_spec};

use super::{Replicas, SHORT_SECONDS, all_issued, crls, make, make_all, sees, story};
use crate::controller::issuer;

/// Revocations that are made during the faults, at least.
const REVOCATIONS: u32 = 100;
/// Number of requests in flight during a fault.
const REQUESTS: usize = 60;
/// The longest time from the end of a fault until every request is issued: a lease duration and five seconds.
const DONE_WITHIN: SignedDuration = SignedDuration::from_secs(SHORT_SECONDS + 5);

/// Creates requests while `fault` runs and checks that all are issued within [`DONE_WITHIN`] of the end of the fault or of
/// their own approval, whichever is later.
async fn through(
    replicas: &Replicas,
    requests: &Requests,
    name: &str,
    fault: impl Future<Output = Result<Timestamp>>,
) -> Result<()> {
    through_within(DONE_WITHIN, replicas, requests, name, fault).await?;
    Ok(())
}

/// Does the same as [`through`] with another limit. Returns the names of the requests.
pub(super) async fn through_within(
    done_within: SignedDuration,
    replicas: &Replicas,
    requests: &Requests,
    name: &str,
    fault: impl Future<Output = Result<Timestamp>>,
) -> Result<Vec<String>> {
    let begun = async {
        let some = format!("{name}-{}", REQUESTS / 4);
        until(&some, PATIENCE, async || Ok(requests.get(&some).await.ok())).await?;
        fault.await
    };
    let (names, over) = tokio::try_join!(make_all(requests, name, REQUESTS), begun)?;
    all_issued(requests, &names).await?;
    let mut late = Vec::new();
    for name in &names {
        let ready = requests.status(name).await?.ready();
        let since = ready.and_then(|ready| ready.last_transition_time);
        let since: Timestamp = since
            .context("the condition Ready has no transition time")?
            .parse()?;
        // A write that was stored when the API server was killed may be missing in its log, but it was not late.
        if since > over {
            late.push(name.clone());
        }
    }
    let story = replicas.story(&late).await?;
    for name in &late {
        let told = &story.0[name];
        let begin = told.approved.map_or(over, |approved| approved.max(over));
        let took = told
            .published
            .context("never published")?
            .duration_since(begin);
        assert!(took <= done_within, "{name} took {took}");
    }
    Ok(names)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_is_lost_and_none_gets_two_certificates_whatever_fails() -> Result<()> {
    let replicas = Replicas::start(&format!("{SHORT_SECONDS}s")).await?;
    let faults = Box::pin(faults_one_by_one(&replicas));
    Box::pin(crls::chased(&replicas, REVOCATIONS, faults)).await
}

async fn faults_one_by_one(replicas: &Replicas) -> Result<()> {
    let requests = replicas.requests().await?;
    let plane = replicas.cluster.plane();
    let webhook = replicas.cluster.cert_manager()?;
    let [a, b, c] = replicas.controllers.as_slice() else {
        panic!("three replicas");
    };

    let kill = async {
        a.kill();
        story::time(plane).await
    };
    through(replicas, &requests, "kill", kill)
        .await
        .context("a replica is killed")?;
    // Its Lease has expired, so the other replicas no longer count it.
    sees(b, 2).await?;
    sees(c, 2).await?;
    a.restart().await?;
    replicas.see(3).await?;

    let stop = async {
        b.process().signal(Signal::STOP)?;
        sees(a, 2).await?;
        sees(c, 2).await?;
        b.process().signal(Signal::CONT)?;
        story::time(plane).await
    };
    through(replicas, &requests, "stop", stop)
        .await
        .context("a replica is stopped")?;
    replicas.see(3).await?;

    let restart = async {
        plane.stop_api_server();
        plane.start_api_server().await?;
        story::time(plane).await
    };
    through(replicas, &requests, "api", restart)
        .await
        .context("the API server restarts")?;

    let outage = async {
        webhook.stop_webhook();
        // The outage itself.
        tokio::time::sleep(Duration::from_secs(20)).await;
        webhook.start_webhook().await?;
        story::time(plane).await
    };
    through(replicas, &requests, "webhook", outage)
        .await
        .context("the webhook is down")?;

    let phases = ["kill", "stop", "api", "webhook"].iter();
    let all = phases.flat_map(|phase| (0..REQUESTS).map(move |number| format!("{phase}-{number}")));
    let all: Vec<String> = all.collect();
    replicas.one_certificate_each(&requests, &all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_stopped_before_publication_discards_its_certificate_when_another_has_published()
-> Result<()> {
    let replicas = Replicas::start(&format!("{SHORT_SECONDS}s")).await?;
    let requests = replicas.requests().await?;
    let webhook = replicas.cluster.cert_manager()?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    requests.create("held", spec).await?;
    // The replica that signs cannot publish, and keeps the certificate until it can.
    for controller in &replicas.controllers {
        controller.process().signal(Signal::STOP)?;
    }
    requests.approve("held").await?;
    webhook.stop_webhook();
    for controller in &replicas.controllers {
        controller.process().signal(Signal::CONT)?;
    }
    let (first, others) = until("a replica to sign", PATIENCE, async || {
        let mut all = replicas.controllers.iter();
        let signed = all.position(|controller| has_signed(controller, "held"));
        Ok(signed.map(|index| {
            let (before, rest) = replicas.controllers.split_at(index);
            (&rest[0], before.iter().chain(&rest[1..]))
        }))
    })
    .await?;
    first.process().signal(Signal::STOP)?;
    for other in others {
        sees(other, 2).await?;
    }
    webhook.start_webhook().await?;
    requests.reaches("held", "Issued").await?;
    first.process().signal(Signal::CONT)?;
    let discarded = first.logged("discarded", "default", "held").await?;
    assert_eq!(discarded["reason"], "superseded");
    let held = ["held".to_owned()];
    replicas.one_certificate_each(&requests, &held).await?;
    // The replica signs requests again.
    replicas.see(3).await?;
    make(&requests, "after").await?;
    requests.reaches("after", "Issued").await?;
    Ok(())
}

fn has_signed(controller: &Controller, name: &str) -> bool {
    let lines = controller.lines_of("default", name).unwrap_or_default();
    lines.iter().any(|line| line["event"] == "signed")
}
