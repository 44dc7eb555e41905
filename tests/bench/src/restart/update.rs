//! Measures a rolling update of two replicas among finished requests and under a steady load.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::future::try_join_all;
use rig::{Authority, Cluster, Programs, csr_for, request_spec};

use crate::{
    issuer,
    start::{is_ready, issued_after, launch},
};

/// Interval of the load: twenty requests per second.
const EVERY: Duration = Duration::from_millis(50);
/// Time of load before and after the update.
const AROUND: Duration = Duration::from_secs(3);

/// Returns the seconds from approval to certificate of all requests of the load.
pub(crate) async fn measure(
    cluster: &Cluster,
    programs: &Programs,
    authorities: &[Authority],
) -> Result<Vec<(&'static str, Vec<f64>)>> {
    let updated = AtomicBool::new(false);
    let [a, b, c, d] = authorities else {
        anyhow::bail!("there must be four tokens");
    };
    let start = async |authority, name| {
        let replica = launch(cluster, programs, authority, name)?;
        is_ready(&replica).await?;
        anyhow::Ok(replica)
    };
    let mut replicas = vec![start(a, "old-a").await?, start(b, "old-b").await?];
    // Like a Deployment with maxSurge 1: start a new replica, wait until it is ready, then stop an old one.
    let update = async {
        tokio::time::sleep(AROUND).await;
        for (authority, name) in [(c, "new-a"), (d, "new-b")] {
            replicas.push(start(authority, name).await?);
            replicas.remove(0).stop().await?;
        }
        tokio::time::sleep(AROUND).await;
        updated.store(true, Ordering::SeqCst);
        anyhow::Ok(())
    };
    let ((), took) = tokio::try_join!(update, load(cluster, &updated))?;
    Ok(vec![("rolling update", took)])
}

/// Creates one request per interval until `over`, and returns the seconds from approval to certificate of each.
async fn load(cluster: &Cluster, over: &AtomicBool) -> Result<Vec<f64>> {
    let requests = cluster.requests("default").await?;
    let spec = request_spec(&issuer(), &csr_for("web.example")?);
    let mut interval = tokio::time::interval(EVERY);
    let mut under_way = Vec::new();
    while !over.load(Ordering::SeqCst) {
        interval.tick().await;
        let (requests, spec) = (requests.clone(), spec.clone());
        let name = format!("load-{}", under_way.len());
        under_way.push(tokio::spawn(async move {
            requests.create_approved(&name, spec).await?;
            issued_after(&requests, &name, Instant::now()).await
        }));
    }
    try_join_all(under_way).await?.into_iter().collect()
}
