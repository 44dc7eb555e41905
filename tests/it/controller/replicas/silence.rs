//! The network forgets every connection at once and tells nobody.

use anyhow::Result;
use jiff::SignedDuration;

use super::{Replicas, faults::through_within, forgetful::Forgetful, story};

/// How long after that everything is done.
const NOTICED_WITHIN: SignedDuration = SignedDuration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_fall_silent_are_given_up_within_20_s_and_nothing_is_lost_or_published_twice()
-> Result<()> {
    let mut network = None;
    let replicas = Replicas::start_through("15s", |cluster| {
        let network = network.insert(Forgetful::start(cluster)?);
        network.kubeconfig(cluster).map(Some)
    })
    .await?;
    let network = network.as_ref().expect("it is started with them");
    let requests = replicas.requests().await?;
    // Watches, reads and writes of all three are under way.
    let forget = async {
        assert!(network.forget() >= replicas.controllers.len());
        story::time(replicas.cluster.plane()).await
    };
    let names = through_within(NOTICED_WITHIN, &replicas, &requests, "silence", forget).await?;
    replicas.one_certificate_each(&requests, &names).await
}
