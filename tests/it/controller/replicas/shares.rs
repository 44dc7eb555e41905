//! Every request belongs to the share of one replica, and a share moves at once when its replica gives it up.

use anyhow::Result;
use control_plane::{AuditLog, until};
use rig::PATIENCE;

use super::{
    Replicas, all_issued, issued, make_all,
    sealed::{last_checkpoint_is_archived, replicas_bind_each_other},
    sees,
};

const REQUESTS: usize = 2000;
/// A replica's share of a fair draw has the mean n/3 and the standard deviation √(n · 1/3 · 2/3) = 21.08. This range is six
/// standard deviations to either side, so one run in eighty million fails by chance.
const SHARE: std::ops::RangeInclusive<usize> = 667 - 127..=667 + 127;

fn issuer_writes(log: AuditLog) -> usize {
    let log = log.writes().by(rig::CONTROLLER);
    log.on("pkcs11clusterissuers").succeeded().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_replicas_sign_two_thousand_requests_about_evenly_with_one_status_write_each()
-> Result<()> {
    let replicas = Replicas::start("15s").await?;
    let before = {
        let mut before = Vec::new();
        for controller in &replicas.controllers {
            before.push(issued(controller).await?);
        }
        before
    };
    let requests = replicas.requests().await?;
    let names = make_all(&requests, "web", REQUESTS).await?;
    all_issued(&requests, &names).await?;
    let mut shares = Vec::new();
    for (controller, before) in replicas.controllers.iter().zip(before) {
        shares.push(issued(controller).await? - before);
    }
    assert_eq!(shares.iter().sum::<usize>(), REQUESTS, "{shares:?}");
    assert!(
        shares.iter().all(|share| SHARE.contains(share)),
        "{shares:?}"
    );
    let story = replicas.story(&names).await?;
    replicas.one_certificate_each(&requests, &names).await?;
    let more = story
        .0
        .iter()
        .filter(|(_, told)| (told.writes, told.conflicts) != (1, 0));
    let more: Vec<_> = more.collect();
    assert!(more.is_empty(), "{more:#?}");
    replicas_bind_each_other(&replicas).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_token_and_a_stopping_replica_hand_over_at_once() -> Result<()> {
    // The Lease lasts longer than this test waits, so no share can move by an expiry.
    let replicas = Replicas::start("5m").await?;
    let requests = replicas.requests().await?;
    let [a, b, c] = replicas.controllers.as_slice() else {
        panic!("three replicas");
    };

    // All three replicas probe the issuer, and one of them writes its status.
    assert_eq!(issuer_writes(replicas.cluster.plane().audit_log()?), 1);

    replicas.authorities[0].token().store().take_away()?;
    for controller in [a, b, c] {
        sees(controller, 2).await?;
    }
    let before = issued(a).await?;
    let names = make_all(&requests, "token", 30).await?;
    all_issued(&requests, &names).await?;
    assert_eq!(issued(a).await?, before);
    // The key for checkpoints is on the same token, so checkpoints are late; nothing waits for them.
    until("a checkpoint to be late", PATIENCE, async || {
        let failures = "pkcs11_issuer_log_checkpoint_failures_total";
        let late = a.metrics().await?.sum(failures, &[]) > 0.0;
        Ok(late.then_some(()))
    })
    .await?;

    replicas.authorities[0].token().store().give_back()?;
    replicas.see(3).await?;
    until("the replica to sign again", PATIENCE, async || {
        let name = format!("back-{}", issued(b).await? + issued(c).await?);
        super::make(&requests, &name).await?;
        requests.reaches(&name, "Issued").await?;
        Ok((issued(a).await? > before).then_some(()))
    })
    .await?;

    let stopping = async {
        let ended = a.stop().await?;
        assert!(ended.success(), "{ended}");
        Ok(())
    };
    let (names, ()) = tokio::try_join!(make_all(&requests, "stop", 60), stopping)?;
    all_issued(&requests, &names).await?;
    sees(b, 2).await?;
    sees(c, 2).await?;
    last_checkpoint_is_archived(&replicas.cluster, a).await?;
    replicas.one_certificate_each(&requests, &names).await?;
    Ok(())
}
