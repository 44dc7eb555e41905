//! Tests a network that drops every connection at once without telling either side.

use anyhow::Result;
use jiff::SignedDuration;

use super::{Replicas, faults::through_within, forgetful::Forgetful, story};

/// The longest time from the fault until every request is issued.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections_are_dropped_within_20_s_and_nothing_is_lost_or_published_twice()
-> Result<()> {
    let mut network = None;
    let replicas = Replicas::start_through("15s", |cluster| {
        let network = network.insert(Forgetful::start(cluster)?);
        network.kubeconfig(cluster).map(Some)
    })
    .await?;
    let network = network
        .as_ref()
        .expect("the network starts with the replicas");
    let requests = replicas.requests().await?;
    // All three replicas have watches, reads and writes in flight.
    let forget = async {
        assert!(network.forget() >= replicas.controllers.len());
        story::time(replicas.cluster.plane()).await
    };
    let names = through_within(NOTICED_WITHIN, &replicas, &requests, "silence", forget).await?;
    replicas.one_certificate_each(&requests, &names).await
}
