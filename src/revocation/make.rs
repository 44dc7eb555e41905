//! Makes one CRL: compares the stored state with what is published, reserves a number, signs, stores and serves.

use std::{mem, sync::Arc};

use jiff::Timestamp;
use scopeguard::{ScopeGuard, guard};
use tokio::{runtime::Handle, time::timeout};
use tracing::info;

use super::{
    DONE_WITHIN, Register,
    head::{ShardKey, StoredCrl, sha256},
    published::number_at,
    shard::Reservation,
    store::{Store, StoredShard},
    trouble::CrlTrouble,
};
use crate::{
    audit::{ABANDONED, CrlFacts, LoggedCrl, LoggedToken},
    issuance::{
        IssueError,
        crl::{CrlParams, CrlRules, IssuedCrl, PreparedCrl, Revoked},
        profile::HttpUrl,
    },
    pipeline::{ReadyIssuer, aside, now, on_thread},
    telemetry::{ErrorChain, log_seldom},
};

/// Everything that one CRL is made of.
pub(super) struct Job {
    pub(super) key: ShardKey,
    pub(super) rules: CrlRules,
    pub(super) ready: Option<Arc<ReadyIssuer>>,
    /// Whether to compare the stored state with the published CRL first.
    pub(super) compare: bool,
    /// Whether a CRL is due.
    pub(super) sign: bool,
}

impl Register {
    /// Makes one CRL if one is due: compares, reserves a number, signs, stores, serves. Returns whether it made one.
    pub(super) async fn make(&self, store: &Store, job: Job) -> Result<bool, CrlTrouble> {
        let Job {
            key,
            rules,
            ready,
            compare,
            sign,
        } = job;
        let ready = ready.ok_or(CrlTrouble::NotReady)?;
        // First the published CRL and then the state: whatever is published was stored before.
        if compare {
            self.compare(&key, &rules, &ready).await;
        }
        if !sign {
            let line = self.shelf.line(&key);
            let _turn = line.turn.lock().await;
            self.reread(store, &key).await?;
            self.shelf.check_age(&key)?;
            return Ok(false);
        }
        let now = (self.clock)();
        let alone = self.signing.alone().await;
        let mut reservation = self.reserve(store, &key, &rules, now).await?;
        // They take megabytes, and are needed only until the CRL is prepared.
        let revoked = mem::take(&mut reservation.revoked);
        // CRLs have whole seconds.
        let time = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let partition = partition(&key, &rules);
        let next_update = time
            .checked_add(rules.validity())
            .map_err(|_| CrlTrouble::Numbers)?;
        let draft = Draft {
            key,
            reservation,
            entries: revoked.len(),
            partition,
            time,
            next_update,
            ready,
        };
        let prepared = draft.prepare(revoked).await?;
        drop(alone);
        let issued = self.sign(&draft, prepared).await?;
        let _alone = self.signing.alone().await;
        self.publish(store, &draft, issued).await?;
        Ok(true)
    }

