//! Keeps the last signed checkpoints of runs that have ended, in one ConfigMap.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::PostParams};
use tokio::{
    sync::watch,
    time::{Instant as Deadline, sleep},
};
use tracing::warn;

use crate::{
    api::FIELD_MANAGER,
    audit::SignedHead,
    telemetry::{ErrorChain, RepeatFilter},
};

/// Name of the ConfigMap in the controller's namespace. It must exist: the controller may read and replace it, but may not
/// create ConfigMaps.
const ARCHIVE: &str = "pkcs11-issuer-log-heads";
/// Most checkpoints that are kept; the oldest goes first.
const KEPT: usize = 128;
/// How often a write is tried when others write at the same time.
const TRIES: usize = 5;

/// The ConfigMap, and the checkpoints that are not in it yet.
///
/// *Guarantees*: a write succeeds only for the version that was read, so that replicas that write at the same time lose none
/// of each other's checkpoints. Entries of other programs in the ConfigMap stay.
pub(super) struct Archive {
    api: Api<ConfigMap>,
    pace: ArchivePace,
    clock: fn() -> Timestamp,
    /// By run, one checkpoint each, and at most `KEPT` in all.
    waiting: BTreeMap<String, SignedHead>,
    /// When the ConfigMap was last read.
    read: Option<Instant>,
    /// The checkpoints that were there then, and those that wait.
    known: watch::Sender<Vec<SignedHead>>,
    said: RepeatFilter,
    full: RepeatFilter,
}

/// How fast the archive works.
#[derive(Clone, Copy, Debug)]
pub(super) struct ArchivePace {
    /// How long one call to the API server may take.
    pub(super) answer_within: Duration,
    /// How soon a write is repeated that failed while the replica stops.
    pub(super) retry_after: Duration,
    /// How often the ConfigMap is read again for what other replicas have added.
    pub(super) read_every: Duration,
}

/// Why the ConfigMap could not be read or written.
#[derive(Debug, thiserror::Error)]
enum ArchiveError {
    #[error(
        "ConfigMap {ARCHIVE} does not exist; create it empty in the controller's namespace: kubectl create configmap {ARCHIVE}"
    )]
    Missing,
    #[error("failed to {verb} ConfigMap {ARCHIVE}")]
    Api {
        verb: &'static str,
        source: Box<kube::Error>,
    },
    #[error("the API server took too long to {0} ConfigMap {ARCHIVE}")]
    TimedOut(&'static str),
    #[error("others write to ConfigMap {ARCHIVE} at the same time")]
    Contended,
}

impl Archive {
    /// Returns the archive, and a receiver of the checkpoints that it knows.
    pub(super) fn new(
        api: Api<ConfigMap>,
        pace: ArchivePace,
        clock: fn() -> Timestamp,
    ) -> (Self, watch::Receiver<Vec<SignedHead>>) {
        let (known, heads) = watch::channel(Vec::new());
        let archive = Self {
            api,
            pace,
            clock,
            waiting: BTreeMap::new(),
            read: None,
            known,
            said: RepeatFilter::default(),
            full: RepeatFilter::default(),
        };
        (archive, heads)
    }

    /// Takes the last checkpoint of a run that has ended; [`settle`](Self::settle) writes it. If `KEPT` other runs wait, it
    /// is dropped, which is logged.
    pub(super) fn add(&mut self, head: SignedHead) {
        let run = head.run().to_owned();
        match self.waiting.get(&run) {
            Some(known) if known.size() >= head.size() => return,
            None if self.waiting.len() >= KEPT => {
                if self.full.is_news("full", Instant::now()) {
                    warn!(
                        run,
                        waiting = KEPT,
                        "too many checkpoints of ended runs wait for the cluster; some are not kept there"
                    );
                }
                return;
            }
            Some(_) | None => {}
        }
        let older = self.waiting.insert(run, head.clone());
        self.known.send_modify(|heads| {
            heads.retain(|known| Some(known) != older.as_ref());
            heads.push(head);
        });
    }

    /// Writes the waiting checkpoints. If none waits, only reads what other replicas have added, and that only now and then.
    /// After a failure, which is logged, the checkpoints keep waiting.
    pub(super) async fn settle(&mut self) {
        let fresh = |read: Instant| read.elapsed() < self.pace.read_every;
        if self.waiting.is_empty() && self.read.is_some_and(fresh) {
            return;
        }
        match self.write().await {
            Ok(heads) => {
                self.read = Some(Instant::now());
                self.waiting.clear();
                self.said.clear();
                self.known.send_replace(heads);
            }
            Err(failure) => {
                let text = ErrorChain(&failure).to_string();
                if self.said.is_news(&text, Instant::now()) {
                    warn!(
                        error = text,
                        "the last checkpoints of ended runs are not kept in the cluster; only the logs of other replicas have them"
                    );
                }
            }
        }
    }

    /// Writes the waiting checkpoints, and tries until it succeeds or the deadline has passed. Returns whether all are written.
    pub(super) async fn settle_before(&mut self, deadline: Deadline) -> bool {
        let all = async {
            while self.is_waiting() {
                self.settle().await;
                if self.is_waiting() {
                    sleep(self.pace.retry_after).await;
                }
            }
        };
        tokio::time::timeout_at(deadline, all).await.is_ok()
    }

