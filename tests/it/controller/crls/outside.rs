//! A writer of revocations that is no replica, and a reader of CRLs that is a client like any other.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use anyhow::{Context as _, Result, bail, ensure};
use control_plane::until;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Client,
    config::{KubeConfigOptions, Kubeconfig},
};
use pkcs11_issuer::{
    audit::{IssuanceLog, LogRun, Program},
    issuance::{
        IssuerChain,
        crl::{CaId, ReadCrl, RevocationReason, Revoked, SerialNumber},
    },
    metrics::Metrics,
    ownership::{Announcement, Ownership, Replica},
    revocation::{Entry, FetchError, Recorded, Register, Released, RevocationRef, Surroundings},
};
use rig::{Cluster, NAMESPACE, PATIENCE};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
    time::{Duration, timeout},
};
use tokio_util::sync::CancellationToken;

/// Changes the register as replicas do, and signs nothing.
pub(crate) struct Outsider {
    register: Arc<Register>,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

#[expect(clippy::disallowed_methods, reason = "the clock of a test")]
fn now() -> Timestamp {
    Timestamp::now()
}

impl Outsider {
    /// Starts, and waits until every stored head is known.
    pub(crate) async fn start(cluster: &Cluster) -> Result<Self> {
        let kubeconfig = Kubeconfig::read_from(cluster.plane().admin_kubeconfig())?;
        let options = KubeConfigOptions::default();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await?;
        let client = Client::try_from(config)?;
        let metrics = Arc::new(Metrics::new("test", "test"));
        let replica = Replica {
            identity: "outsider".to_owned(),
            namespace: NAMESPACE.to_owned(),
            pod: None,
            duration: "15s".parse()?,
        };
        let told = Announcement {
            usable: tokio::sync::watch::channel(BTreeSet::new()).1,
            head: None,
        };
        // Its membership never runs, so it owns nothing.
        let (ownership, _membership) =
            Ownership::new(client.clone(), replica, told, now, Arc::clone(&metrics));
        let program = Program {
            version: "test",
            commit: "test",
        };
        let run = LogRun::new("test", "outsider", program)?;
        let log = IssuanceLog::to("nowhere", std::io::sink(), run, now)?;
        let register = Arc::new(Register::new(Surroundings {
            store: Some((client, NAMESPACE.to_owned())),
            fetch: Arc::new(|_| Box::pin(async { Err(FetchError::TimedOut) })),
            ownership,
            metrics,
            log,
            clock: now,
        }));
        let stop = CancellationToken::new();
        let (follower, until_then) = (Arc::clone(&register), stop.clone());
        let running = tokio::spawn(async move { Box::pin(follower.run(&until_then)).await });
        until("the stored CRLs to be known", PATIENCE, async || {
            Ok(register.is_known().then_some(()))
        })
        .await?;
        Ok(Self {
            register,
            stop,
            running,
        })
    }

    /// Ends.
    pub(crate) async fn stop(self) -> Result<()> {
        self.stop.cancel();
        Ok(self.running.await?)
    }

    /// Revokes certificate `number` once.
    pub(crate) async fn revoke(
        &self,
        ca: &CaId,
        number: u32,
        reason: RevocationReason,
    ) -> Result<()> {
        let recorded = self.register.revoke(ca, entry(number, reason)?).await?;
        ensure!(recorded == Recorded::New, "{recorded:?}");
        Ok(())
    }

