//! Chases the CRLs of all replicas while others make them fail: numbers rise, no entry is lost, and a number has one CRL.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result};
use control_plane::until;
use parking_lot::Mutex;
use pkcs11_issuer::issuance::crl::{CaId, RevocationReason};
use rig::{Controller, PATIENCE};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Replicas;
use crate::controller::crls::outside::{Outsider, Seen, ca_of, fetch, serial};

/// The time from one revocation of a writer to the next.
const PACE: Duration = Duration::from_millis(100);
/// Writers that revoke at the same time.
const WRITERS: u32 = 4;
/// How often the CRL of a replica is read.
const READ_EVERY: Duration = Duration::from_millis(30);
/// Every so many revocations, the writer is killed in the middle of the first try.
const KILLED_EVERY: u32 = 7;

/// Revokes at least `least` certificates while `during` runs, reads the CRLs of every replica all the time, and checks what was
/// served in the end.
pub(super) async fn chased(
    replicas: &Replicas,
    least: u32,
    during: impl Future<Output = Result<()>>,
) -> Result<()> {
    let ca = ca_of(&replicas.authorities[0].issuing().pem())?;
    let outsider = Outsider::start(&replicas.cluster).await?;
    until("the first CRL", PATIENCE, async || {
        let address = replicas.controllers[0].crl_address().await?;
        Ok(fetch(&address, &ca, 0).await.ok().flatten())
    })
    .await?;
    let (seen, over) = (Mutex::new(Seen::default()), CancellationToken::new());
    let next = AtomicU32::new(0);
    let faulty = async {
        during.await?;
        over.cancel();
        anyhow::Ok(())
    };
    let writers = (0..WRITERS).map(|_| async {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= least && over.is_cancelled() {
                return anyhow::Ok(());
            }
            revoked(&outsider, &ca, number).await?;
            if !over.is_cancelled() {
                sleep(PACE).await;
            }
        }
    });
    let done = CancellationToken::new();
    let written = async {
        futures::future::try_join_all(writers).await?;
        let count = next.load(Ordering::Relaxed) - WRITERS;
        let all: BTreeSet<_> = (0..count).map(serial).collect();
        for controller in &replicas.controllers {
            until(
                "every replica to serve every revocation",
                PATIENCE,
                async || {
                    let address = controller.crl_address().await?;
                    let Some(der) = fetch(&address, &ca, 0).await? else {
                        return Ok(None);
                    };
                    let crl = crate::controller::crls::outside::Published::read(&der)?;
                    Ok(all.is_subset(&crl.serials).then_some(()))
                },
            )
            .await?;
        }
        done.cancel();
        anyhow::Ok(all)
    };
    let readers = replicas.controllers.iter().enumerate();
    let readers = readers.map(|(number, controller)| read(number, controller, &ca, &seen, &done));
    let readers = futures::future::try_join_all(readers);
    let ((), all, _) = tokio::try_join!(faulty, written, readers)?;
    let seen = seen.into_inner();
    println!("{} revocations on {} CRLs", all.len(), seen.count());
    seen.lost_nothing(&all)?;
    outsider.stop().await
}

/// Revokes a certificate, with as many tries as that takes. The writer of some first tries is killed in the middle.
async fn revoked(outsider: &Outsider, ca: &CaId, number: u32) -> Result<()> {
    let revoke = || outsider.revoke(ca, number, RevocationReason::KeyCompromise);
    if number.is_multiple_of(KILLED_EVERY) {
        let after = Duration::from_millis(u64::from(number / KILLED_EVERY % 10));
        timeout(after, revoke()).await.ok();
    }
    let what = format!("revocation {number} to be stored");
    until(&what, PATIENCE, async || Ok(revoke().await.ok())).await
}

/// Reads the CRL of one replica again and again, until `done`.
async fn read(
    number: usize,
    controller: &Controller,
    ca: &CaId,
    seen: &Mutex<Seen>,
    done: &CancellationToken,
) -> Result<()> {
    let mut run = controller.process().id();
    while !done.is_cancelled() {
        let now = controller.process().id();
        if run != now {
            seen.lock().began(number);
            run = now;
        }
        let address = timeout(Duration::from_secs(1), controller.crl_address()).await;
        if let Ok(Ok(address)) = address
            && let Ok(Some(der)) = fetch(&address, ca, 0).await
            && controller.process().id() == run
        {
            let added = seen.lock().add(number, &der);
            added.with_context(|| format!("CRL of replica {number}"))?;
        }
        sleep(READ_EVERY).await;
    }
    Ok(())
}