    /// Returns whether a checkpoint still waits.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Returns one of the checkpoints that still wait.
    pub(super) fn waiting(&self) -> Option<&SignedHead> {
        self.waiting.values().next()
    }

    async fn write(&self) -> Result<Vec<SignedHead>, ArchiveError> {
        for _ in 0..TRIES {
            let found = self.call("get", self.api.get_opt(ARCHIVE)).await?;
            let mut map = found.ok_or(ArchiveError::Missing)?;
            let data = map.data.take().unwrap_or_default();
            let Some(data) = merged(&data, self.waiting.values(), (self.clock)()) else {
                return Ok(heads(&data));
            };
            let heads = heads(&data);
            map.data = Some(data);
            let params = PostParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PostParams::default()
            };
            match self
                .call("replace", self.api.replace(ARCHIVE, &params, &map))
                .await
            {
                Ok(_) => return Ok(heads),
                Err(ArchiveError::Api { source, .. }) if is_conflict(&source) => {}
                Err(other) => return Err(other),
            }
        }
        Err(ArchiveError::Contended)
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ArchiveError> {
        match tokio::time::timeout(self.pace.answer_within, call).await {
            Ok(answer) => answer.map_err(|source| ArchiveError::Api {
                verb,
                source: Box::new(source),
            }),
            Err(_) => Err(ArchiveError::TimedOut(verb)),
        }
    }
}

fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Returns the checkpoint in an entry; `None` for an entry of another program.
fn head(key: &str, note: &str) -> Option<SignedHead> {
    let (_, run) = key.rsplit_once('.')?;
    SignedHead::parse(note, None).filter(|head| head.run() == run)
}

fn heads(data: &BTreeMap<String, String>) -> Vec<SignedHead> {
    data.iter()
        .filter_map(|(key, note)| head(key, note))
        .collect()
}

/// Returns the data with these checkpoints, or `None` if it has them already. The key of an entry is its time and run, so
/// that the keys sort by time.
fn merged<'a>(
    data: &BTreeMap<String, String>,
    new: impl Iterator<Item = &'a SignedHead>,
    now: Timestamp,
) -> Option<BTreeMap<String, String>> {
    let mut merged = data.clone();
    for head in new {
        let known = heads(&merged)
            .into_iter()
            .find(|known| known.run() == head.run());
        if known.is_some_and(|known| known.size() >= head.size()) {
            continue;
        }
        merged.retain(|key, note| {
            self::head(key, note).is_none_or(|known| known.run() != head.run())
        });
        let time = now.strftime("%Y%m%dT%H%M%SZ");
        merged.insert(format!("{time}.{}", head.run()), head.note().to_owned());
    }
    let ours: Vec<String> = merged
        .iter()
        .filter(|(key, note)| head(key, note).is_some())
        .map(|(key, _)| key.clone())
        .collect();
    for oldest in ours.iter().take(ours.len().saturating_sub(KEPT)) {
        merged.remove(oldest);
    }
    (merged != *data).then_some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(run: u64, size: u64) -> SignedHead {
        let root = "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=";
        let note = format!("prod/a/{run:016x}\n{size}\n{root}\n\n\u{2014} prod AAAAAAA=\n");
        SignedHead::parse(&note, Some(1)).unwrap()
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn sizes(data: &BTreeMap<String, String>) -> Vec<u64> {
        heads(data).iter().map(SignedHead::size).collect()
    }

    #[test]
    fn of_each_run_the_newest_checkpoint_is_kept_and_what_is_others_stays() {
        let others = BTreeMap::from([("README".to_owned(), "others".to_owned())]);
        let one = merged(&others, [note(1, 5)].iter(), at(0)).unwrap();
        assert_eq!(
            one.keys().collect::<Vec<_>>(),
            ["19700101T000000Z.0000000000000001", "README"]
        );
        assert_eq!(merged(&one, [note(1, 5), note(1, 4)].iter(), at(9)), None);
        let newer = merged(&one, [note(1, 6)].iter(), at(9)).unwrap();
        assert_eq!((sizes(&newer), newer.len()), (vec![6], 2));
        assert_eq!(newer.get("README"), others.get("README"));
    }

    #[test]
    fn the_number_of_checkpoints_is_bounded_and_the_oldest_goes_first() {
        let mut data = BTreeMap::from([("README".to_owned(), "others".to_owned())]);
        for number in 0..200 {
            let time = at(i64::try_from(number).unwrap());
            data = merged(&data, [note(200 - number, number)].iter(), time).unwrap();
        }
        assert_eq!(sizes(&data), (72..200).collect::<Vec<_>>());
        assert!(data.contains_key("README"));
        // A ConfigMap holds 1 MiB.
        let octets: usize = data.iter().map(|(key, note)| key.len() + note.len()).sum();
        assert!(octets < KEPT * 1100, "{octets}");
    }

    #[test]
    fn an_entry_under_the_name_of_another_run_is_left_alone() {
        let forged = BTreeMap::from([(
            "19700101T000000Z.0000000000000002".to_owned(),
            note(1, 9).note().to_owned(),
        )]);
        let more = merged(&forged, [note(1, 5)].iter(), at(1)).unwrap();
        assert_eq!((sizes(&more), more.len()), (vec![5], 2));
    }
}