    /// Releases a certificate that is on hold.
    pub(crate) async fn release(&self, ca: &CaId, number: u32) -> Result<()> {
        let released = self.register.release(ca, &serial(number)).await?;
        ensure!(released == Released::Done, "{released:?}");
        Ok(())
    }
}

/// Returns the entry of certificate `number`.
fn entry(number: u32, reason: RevocationReason) -> Result<Entry> {
    Ok(Entry {
        revoked: Revoked::new(serial(number), now(), reason, None)?,
        not_after: Some(now() + SignedDuration::from_hours(24)),
        by: Some(RevocationRef::new(
            "default",
            &format!("web-{number}"),
            &number.to_string(),
        )),
    })
}

/// Returns the serial number of certificate `number`.
pub(crate) fn serial(number: u32) -> SerialNumber {
    let octets = [&[0x40][..], &number.to_be_bytes()].concat();
    SerialNumber::from_octets(&octets).expect("five octets, positive")
}

/// Returns the name of the CA of a certificate.
pub(crate) fn ca_of(pem: &str) -> Result<CaId> {
    let chain = IssuerChain::parse(pem.as_bytes(), None)?;
    Ok(CaId::of(chain.issuing()))
}

/// A CRL as it was served.
#[derive(Clone, Debug)]
pub(crate) struct Published {
    pub(crate) number: u64,
    pub(crate) serials: BTreeSet<SerialNumber>,
    pub(crate) der: Vec<u8>,
}

impl Published {
    pub(crate) fn read(der: &[u8]) -> Result<Self> {
        let crl = ReadCrl::parse(der)?;
        Ok(Self {
            number: crl.number().context("no number")?.get(),
            serials: crl.entries().iter().map(|entry| *entry.serial()).collect(),
            der: der.to_vec(),
        })
    }
}

/// Fetches a CRL; `None` if it is not served (404, 503).
pub(crate) async fn fetch(address: &str, ca: &CaId, shard: u16) -> Result<Option<Vec<u8>>> {
    let asked = async {
        let mut stream = TcpStream::connect(address).await?;
        let request =
            format!("GET /crl/{ca}/{shard}.crl HTTP/1.1\r\nHost: crl\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        anyhow::Ok(answer)
    };
    let answer = timeout(Duration::from_secs(5), asked).await??;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let end = end.context("no end of the header")?;
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    if head.starts_with("HTTP/1.1 200") {
        ensure!(
            head.contains("content-type: application/pkix-crl"),
            "{head}"
        );
        return Ok(Some(answer[end + 4..].to_vec()));
    }
    if head.starts_with("HTTP/1.1 404") || head.starts_with("HTTP/1.1 503") {
        return Ok(None);
    }
    bail!("{head}")
}

/// Every CRL of one shard that was ever served by any replica.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    crls: BTreeMap<u64, Published>,
    /// The last number that each replica served since its start.
    last: BTreeMap<usize, u64>,
}

impl Seen {
    /// Notes what a replica serves.
    ///
    /// # Errors
    /// Its number has fallen, or another CRL had the same number.
    pub(crate) fn add(&mut self, replica: usize, der: &[u8]) -> Result<()> {
        let crl = Published::read(der)?;
        let last = self.last.insert(replica, crl.number);
        ensure!(
            last.is_none_or(|last| last <= crl.number),
            "replica {replica} served CRL {} after {last:?}",
            crl.number
        );
        match self.crls.get(&crl.number) {
            Some(known) => ensure!(known.der == crl.der, "two CRLs have number {}", crl.number),
            None => {
                self.crls.insert(crl.number, crl);
            }
        }
        Ok(())
    }

    /// Notes that a replica begins anew, and may serve any CRL that is stored.
    pub(crate) fn began(&mut self, replica: usize) {
        self.last.remove(&replica);
    }

    /// Returns the number of different CRLs.
    pub(crate) fn count(&self) -> usize {
        self.crls.len()
    }

    /// Checks that no entry of a CRL is missing on a later one, and that the last one has exactly these entries.
    pub(crate) fn lost_nothing(&self, all: &BTreeSet<SerialNumber>) -> Result<()> {
        let pairs = self.crls.values().zip(self.crls.values().skip(1));
        for (one, next) in pairs {
            let lost: Vec<_> = one.serials.difference(&next.serials).collect();
            ensure!(
                lost.is_empty(),
                "CRL {} lacks {lost:?} of CRL {}",
                next.number,
                one.number
            );
        }
        let last = self.crls.values().next_back().context("no CRL")?;
        let missing: Vec<_> = all.difference(&last.serials).collect();
        ensure!(missing.is_empty(), "the last CRL lacks {missing:?}");
        Ok(())
    }
}