    /// Notes the number of the CRL that is published at the URL, if that can be read.
    async fn compare(&self, key: &ShardKey, rules: &CrlRules, ready: &ReadyIssuer) {
        let Some(url) = rules.url_of_shard(&key.ca, key.shard) else {
            return;
        };
        let issuing = ready.issuer.chain().issuing();
        let in_shards = rules.shards().are_partitions();
        match number_at(&self.signing.fetch, url, in_shards, issuing).await {
            Ok(Some(number)) => self.shelf.saw(key, number.get()),
            Ok(None) => {}
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                log_seldom!(warn, &error, ca = %key.ca, shard = key.shard, error,
                             "the published CRL cannot be compared with the stored state");
            }
        }
    }

    /// Reads the state as it is stored now, and reserves the number of the next CRL.
    async fn reserve(
        &self,
        store: &Store,
        key: &ShardKey,
        rules: &CrlRules,
        time: Timestamp,
    ) -> Result<Reservation, CrlTrouble> {
        let line = self.shelf.line(key);
        let _turn = line.turn.lock().await;
        self.reread(store, key).await?;
        self.shelf.check_age(key)?;
        let reserved = self.write(key, |stored| {
            let reserved = stored.shard.reserve(rules.validity(), time);
            Ok(match reserved {
                Some((reservation, write)) => (Some(reservation), Some(write)),
                None => (None, None),
            })
        });
        reserved.await?.ok_or(CrlTrouble::Numbers)
    }

    /// Has the token sign.
    async fn sign(&self, draft: &Draft, prepared: PreparedCrl) -> Result<IssuedCrl, CrlTrouble> {
        let ready = &draft.ready;
        let (label, serial) = ready.key.token_label_and_serial().unwrap_or_default();
        let logged = LoggedCrl {
            crl: CrlFacts {
                ca: &draft.key.ca.to_string(),
                shard: draft.key.shard,
                number: draft.reservation.number.get(),
                this_update: draft.time,
                next_update: draft.next_update,
                entries: draft.entries,
            },
            token: LoggedToken {
                name: ready.key.token_name(),
                label: &label,
                serial: &serial,
            },
            key_id: ready.key.id(),
            issuer_certificate_sha256: &ready.issuer.chain().issuing().sha256_hex(),
            tbs_sha256: &prepared.tbs_sha256(),
        };
        let announced = self.log.crl_signing(&logged)?;
        let begun = guard(logged, |logged| self.log.crl_discarded(&logged, ABANDONED));
        self.log.accepted(announced).await?;
        let issued = draft.issue(prepared).await?;
        let logged = ScopeGuard::into_inner(begun);
        let signed = self.log.crl_signed(&logged, &sha256(issued.der()));
        self.log.accepted(signed).await?;
        ready.proof.renew((self.clock)());
        Ok(issued)
    }

    /// Stores and serves a signed CRL.
    async fn publish(
        &self,
        store: &Store,
        draft: &Draft,
        issued: IssuedCrl,
    ) -> Result<(), CrlTrouble> {
        let Draft {
            key, reservation, ..
        } = draft;
        let crl = StoredCrl {
            number: issued.number().get(),
            this_update: draft.time,
            next_update: draft.next_update,
            revision: reservation.revision,
            partition: texts(&draft.partition),
            sha256: sha256(issued.der()),
            entries: draft.entries,
            chunks: Vec::new(),
        };
        let line = self.shelf.line(key);
        let _turn = line.turn.lock().await;
        let mut before = Vec::new();
        let published = self.write(key, |stored| {
            before = stored.shard.head.listed().map(str::to_owned).collect();
            let write = stored
                .shard
                .publish(key, reservation, crl.clone(), issued.der())?;
            Ok((write.is_some(), write))
        });
        if !published.await? {
            return Err(CrlTrouble::Overtaken);
        }
        info!(ca = %key.ca, shard = key.shard, number = crl.number, entries = crl.entries,
              "published a CRL");
        let crl = |stored: &StoredShard| stored.shard.head.crl.clone();
        if let Some(crl) = self.shelf.look(key, crl) {
            self.serve(key, crl, issued.into_der());
        }
        if let Some(head) = self.shelf.stored(key).map(|stored| stored.shard.head) {
            before.retain(|chunk| head.is_dead(key, chunk));
            store.delete(&before).await?;
        }
        Ok(())
    }
}

/// A CRL with a reserved number.
struct Draft {
    key: ShardKey,
    reservation: Reservation,
    entries: usize,
    partition: Vec<HttpUrl>,
    time: Timestamp,
    next_update: Timestamp,
    ready: Arc<ReadyIssuer>,
}

impl Draft {
    /// Prepares the CRL on another thread: with 100 000 entries that takes a good part of a second.
    async fn prepare(&self, revoked: Vec<Revoked>) -> Result<PreparedCrl, CrlTrouble> {
        let (number, ready) = (self.reservation.number, Arc::clone(&self.ready));
        let (time, next_update) = (self.time, self.next_update);
        let partition = self.partition.clone();
        let prepared = aside(move || {
            let params = CrlParams {
                number,
                this_update: time,
                next_update,
                partition: (!partition.is_empty()).then_some(&*partition),
                revoked: &revoked,
            };
            let issuer = &ready.issuer;
            PreparedCrl::prepare(&params, issuer.chain().issuing(), issuer.algorithm())
        });
        Ok(prepared.await?)
    }

    /// Waits for a turn at the token and has it sign. This is done on another thread, because a large CRL is also verified there.
    async fn issue(&self, prepared: PreparedCrl) -> Result<IssuedCrl, CrlTrouble> {
        let key = self
            .ready
            .key
            .for_issuer(&format!("CRLs of CA {}", self.key.ca));
        // The controller itself is a tenant without a name.
        let tenant = Arc::from("");
        let runtime = Handle::current();
        on_thread(move || {
            runtime.block_on(async {
                let turn = timeout(DONE_WITHIN, key.turn(&tenant));
                let turn = turn.await.map_err(|_| CrlTrouble::TimedOut)?;
                let turn = turn.map_err(CrlTrouble::Turn)?;
                let issued = prepared.issue(&turn).await;
                turn.verified(!matches!(issued, Err(IssueError::Unverified(_))), now());
                Ok(issued?)
            })
        })
        .await
    }
}

/// Returns the URLs in the issuing distribution point of a shard.
pub(super) fn partition(key: &ShardKey, rules: &CrlRules) -> Vec<HttpUrl> {
    let url = rules.url_of_shard(&key.ca, key.shard);
    url.filter(|_| rules.shards().are_partitions())
        .into_iter()
        .collect()
}

pub(super) fn texts(urls: &[HttpUrl]) -> Vec<String> {
    urls.iter().map(|url| url.as_str().to_owned()).collect()
}
